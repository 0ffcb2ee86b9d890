//! Differences between two states, and forecasts of a load, from their indexes alone.
//!
//! An instance decides by more than names, so a forecast is only as good as the indexes. A resource
//! without a digest counts as changed.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{Contents, Place, Resource};
use crate::service::Merge;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    Added,
    Changed,
    Removed,
}

/// One resource that differs: its new entry, or the old one if it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub difference: Difference,
    pub resource: Resource,
}

/// The changes from `before` to `after`, in the order of places.
pub fn compare(before: &Contents, after: &Contents) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut found = |difference, resource: &Resource| {
        changes.push(Change {
            difference,
            resource: resource.clone(),
        });
    };
    let (mut left, mut right) = (
        before.resources.iter().peekable(),
        after.resources.iter().peekable(),
    );
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(old), Some(new)) => old.place.cmp(&new.place),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return changes,
        };
        match order {
            Ordering::Less => left
                .next()
                .map_or((), |old| found(Difference::Removed, old)),
            Ordering::Greater => right.next().map_or((), |new| found(Difference::Added, new)),
            Ordering::Equal => {
                if let (Some(old), Some(new)) = (left.next(), right.next())
                    && !same(old, new)
                {
                    found(Difference::Changed, new);
                }
            }
        }
    }
}

/// What loading `version` into an instance that holds `now` would change.
pub fn forecast(merge: Merge, now: &Contents, version: &Contents) -> Vec<Change> {
    let mut changes = compare(now, version);
    match merge {
        Merge::Overwrite => {}
        Merge::ServiceMerge => changes.retain(|change| change.difference != Difference::Removed),
        Merge::AccountRegionMerge => {
            let replaced: BTreeSet<Scope<'_>> = version
                .resources
                .iter()
                .map(|resource| Scope::of(&resource.place))
                .collect();
            changes.retain(|change| {
                change.difference != Difference::Removed
                    || replaced.contains(&Scope::of(&change.resource.place))
            });
        }
    }
    changes
}

/// The unit that an account-region-merge replaces: a service in an account and region, or in the
/// account if regions share.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Scope<'a> {
    service: &'a str,
    account: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Scope<'a> {
    fn of(place: &'a Place) -> Self {
        let service = place.service.as_str();
        // A bucket has a region, and the instance keeps the buckets of all regions together.
        let shared = service == "s3";
        Self {
            service,
            account: place.account.as_deref(),
            region: place.region.as_deref().filter(|_| !shared),
        }
    }
}

fn same(old: &Resource, new: &Resource) -> bool {
    match (&old.digest, &new.digest) {
        (Some(old), Some(new)) => old == new,
        // A bare count has no digest, and the number is all that is known of it.
        (None, None) if old.place.name.is_none() => old.counts == new.counts,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::queue, *};

    fn contents(resources: &[Resource]) -> Contents {
        Contents::new(resources.to_vec(), 0)
    }

    fn told(changes: &[Change]) -> Vec<String> {
        let line = |change: &Change| {
            let place = &change.resource.place;
            let (name, region) = (
                place.name.as_deref().unwrap(),
                place.region.as_deref().unwrap(),
            );
            format!("{:?} {name} {region}", change.difference)
        };
        changes.iter().map(line).collect()
    }

    #[test]
    fn states_are_compared_by_place_and_digest() {
        let before = contents(&[
            queue("gone", "us", 'a'),
            queue("kept", "us", 'a'),
            queue("old", "us", 'a'),
        ]);
        let after = contents(&[
            queue("kept", "us", 'a'),
            queue("new", "us", 'a'),
            queue("old", "us", 'b'),
        ]);
        assert_eq!(
            told(&compare(&before, &after)),
            ["Removed gone us", "Added new us", "Changed old us"]
        );
        assert!(compare(&before, &before).is_empty());
        let unknown = Resource {
            digest: None,
            ..queue("kept", "us", 'a')
        };
        let unknown = contents(&[unknown]);
        assert_eq!(told(&compare(&unknown, &unknown)), ["Changed kept us"]);
    }

    #[test]
    fn each_strategy_has_its_forecast() {
        let now = contents(&[
            queue("mine", "eu", 'a'),
            queue("mine", "us", 'a'),
            queue("both", "us", 'a'),
        ]);
        let version = contents(&[queue("both", "us", 'b'), queue("theirs", "us", 'a')]);
        let forecasts = |merge| told(&forecast(merge, &now, &version));
        let added = ["Changed both us", "Added theirs us"].map(str::to_owned);
        let removed = |names: &[&str]| {
            let mut all = added.to_vec();
            all.extend(names.iter().map(|name| format!("Removed {name}")));
            all.sort();
            all
        };
        let sorted = |merge| {
            let mut all = forecasts(merge);
            all.sort();
            all
        };
        assert_eq!(sorted(Merge::ServiceMerge), removed(&[]));
        assert_eq!(sorted(Merge::AccountRegionMerge), removed(&["mine us"]));
        assert_eq!(sorted(Merge::Overwrite), removed(&["mine us", "mine eu"]));
    }
}
