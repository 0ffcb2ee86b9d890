//! The invariants, one function each.
//!
//! Rules about what a node sends, writes or serves are checked at that moment; rules about its
//! state, after every step. They observe from outside instead of asking the engine where possible.

use std::collections::BTreeMap;

use podsync_core::{
    BlobId, DeviceId, EntryHash,
    codec::Format,
    engine::{Answer, Record, WantedBlob},
    membership::{Operation, wire::MembershipResponse},
    signed::verify,
    wire::{EntriesResponse, Gossip, HeadsResponse, Protocol},
};

use super::{asked::Asked, hash::hash, history::Broken, ledger::Ledger, node::Node, view};

type Checked = Result<(), Broken>;

/// Checks a node's state after each of its steps.
pub(super) fn after_a_step(node: &mut Node, ledger: &Ledger) -> Checked {
    only_what_was_published_counts(node, ledger)?;
    forks_are_seen(node, ledger)?;
    forked_feeds_count_for_nothing(node)?;
    heads_never_go_back(node)
}

/// Gossip is durable at its signer before it is sent. A node may forward others' data before storing
/// it.
pub(super) fn gossip_is_durable(ledger: &Ledger, bytes: &[u8]) -> Checked {
    let gossip =
        Gossip::decode(bytes).map_err(|error| Broken(format!("it gossips garbage: {error}")))?;
    match gossip {
        Gossip::Announcement { head, entry } => {
            is_durable(ledger, "gossips a head", &head)?;
            entry.map_or(Ok(()), |entry| {
                is_durable(ledger, "gossips an entry", &entry)
            })
        }
        Gossip::Operations(operations) => operations
            .iter()
            .try_for_each(|bytes| is_durable(ledger, "gossips an operation", bytes)),
        Gossip::Liveness(_) | Gossip::Addresses(_) => Ok(()),
    }
}

/// Answers contain only durable data.
pub(super) fn answers_are_durable(ledger: &Ledger, protocol: Protocol, bytes: &[u8]) -> Checked {
    let garbage = |error| Broken(format!("it answers with garbage: {error}"));
    match protocol {
        Protocol::Heads => match HeadsResponse::decode(bytes).map_err(garbage)? {
            HeadsResponse::Heads {
                membership, heads, ..
            } => {
                let unknown = membership
                    .iter()
                    .find(|id| !ledger.durable.contains(id.as_bytes()));
                if let Some(id) = unknown {
                    return Err(Broken(format!(
                        "it names operation {id:?}, which isn't on its signer's disk"
                    )));
                }
                heads
                    .iter()
                    .try_for_each(|bytes| is_durable(ledger, "answers with a head", bytes))
            }
            HeadsResponse::Refused(_) => Ok(()),
        },
        Protocol::Entries => match EntriesResponse::decode(bytes).map_err(garbage)? {
            EntriesResponse::Entries { entries, .. } => entries
                .iter()
                .try_for_each(|bytes| is_durable(ledger, "answers with an entry", bytes)),
            EntriesResponse::Refused(_) => Ok(()),
        },
        Protocol::Membership => match MembershipResponse::decode(bytes).map_err(garbage)? {
            MembershipResponse::Ops(ops) | MembershipResponse::Joined { ops } => ops
                .iter()
                .try_for_each(|bytes| is_durable(ledger, "answers with an operation", bytes)),
            MembershipResponse::Refused(_) => Ok(()),
        },
        Protocol::Have => Ok(()),
    }
}

/// Data sent to others is durable at its signer.
pub(super) fn is_durable(ledger: &Ledger, does: &str, bytes: &[u8]) -> Checked {
    if ledger.durable.contains(&hash(bytes)) {
        return Ok(());
    }
    Err(Broken(format!("it {does} that isn't on its signer's disk")))
}

/// What a disk takes in was made by the device that it names, and an honest device never makes two
/// entries of one number, crashes or not.
pub(super) fn records_are_their_signers_own(
    me: DeviceId,
    record: &Record,
    ledger: &mut Ledger,
) -> Checked {
    match record {
        Record::Entry {
            team,
            device,
            seq,
            hash,
            ..
        } if *device == me => {
            ledger.durable.insert(*hash.as_bytes());
            let written = ledger.wrote(*team, *device, *seq, *hash);
            if written > 1 && !ledger.copied.contains(device) {
                return Err(Broken(format!(
                    "{device:?} has made {written} entries of number {seq}"
                )));
            }
            Ok(())
        }
        Record::Entry {
            team,
            device,
            seq,
            hash,
            ..
        } => {
            if ledger.has_written(*team, *device, *seq, hash) {
                return Ok(());
            }
            Err(Broken(format!(
                "it keeps entry {seq} of {device:?} ({hash:?}), which that device never made"
            )))
        }
        Record::Operation { bytes, id, .. } => {
            if ledger.durable.contains(id.as_bytes()) {
                return Ok(());
            }
            let operation = verify::<Operation>(bytes).map_err(|error| {
                Broken(format!(
                    "it keeps operation {id:?}, which doesn't open: {error}"
                ))
            })?;
            if operation.signer() != me {
                return Err(Broken(format!(
                    "it keeps operation {id:?}, which {:?} never made",
                    operation.signer()
                )));
            }
            ledger.durable.insert(*id.as_bytes());
            Ok(())
        }
        Record::Head { device, bytes, .. } if *device == me => {
            ledger.durable.insert(hash(bytes));
            Ok(())
        }
        Record::Head { .. }
        | Record::Fork { .. }
        | Record::Private { .. }
        | Record::InviteKey { .. }
        | Record::PrivateGone { .. } => Ok(()),
    }
}

/// A version counts only if its device was told to publish it, is or was a member, and, where it was
/// removed, published it before that.
fn only_what_was_published_counts(node: &Node, ledger: &Ledger) -> Checked {
    let Some(engine) = &node.engine else {
        return Ok(());
    };
    for (team, catalog) in view::catalogs(engine) {
        let Some(roster) = view::roster(engine, team) else {
            return Err(Broken(format!(
                "it has a catalog of {team:?} and no roster"
            )));
        };
        for version in view::versions(catalog) {
            let header = version.entry.header();
            let (device, seq, hash) = (header.device, header.seq, version.entry.hash());
            let who = ledger.published.get(&(team, version.version()));
            if who.is_none_or(|(publisher, pod)| {
                *publisher != device || *pod != version.publication.pod
            }) {
                return Err(Broken(format!(
                    "{:?} counts, which {device:?} never published",
                    version.version()
                )));
            }
            if !ledger.has_written(team, device, seq, &hash) {
                return Err(Broken(format!(
                    "entry {seq} of {device:?} counts, which that device never made"
                )));
            }
            if !roster.entry_counts(&device, seq, &hash) {
                return Err(Broken(format!(
                    "entry {seq} of {device:?} counts, whose device is no member"
                )));
            }
        }
    }
    Ok(())
}

/// A node with entries of both branches of a feed knows that it is forked.
fn forks_are_seen(node: &Node, ledger: &Ledger) -> Checked {
    let Some(engine) = &node.engine else {
        return Ok(());
    };
    for (team, device, entries) in ledger.forks() {
        let held = entries
            .iter()
            .filter(|entry| node.disk.has_held(entry.as_bytes()))
            .count();
        if held > 1
            && view::roster(engine, team).is_some()
            && !view::is_forked(engine, team, &device)
        {
            return Err(Broken(format!(
                "it has both branches of the feed of {device:?} and sees no fork"
            )));
        }
    }
    Ok(())
}

/// A node that knows both branches of a feed counts neither, unless an admin's removal picked one.
fn forked_feeds_count_for_nothing(node: &Node) -> Checked {
    let Some(engine) = &node.engine else {
        return Ok(());
    };
    for (team, catalog) in view::catalogs(engine) {
        let mut seen: BTreeMap<(DeviceId, u64), EntryHash> = BTreeMap::new();
        for version in view::versions(catalog) {
            let header = version.entry.header();
            let removed = view::roster(engine, team)
                .and_then(|roster| roster.member(&header.device))
                .is_some_and(|member| member.removed.is_some());
            if view::is_forked(engine, team, &header.device) && !removed {
                return Err(Broken(format!(
                    "{:?} counts, though its feed is forked",
                    header.device
                )));
            }
            let other = seen.insert((header.device, header.seq), version.entry.hash());
            if other.is_some_and(|other| other != version.entry.hash()) {
                return Err(Broken(format!(
                    "two entries {} of {:?} count",
                    header.seq, header.device
                )));
            }
        }
    }
    Ok(())
}

/// The newest head known of a device never gets older, crashes or not, once it was on the disk.
fn heads_never_go_back(node: &mut Node) -> Checked {
    let Some(engine) = &node.engine else {
        return Ok(());
    };
    for (key, floor) in &node.floors {
        let (team, device) = key;
        let seq = view::head(engine, *team, device).unwrap_or(0);
        if seq < *floor {
            return Err(Broken(format!(
                "the head of {device:?} went back from {floor} to {seq}"
            )));
        }
    }
    // What still waits for the disk, or for another attempt, may be forgotten.
    if node.disk.is_idle() {
        for (team, _) in view::catalogs(engine) {
            for (device, seq) in view::heads(engine, team) {
                if !node.disk.owes_head(team, device) {
                    node.floors.insert((team, device), seq);
                }
            }
        }
    }
    Ok(())
}

/// A blob is served only to a current member of a team that it was published to.
pub(super) fn blobs_go_to_members_only(
    node: &Node,
    asker: &DeviceId,
    blob: &BlobId,
    ledger: &Ledger,
) -> Checked {
    let Some(engine) = &node.engine else {
        return Err(Broken("it serves while it is down".into()));
    };
    let teams = ledger.blobs.get(blob);
    let shared = |team| view::roster(engine, team).is_some_and(|roster| roster.is_member(asker));
    if teams.is_some_and(|teams| teams.iter().any(|team| shared(*team))) {
        return Ok(());
    }
    Err(Broken(format!(
        "it serves {blob:?} to {asker:?}, who is in no team that it was shared to"
    )))
}

/// A transfer that is reported as done left nothing out.
pub(super) fn a_finished_transfer_has_everything(node: &Node, wanted: &[WantedBlob]) -> Checked {
    for WantedBlob { blob, len, missing } in wanted {
        let left = node.store.missing(blob, *len) & *missing;
        if !left.is_empty() {
            return Err(Broken(format!(
                "a transfer is done without {left:?} of {blob:?}"
            )));
        }
    }
    Ok(())
}

/// The result in a reply is on disk.
pub(super) fn replies_tell_what_is_durable(node: &Node, asked: &Asked, answer: &Answer) -> Checked {
    let Some(engine) = &node.engine else {
        return Err(Broken("it replies while it is down".into()));
    };
    let durable = |what: &str, hash: Option<&[u8; 32]>| match hash {
        Some(hash) if node.disk.has_held(hash) => Ok(()),
        Some(_) => Err(Broken(format!(
            "it reports {what} as done before it is on the disk"
        ))),
        None => Err(Broken(format!(
            "it reports {what} as done and doesn't know of it"
        ))),
    };
    match (asked, answer) {
        (
            Asked::Publish {
                team, pod, version, ..
            },
            Answer::Published { .. },
        ) => {
            let record =
                view::catalog(engine, *team).and_then(|catalog| catalog.version(pod, version));
            // A feed that was found to be forked in the meantime counts for nothing.
            if record.is_none() && view::is_forked(engine, *team, &node.device()) {
                return Ok(());
            }
            durable(
                "a publication",
                record
                    .map(|record| record.entry.hash())
                    .as_ref()
                    .map(EntryHash::as_bytes),
            )
        }
        (Asked::CreateTeam, Answer::TeamCreated { team, .. }) => {
            durable("a team", Some(team.as_bytes()))
        }
        (Asked::Join { .. }, Answer::Joined { team }) => {
            let me = node.device();
            let roster = view::roster(engine, *team);
            let op = roster
                .and_then(|roster| roster.member(&me))
                .map(|member| member.enrolled.op);
            durable("a join", op.as_ref().map(|op| op.as_bytes()))
        }
        (Asked::Invite { team }, Answer::Invited { ticket }) => {
            let roster = view::roster(engine, *team);
            let op = roster
                .and_then(|roster| roster.invite(&ticket.secret().id()))
                .map(|invite| invite.op);
            durable("an invite", op.as_ref().map(|op| op.as_bytes()))
        }
        (Asked::Remove { team, device }, _) => {
            let roster = view::roster(engine, *team);
            let removal = roster
                .and_then(|roster| roster.member(device))
                .and_then(|member| member.removed);
            durable(
                "a removal",
                removal.as_ref().map(|removal| removal.op.as_bytes()),
            )
        }
        (Asked::SavePrivate { team, version }, Answer::Saved { .. }) => {
            if node.disk.holds_private(*team, *version) {
                return Ok(());
            }
            Err(Broken(
                "it reports a private version as saved before it is on the disk".into(),
            ))
        }
        _ => Ok(()),
    }
}

/// A new number is above all that its device knew of when it was asked, and no device gives one twice.
pub(super) fn numbers_go_up(
    node: &Node,
    asked: &Asked,
    answer: &Answer,
    ledger: &mut Ledger,
) -> Checked {
    let (
        Asked::Publish {
            team,
            pod,
            version,
            above,
        },
        Answer::Published {
            number,
            already: false,
            ..
        },
    ) = (asked, answer)
    else {
        return Ok(());
    };
    if number <= above {
        return Err(Broken(format!(
            "a version of {pod} gets number {number}, though {above} was known"
        )));
    }
    let device = node.device();
    let before = ledger
        .numbers
        .insert((*team, device, pod.clone(), *number), *version);
    if before.is_some_and(|before| before != *version) && !ledger.copied.contains(&device) {
        return Err(Broken(format!(
            "{device:?} gives number {number} of {pod} twice"
        )));
    }
    Ok(())
}

/// At the end all nodes have the same roster and catalog.
pub(super) fn one_world_in_the_end<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    ledger: &Ledger,
) -> Checked {
    let mut first: BTreeMap<_, (DeviceId, view::Picture)> = BTreeMap::new();
    for node in nodes {
        let Some(engine) = &node.engine else { continue };
        for (team, _) in view::catalogs(engine) {
            let Some(picture) = view::picture(engine, team) else {
                continue;
            };
            // A removed device need not be kept up to date.
            let me = node.device();
            if !picture.members.contains(&me) || ledger.removed.contains(&(team, me)) {
                continue;
            }
            if let Some(device) = picture
                .members
                .iter()
                .find(|device| ledger.removed.contains(&(team, **device)))
            {
                return Err(Broken(format!(
                    "{me:?} still lists {device:?}, which was removed"
                )));
            }
            let (other, expected) = first.entry(team).or_insert_with(|| (me, picture.clone()));
            if let Some(difference) = expected.differs_from(&picture) {
                return Err(Broken(format!(
                    "{me:?} and {other:?} differ in the end: {difference}"
                )));
            }
        }
    }
    Ok(())
}
