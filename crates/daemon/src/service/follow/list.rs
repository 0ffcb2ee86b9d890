//! Which pods are followed: `follows.json` in the home.

use podsync_api::follow::LoadInto;
use podsync_core::{PodName, TeamId, VersionId};
use podsync_instance::Endpoint;
use serde::{Deserialize, Serialize};

/// The file.
pub(crate) const FILE: &str = "follows.json";
/// The most pods that a home follows.
pub(crate) const MAX_FOLLOWS: usize = 256;
/// Versions of a pod that are remembered as handled: a pod has few tips at once.
const MAX_SEEN: usize = 32;

/// All followed pods, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Follows {
    pub(crate) pods: Vec<Following>,
}

/// A pod that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Following {
    pub(crate) team: TeamId,
    pub(crate) pod: PodName,
    pub(crate) load: Option<LoadInto>,
    /// Versions that were pulled, or didn't have to be. So a version that leaves this machine isn't fetched again.
    pub(crate) seen: Vec<VersionId>,
}

impl Follows {
    /// Adds a pod. Returns false if the list is full.
    pub(crate) fn follow(&mut self, team: TeamId, pod: &PodName, load: Option<LoadInto>) -> bool {
        if let Some(known) = self.find(team, pod) {
            known.load = load;
            return true;
        }
        if self.pods.len() >= MAX_FOLLOWS {
            return false;
        }
        self.pods.push(Following {
            team,
            pod: pod.clone(),
            load,
            seen: Vec::new(),
        });
        true
    }

    /// Removes a pod. Returns false if it wasn't followed.
    pub(crate) fn unfollow(&mut self, team: TeamId, pod: &PodName) -> bool {
        let before = self.pods.len();
        self.pods
            .retain(|following| following.team != team || following.pod != *pod);
        self.pods.len() < before
    }

    /// Records these versions as handled.
    pub(crate) fn note_seen(&mut self, team: TeamId, pod: &PodName, versions: &[VersionId]) {
        if let Some(following) = self.find(team, pod) {
            following.seen.retain(|seen| !versions.contains(seen));
            following.seen.extend(versions);
            let surplus = following.seen.len().saturating_sub(MAX_SEEN);
            following.seen.drain(..surplus);
        }
    }

    /// Whether some followed pod is loaded into this instance.
    pub(crate) fn leads_to(&self, endpoint: &Endpoint) -> bool {
        let said = self
            .pods
            .iter()
            .filter_map(|following| following.load.as_ref());
        let mut endpoints = said.filter_map(|into| into.endpoint.parse::<Endpoint>().ok());
        endpoints.any(|said| said == *endpoint)
    }

    fn find(&mut self, team: TeamId, pod: &PodName) -> Option<&mut Following> {
        let mut pods = self.pods.iter_mut();
        pods.find(|following| following.team == team && following.pod == *pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team() -> TeamId {
        TeamId::from_bytes([1; 32])
    }

    fn version(at: u8) -> VersionId {
        VersionId::from_bytes([at; 32])
    }

    #[test]
    fn a_pod_is_followed_once_and_keeps_what_it_has_seen() {
        let mut list = Follows::default();
        let orders: PodName = "orders".parse().unwrap();
        assert!(list.follow(team(), &orders, None));
        list.note_seen(team(), &orders, &[version(1)]);
        let into = LoadInto {
            endpoint: "http://localhost:4566".to_owned(),
            merge: "overwrite".to_owned(),
        };
        assert!(list.follow(team(), &orders, Some(into)));
        assert_eq!(list.pods.len(), 1);
        assert_eq!(list.pods[0].seen, [version(1)]);
        let other = "http://localhost:4567".parse().unwrap();
        assert!(!list.leads_to(&other));
        assert!(list.leads_to(&"http://localhost:4566/".parse().unwrap()));
        assert!(list.unfollow(team(), &orders));
        assert!(!list.unfollow(team(), &orders));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut list = Follows::default();
        for at in 0..=MAX_FOLLOWS {
            let pod: PodName = format!("p{at}").parse().unwrap();
            assert_eq!(list.follow(team(), &pod, None), at < MAX_FOLLOWS);
        }
        let first: PodName = "p0".parse().unwrap();
        for at in 0..100 {
            list.note_seen(team(), &first, &[version(at), version(at)]);
        }
        assert!(list.pods[0].seen.len() <= MAX_SEEN + 1);
        assert!(list.pods[0].seen.contains(&version(99)));
    }

    /// Later podsync versions must be able to read this file.
    #[test]
    fn the_file_keeps_its_form() {
        let text = format!(
            r#"{{"pods":[{{"team":"{}","pod":"orders","load":{{"endpoint":"http://localhost:4566","merge":"overwrite"}},"seen":["{}"]}}]}}"#,
            team(),
            version(2)
        );
        let list: Follows = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&list).unwrap(), text);
    }
}
