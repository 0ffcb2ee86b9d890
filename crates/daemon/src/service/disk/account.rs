//! Computes what each pod and version takes of this machine's disk. Pure.
//!
//! Versions share packs. A version's own bytes are those that no other version here needs. A pod's own bytes are
//! those that no other pod here needs, so they can exceed the sum over its versions.

use std::collections::{BTreeMap, BTreeSet};

use podsync_api::disk::{PodUsage, VersionUsage};
use podsync_core::{BlobId, PodName, TeamId, TeamName};

use super::{plan::Plan, survey::Survey};

/// Who needs a blob.
#[derive(Default)]
struct Users {
    len: u64,
    versions: BTreeSet<usize>,
    pods: BTreeSet<(TeamId, PodName)>,
}

/// The accounts by pod, largest first. `plan` evicts everything that may be evicted.
pub(super) fn account(
    survey: &Survey,
    plan: &Plan,
    teams: &BTreeMap<TeamId, TeamName>,
) -> Vec<PodUsage> {
    let mut blobs: BTreeMap<BlobId, Users> = BTreeMap::new();
    let mut pods: BTreeMap<(TeamId, PodName), Vec<usize>> = BTreeMap::new();
    for (at, candidate) in survey.candidates.iter().enumerate() {
        let pod = (candidate.team, survey.pods[at].clone());
        for (blob, len) in &candidate.blobs {
            let users = blobs.entry(*blob).or_default();
            users.len = users.len.max(*len);
            users.versions.insert(at);
            users.pods.insert(pod.clone());
        }
        pods.entry(pod).or_default().push(at);
    }
    let evictable: BTreeSet<usize> = plan.evict.iter().map(|(at, _)| *at).collect();
    let mut accounts: Vec<_> = pods
        .into_iter()
        .map(|(pod, versions)| {
            let used = blobs.values().filter(|users| users.pods.contains(&pod));
            let sum =
                |is: &dyn Fn(&&Users) -> bool| used.clone().filter(is).map(|users| users.len).sum();
            PodUsage {
                own: sum(&|users| users.pods.len() == 1),
                shared: sum(&|users| users.pods.len() > 1),
                evictable: sum(&|users| {
                    users.pods.len() == 1 && users.versions.is_subset(&evictable)
                }),
                versions: versions
                    .iter()
                    .map(|at| version(survey, *at, &blobs, evictable.contains(at)))
                    .collect(),
                team: teams.get(&pod.0).cloned(),
                pod: pod.1,
            }
        })
        .collect();
    accounts.sort_by_key(|pod| std::cmp::Reverse(pod.own + pod.shared));
    accounts
}

fn version(
    survey: &Survey,
    at: usize,
    blobs: &BTreeMap<BlobId, Users>,
    evictable: bool,
) -> VersionUsage {
    let candidate = &survey.candidates[at];
    let (mut own, mut shared) = (0, 0);
    for (blob, len) in &candidate.blobs {
        match blobs.get(blob).map_or(1, |users| users.versions.len()) {
            1 => own += len,
            _ => shared += len,
        }
    }
    VersionUsage {
        reference: survey.names[at].clone(),
        own,
        shared,
        evictable,
        pinned: candidate.pinned && !survey.checkpoints.contains(&at),
        last_used_ms: candidate.last_used_ms,
        elsewhere: survey.elsewhere[at].clone(),
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::VersionId;

    use super::*;
    use crate::service::disk::plan::{self, Candidate};

    /// A version's pod, whether it is an only copy, and its blobs with their lengths.
    type Made<'a> = (&'a str, bool, &'a [(u8, u64)]);

    fn survey(versions: &[Made<'_>]) -> Survey {
        let mut survey = Survey::default();
        for (n, (pod, only_copy, blobs)) in (1u8..).zip(versions) {
            survey.candidates.push(Candidate {
                team: TeamId::of(b"team"),
                version: VersionId::from_bytes([n; 32]),
                last_used_ms: u64::from(n),
                pinned: false,
                only_copy: *only_copy,
                blobs: blobs
                    .iter()
                    .map(|(id, len)| (BlobId::from_bytes([*id; 32]), *len))
                    .collect(),
            });
            survey.names.push(format!("{pod}:{n}"));
            survey.pods.push(pod.parse().unwrap());
            survey.elsewhere.push(Vec::new());
        }
        survey
    }

    #[test]
    fn what_versions_and_pods_share_is_counted_apart() {
        let survey = survey(&[
            ("orders", false, &[(1, 100), (2, 10)]),
            ("orders", true, &[(1, 100), (3, 1000)]),
            ("billing", false, &[(1, 100), (4, 7)]),
        ]);
        let plan = plan::plan(&survey.candidates, 0, false);
        let pods = account(&survey, &plan, &BTreeMap::new());
        let [orders, billing] = &pods[..] else {
            panic!("{pods:?}")
        };
        assert_eq!(
            (
                orders.pod.as_str(),
                orders.own,
                orders.shared,
                orders.evictable
            ),
            ("orders", 1010, 100, 10)
        );
        assert_eq!(
            (billing.own, billing.shared, billing.evictable),
            (7, 100, 7)
        );
        let own: Vec<_> = orders
            .versions
            .iter()
            .map(|v| (v.own, v.shared, v.evictable))
            .collect();
        assert_eq!(own, [(10, 100, true), (1000, 100, false)]);
    }
}
