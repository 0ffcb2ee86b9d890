//! Which instances are saved automatically, and which versions that made: `autosaves.json` in the home.

use podsync_core::{PodName, TeamId, VersionId};
use serde::{Deserialize, Serialize};

/// The file.
pub(crate) const FILE: &str = "autosaves.json";
/// Most pods with autosaves.
pub(crate) const MAX_PODS: usize = 64;

/// All autosaves of the home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Autosaves {
    pub(crate) pods: Vec<Autosaving>,
}

/// A pod, and the instance that is saved to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Autosaving {
    pub(crate) team: TeamId,
    pub(crate) pod: PodName,
    pub(crate) how: How,
    /// The saved versions, oldest first.
    pub(crate) versions: Vec<Autosave>,
}

/// How often the instance is saved, and how many versions are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    pub(crate) endpoint: String,
    pub(crate) every_s: Option<u64>,
    pub(crate) on_stop: bool,
    pub(crate) keep: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Autosave {
    pub(crate) version: VersionId,
    /// Unix milliseconds.
    pub(crate) saved_ms: u64,
    /// The run of the instance that was saved, if the instance says which.
    pub(crate) run: Option<String>,
}

impl Autosaves {
    /// Adds an autosave. Returns false if the list is full.
    pub(crate) fn set(&mut self, team: TeamId, pod: &PodName, how: How) -> bool {
        if let Some(known) = self.find_mut(team, pod) {
            known.how = how;
            return true;
        }
        if self.pods.len() >= MAX_PODS {
            return false;
        }
        self.pods.push(Autosaving {
            team,
            pod: pod.clone(),
            how,
            versions: Vec::new(),
        });
        true
    }

    /// Removes and returns a pod's autosave. `None` if it has none.
    pub(crate) fn remove(&mut self, team: TeamId, pod: &PodName) -> Option<Autosaving> {
        let mut pods = self.pods.iter();
        let at = pods.position(|it| it.team == team && it.pod == *pod)?;
        Some(self.pods.remove(at))
    }

    pub(crate) fn find(&self, team: TeamId, pod: &PodName) -> Option<&Autosaving> {
        let mut pods = self.pods.iter();
        pods.find(|it| it.team == team && it.pod == *pod)
    }

    fn find_mut(&mut self, team: TeamId, pod: &PodName) -> Option<&mut Autosaving> {
        let mut pods = self.pods.iter_mut();
        pods.find(|it| it.team == team && it.pod == *pod)
    }

    /// Records a version. Returns the versions that are now beyond the limit.
    pub(crate) fn note(&mut self, team: TeamId, pod: &PodName, saved: Autosave) -> Vec<VersionId> {
        let Some(autosaving) = self.find_mut(team, pod) else {
            return Vec::new();
        };
        autosaving.versions.push(saved);
        autosaving.thin()
    }
}

impl Autosaving {
    /// Removes the oldest versions beyond the limit. The newest version of the previous run always stays: it is the
    /// one to restore after a restart.
    fn thin(&mut self) -> Vec<VersionId> {
        let surplus = self.versions.len().saturating_sub(self.how.keep.max(1));
        let run = self.versions.last().and_then(|newest| newest.run.clone());
        let stays = self.newest_before(run.as_deref()).map(|it| it.version);
        let mut gone = Vec::new();
        let mut left = surplus;
        self.versions.retain(|autosave| {
            let goes = left > 0 && Some(autosave.version) != stays;
            left -= usize::from(left > 0);
            if goes {
                gone.push(autosave.version);
            }
            !goes
        });
        gone
    }

    /// The newest version of another run than this. A version without a run may be of any.
    fn newest_before(&self, run: Option<&str>) -> Option<&Autosave> {
        let mut newest_first = self.versions.iter().rev();
        newest_first.find(|autosave| autosave.run.as_deref() != run || run.is_none())
    }

    /// The version to restore into a run of the instance: the newest of an earlier run, or else of its own.
    pub(crate) fn to_restore(&self, run: Option<&str>) -> Option<&Autosave> {
        self.newest_before(run).or_else(|| self.versions.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(keep: usize) -> (Autosaves, TeamId, PodName) {
        let (team, pod) = (TeamId::from_bytes([1; 32]), "orders".parse().unwrap());
        let mut list = Autosaves::default();
        let how = How {
            endpoint: "http://localhost:4566".to_owned(),
            every_s: Some(600),
            on_stop: false,
            keep,
        };
        assert!(list.set(team, &pod, how));
        (list, team, pod)
    }

    fn saved(at: u8, run: &str) -> Autosave {
        Autosave {
            version: VersionId::from_bytes([at; 32]),
            saved_ms: u64::from(at),
            run: Some(run.to_owned()),
        }
    }

    fn kept(list: &Autosaves) -> Vec<u64> {
        let versions = &list.pods[0].versions;
        versions.iter().map(|autosave| autosave.saved_ms).collect()
    }

    #[test]
    fn the_newest_stay_and_the_last_one_before_a_restart() {
        let (mut list, team, pod) = list(3);
        for at in 1..=4 {
            list.note(team, &pod, saved(at, "first"));
        }
        assert_eq!(kept(&list), [2, 3, 4]);
        for at in 5..=9 {
            let gone = list.note(team, &pod, saved(at, "second"));
            assert!(gone.len() <= 1);
        }
        assert_eq!(kept(&list), [4, 7, 8, 9]);
        list.note(team, &pod, saved(10, "third"));
        assert_eq!(kept(&list), [8, 9, 10]);
    }

    #[test]
    fn what_an_earlier_run_left_is_restored_and_else_the_newest() {
        let (mut list, team, pod) = list(10);
        assert_eq!(list.pods[0].to_restore(Some("first")), None);
        list.note(team, &pod, saved(1, "first"));
        list.note(team, &pod, saved(2, "first"));
        let restored = |list: &Autosaves, run| {
            let autosave = list.find(team, &pod).unwrap().to_restore(run);
            autosave.map(|autosave| autosave.saved_ms)
        };
        assert_eq!(restored(&list, Some("second")), Some(2));
        assert_eq!(restored(&list, Some("first")), Some(2));
        list.note(team, &pod, saved(3, "second"));
        assert_eq!(restored(&list, Some("second")), Some(2));
        assert_eq!(restored(&list, Some("third")), Some(3));
        assert_eq!(restored(&list, None), Some(3));
    }

    /// Later podsync versions must be able to read this file.
    #[test]
    fn the_file_keeps_its_form() {
        let (mut list, team, pod) = list(10);
        list.note(team, &pod, saved(1, "first"));
        let text = format!(
            r#"{{"pods":[{{"team":"{team}","pod":"orders","how":{{"endpoint":"http://localhost:4566","every_s":600,"on_stop":false,"keep":10}},"versions":[{{"version":"{}","saved_ms":1,"run":"first"}}]}}]}}"#,
            VersionId::from_bytes([1; 32])
        );
        assert_eq!(serde_json::to_string(&list).unwrap(), text);
        assert_eq!(serde_json::from_str::<Autosaves>(&text).unwrap(), list);
    }
}
