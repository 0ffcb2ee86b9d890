//! Finds where a version's bytes are: on this machine, with teammates, in the bucket. Asks everyone reachable now.
//!
//! A device that can't be asked is unknown, not lacking. Exactly which parts of its packs a version needs is known
//! only where its manifest and tables are. Elsewhere the answer counts whole packs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use podsync_api::pods::{Holder, InBucket, Whereabouts};
use podsync_core::{BlobId, DeviceId, TeamId, feed::BlobRef, units::Units};
use podsync_pack::Version;
use podsync_store::Blobs;

use crate::{
    error::Failure,
    hub::sync::HubSync,
    node::handle::Node,
    packs::HeldPacks,
    service::{
        disk::holders::{Answers, Holders},
        find::{Found, Named},
        names::DeviceNames,
        pull::fetch::Part,
    },
    versions::HeldVersion,
};

/// How long a teammate's daemon or the hub may take to answer while a user looks at a screen.
const PATIENCE: Duration = Duration::from_secs(5);

/// Finds where versions are stored.
pub(crate) struct Locator {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) blobs: Blobs,
    pub(crate) holders: Holders,
    pub(crate) hubs: Arc<HubSync>,
}

impl Locator {
    pub(crate) async fn whereabouts(
        &self,
        team: TeamId,
        named: &Named,
        held: Option<&HeldVersion>,
    ) -> Result<Whereabouts, Failure> {
        let (parts, exact) = self.needed(named, held).await?;
        let mut asked = Answers::default();
        let mut bucket = None;
        if let Found::Shared(record) = &named.found {
            let blobs: Vec<BlobRef> = parts.iter().map(|part| part.blob).collect();
            let (pod, version) = (record.publication.pod.clone(), record.version());
            let (answers, in_bucket) = tokio::join!(
                self.holders.ask(team, &blobs, PATIENCE),
                self.hubs.in_bucket(team, pod, version, PATIENCE)
            );
            (asked, bucket) = (answers?, in_bucket?);
        }
        let mut here = BTreeMap::new();
        for part in &parts {
            if let Some(holding) = self.blobs.held(part.blob.id)? {
                here.insert(part.blob.id, holding.units);
            }
        }
        asked.said.insert(self.device, here);
        let names = DeviceNames::read(&self.node).await?;
        let name = |device: &DeviceId| names.name(device);
        let (mut devices, mut without) = (Vec::new(), Vec::new());
        for (device, held) in &asked.said {
            let holder = holder(*device, name(device), self.device, &parts, held);
            if holder.held > 0 {
                devices.push(holder);
            } else {
                without.push(holder.name);
            }
        }
        devices.sort_by_key(|holder| std::cmp::Reverse((holder.whole, holder.held)));
        let mut found = Whereabouts {
            needed: bytes_of(&parts),
            exact,
            devices,
            without,
            unknown: asked.silent.iter().map(name).collect(),
            bucket,
            warning: None,
        };
        let is_private = matches!(named.found, Found::Private(_));
        found.warning = warning(&named.reference, is_private, &found);
        Ok(found)
    }

    /// The blobs of a version, and whether that is exactly what it needs.
    async fn needed(
        &self,
        named: &Named,
        held: Option<&HeldVersion>,
    ) -> Result<(Vec<Part>, bool), Failure> {
        let (manifest, announced) = match &named.found {
            Found::Shared(record) => (record.manifest(), record.packs().to_vec()),
            Found::Private(version) => (version.manifest, Vec::new()),
        };
        let Some(held) = held else {
            let blobs = [manifest].into_iter().chain(announced);
            return Ok((blobs.map(Part::whole).collect(), false));
        };
        let plain = Arc::new(held.manifest().map_err(Failure::damaged)?);
        let (of, packs) = (Arc::clone(&plain), HeldPacks::new(self.blobs.clone()));
        let needed =
            tokio::task::spawn_blocking(move || Version::new(&of, &packs).needed_units()).await?;
        // If the local copy is damaged, the answer still names who else has it.
        let exact = needed.is_ok();
        let whole = plain.packs.iter().map(|pack| Units::whole(pack.len));
        let needed = needed.unwrap_or_else(|_| whole.collect());
        let packs = plain.packs.iter().zip(needed).map(|(pack, units)| Part {
            blob: BlobRef {
                id: pack.id,
                len: pack.len,
            },
            units,
        });
        let parts = [Part::whole(manifest)].into_iter().chain(packs);
        Ok((parts.collect(), exact))
    }
}

fn bytes_of(parts: &[Part]) -> u64 {
    let each = parts.iter().map(|part| part.units.byte_len(part.blob.len));
    each.sum()
}

fn holder(
    device: DeviceId,
    name: String,
    me: DeviceId,
    parts: &[Part],
    held: &BTreeMap<BlobId, Units>,
) -> Holder {
    let here = |part: &Part| held.get(&part.blob.id).copied().unwrap_or_default() & part.units;
    let is_whole = |part: &&Part| here(part) == part.units;
    let packs = parts.iter().skip(1).filter(|part| !part.units.is_empty());
    Holder {
        device,
        name,
        this_device: device == me,
        whole: parts.iter().all(|part| is_whole(&part)),
        held: parts
            .iter()
            .map(|part| here(part).byte_len(part.blob.len))
            .sum(),
        packs: packs.filter(is_whole).count(),
    }
}

/// Warns if, as far as is known, a single device holds the only copy.
fn warning(reference: &str, is_private: bool, found: &Whereabouts) -> Option<String> {
    if found.bucket == Some(InBucket::Whole) {
        return None;
    }
    let mut whole = found.devices.iter().filter(|holder| holder.whole);
    let (only, is_more) = (whole.next(), whole.next().is_some());
    if is_more {
        return None;
    }
    let told = match only {
        Some(only) if is_private => {
            let holder = &only.name;
            return Some(format!(
                "{reference} is private, so {holder} holds the only copy; `podsync share {reference}` gives it to the team"
            ));
        }
        Some(only) => {
            // A device that holds most of the packs may well have all that the version needs.
            let may_be_more = !found.unknown.is_empty() || !found.exact && found.devices.len() > 1;
            let known = if may_be_more { "known " } else { "" };
            format!("{} holds the only {known}copy of {reference}", only.name)
        }
        None => format!("no device that podsync could ask holds all of {reference}"),
    };
    let unasked = match &found.unknown[..] {
        [] => String::new(),
        unknown => format!(" (podsync could not ask {})", unknown.join(", ")),
    };
    let next = match &found.bucket {
        None => "pull it on a second machine, or give the team a hub: `podsync team set-hub URL`",
        Some(InBucket::NotYet) => {
            "it isn't in the bucket yet; its author's `podsync share --wait` brings it there"
        }
        Some(InBucket::Missing(_)) => {
            "the bucket lost some of it; `podsync verify --bucket --repair` puts it back"
        }
        Some(InBucket::Unknown(_)) => {
            "podsync could not ask the bucket; pull it on a second machine to be sure"
        }
        Some(InBucket::Whole) => return None,
    };
    Some(format!("{told}{unasked}; {next}"))
}

#[cfg(test)]
mod tests {
    use podsync_core::keys::DeviceSecret;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn device(seed: u8) -> DeviceId {
        DeviceSecret::from_seed([seed; 32]).id()
    }

    fn part(id: u8, len: u64, units: Units) -> Part {
        let id = BlobId::from_bytes([id; 32]);
        Part {
            blob: BlobRef { id, len },
            units,
        }
    }

    fn of(name: &str, whole: bool) -> Holder {
        Holder {
            device: device(1),
            name: name.to_owned(),
            this_device: false,
            whole,
            held: 1,
            packs: 0,
        }
    }

    #[test]
    fn who_holds_just_what_is_needed_has_all_of_it() {
        let parts = [
            part(1, 300, Units::whole(300)),
            part(2, 4 * MIB, Units::span(1, 3)),
            part(3, 2 * MIB, Units::whole(2 * MIB)),
            part(4, 2 * MIB, Units::NONE),
        ];
        assert_eq!(bytes_of(&parts), 300 + 4 * MIB);
        let ids: Vec<BlobId> = parts.iter().map(|part| part.blob.id).collect();
        let mut held = BTreeMap::from([
            (ids[0], Units::whole(300)),
            (ids[1], Units::span(1, 3)),
            (ids[2], Units::whole(2 * MIB)),
        ]);
        let me = device(9);
        let all = holder(device(1), "bob".into(), me, &parts, &held);
        assert!(all.whole && !all.this_device);
        assert_eq!((all.held, all.packs), (300 + 4 * MIB, 2));
        held.insert(ids[1], Units::span(2, 4));
        let some = holder(me, "me".into(), me, &parts, &held);
        assert!(!some.whole && some.this_device);
        assert_eq!((some.held, some.packs), (300 + 3 * MIB, 1));
        // Without the manifest the packs are useless.
        held.remove(&ids[0]);
        held.insert(ids[1], Units::whole(4 * MIB));
        assert!(!holder(me, "me".into(), me, &parts, &held).whole);
    }

    #[test]
    fn one_copy_is_warned_of_and_two_are_not() {
        let mut found = Whereabouts {
            exact: true,
            devices: vec![of("alice/laptop", true), of("bob/laptop", false)],
            ..Whereabouts::default()
        };
        let told = warning("orders:3", false, &found).unwrap();
        assert!(
            told.contains("alice/laptop holds the only copy of orders:3; "),
            "{told}"
        );
        assert!(told.contains("set-hub"), "{told}");
        found.unknown.push("carol/desk".to_owned());
        let told = warning("orders:3", false, &found).unwrap();
        assert!(
            told.contains("only known copy of orders:3 (podsync could not ask carol/desk); "),
            "{told}"
        );
        for (bucket, word) in [
            (InBucket::NotYet, "isn't in the bucket yet"),
            (InBucket::Missing(2), "verify --bucket --repair"),
            (InBucket::Unknown("down".into()), "podsync could not ask"),
        ] {
            found.bucket = Some(bucket);
            let told = warning("orders:3", false, &found).unwrap();
            assert!(told.contains(word), "{told}");
        }
        found.bucket = Some(InBucket::Whole);
        assert_eq!(warning("orders:3", false, &found), None);
        found.bucket = None;
        found.devices.push(of("carol/desk", true));
        assert_eq!(warning("orders:3", false, &found), None);
    }

    #[test]
    fn nobody_with_all_of_it_and_a_private_version_are_told() {
        let mut found = Whereabouts::default();
        let told = warning("orders:3", false, &found).unwrap();
        assert!(
            told.starts_with("no device that podsync could ask"),
            "{told}"
        );
        // Bob may have all of it. This device can't know.
        found.devices = vec![of("alice/laptop", true), of("bob/laptop", false)];
        let told = warning("orders:3", false, &found).unwrap();
        assert!(told.contains("only known copy"), "{told}");
        found.devices = vec![of("alice/laptop", true)];
        let told = warning("orders:+1", true, &found).unwrap();
        assert!(told.contains("`podsync share orders:+1`"), "{told}");
    }
}
