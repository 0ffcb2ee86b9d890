//! This device's own feed: publications, tags, drops; and its private versions.
//!
//! An entry is made, signed and written. Until the write succeeds it is not in memory and nobody
//! learns its number, so a failed write leaves no trace.

use std::sync::Arc;

use super::{
    Engine, Output,
    command::Decision,
    error::EngineError,
    input::{CommandId, Publish, SavePrivate},
    output::{Answer, Event, Record},
    writes::{OwnWrite, PrivateChange},
};
use crate::{
    bounded::Bounded,
    catalog::{PrivateVersion, VersionRecord},
    feed::{
        BlobRef, Body, Entry, EntryError, Feed, Head, Header, Kind, MAX_BLOBS, MAX_SERVICES,
        MAX_TAGS, Publication, TagChange,
    },
    id::{EpochId, TeamId, VersionId},
    membership::Role,
    name::{PodName, TagName},
    signed,
};

impl Engine {
    pub(super) fn publish(
        &mut self,
        id: CommandId,
        publish: Publish,
    ) -> Result<Decision, EngineError> {
        let team = publish.team;
        self.check_own_feed(team, "sharing a version")?;
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let catalog = &state.team.catalog;
        if let Some(record) = catalog.version(&publish.pod, &publish.version) {
            let (number, version) = (record.number(), record.version());
            return Ok(Decision::Reply(Answer::Published {
                number,
                version,
                already: true,
            }));
        }
        if publish.epoch != state.team.membership.state().current_epoch() {
            return Err(EngineError::EpochChanged);
        }
        let supersedes = publish
            .tags
            .iter()
            .flat_map(|tag| catalog.tag_words(&publish.pod, tag));
        let leaves = catalog.leaves(&publish.pod).into_iter();
        let parents = leaves
            .filter(|leaf| !publish.is_older || leaf.publication.created_ms <= publish.created_ms)
            .map(VersionRecord::version);
        let (number, version) = (catalog.next_number(&publish.pod), publish.version);
        let body = Body::Publish(Publication {
            number,
            version,
            parents: Bounded::first(parents),
            message: publish.message,
            services: fits::<_, MAX_SERVICES>("services", publish.services)?,
            emulator: publish.emulator,
            created_ms: publish.created_ms,
            state_len: publish.state_len,
            entry_count: publish.entry_count,
            supersedes: Bounded::first(supersedes),
            tags: fits::<_, MAX_TAGS>("tags", publish.tags)?,
            pod: publish.pod,
        });
        let blobs = std::iter::once(publish.manifest)
            .chain(publish.packs)
            .collect();
        let answer = Answer::Published {
            number,
            version,
            already: false,
        };
        let entry = NewEntry {
            kind: Kind::Publish,
            body,
            blobs,
            epoch: publish.epoch,
            replaces: publish.replaces,
        };
        self.write_entry(team, id, entry, answer)
    }

    pub(super) fn tag(
        &mut self,
        team: TeamId,
        id: CommandId,
        pod: PodName,
        tag: TagName,
        version: Option<VersionId>,
    ) -> Result<Decision, EngineError> {
        self.check_own_feed(team, "moving a tag")?;
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        if let Some(version) =
            version.filter(|version| state.team.catalog.version(&pod, version).is_none())
        {
            return Err(EngineError::UnknownVersion { pod, version });
        }
        let supersedes = Bounded::first(state.team.catalog.tag_words(&pod, &tag));
        let epoch = state.team.membership.state().current_epoch();
        let body = Body::Tag(TagChange {
            pod,
            tag,
            version,
            supersedes,
        });
        let entry = NewEntry::about_versions(Kind::Tag, body, epoch);
        self.write_entry(team, id, entry, Answer::Done)
    }

    pub(super) fn drop_version(
        &mut self,
        team: TeamId,
        id: CommandId,
        pod: PodName,
        version: VersionId,
    ) -> Result<Decision, EngineError> {
        self.check_own_feed(team, "dropping a version")?;
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let roster = state.team.membership.state();
        let Some(record) = state.team.catalog.version(&pod, &version) else {
            return Err(EngineError::UnknownVersion { pod, version });
        };
        let me = self.secret.id();
        let own = roster.member(&me).map(|member| &member.member);
        let is_admin = roster.role(&me) == Some(Role::Admin);
        if own != Some(&record.author) && !is_admin {
            return Err(EngineError::NotYours {
                reference: state.team.catalog.exact_reference(record),
                author: record.author.clone(),
            });
        }
        let publications = state.team.catalog.publications(&pod, &version);
        let may_end = |record: &&&VersionRecord| is_admin || own == Some(&record.author);
        let ended = publications.iter().filter(may_end);
        let kind = Kind::Retire(Bounded::first(ended.map(|record| record.entry.hash())));
        let epoch = roster.current_epoch();
        let body = Body::Drop { pod, version };
        let entry = NewEntry::about_versions(kind, body, epoch);
        self.write_entry(team, id, entry, Answer::Done)
    }

    pub(super) fn save_private(
        &mut self,
        id: CommandId,
        save: SavePrivate,
    ) -> Result<Decision, EngineError> {
        let team = save.team;
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let catalog = &state.team.catalog;
        if let Some(known) = catalog.private_version(&save.version) {
            return Ok(Decision::Reply(Answer::Saved {
                number: known.number,
                version: known.version,
            }));
        }
        let version = Box::new(PrivateVersion {
            number: catalog.next_private_number(&save.pod),
            pod: save.pod,
            version: save.version,
            manifest: save.manifest,
            message: save.message,
            services: save.services,
            emulator: save.emulator,
            created_ms: save.created_ms,
            state_len: save.state_len,
            entry_count: save.entry_count,
        });
        let record = Record::Private {
            team,
            version: version.clone(),
        };
        let write = OwnWrite::Private {
            team,
            by: id,
            change: PrivateChange::Saved(version),
        };
        Ok(Decision::Write(Box::new(write), vec![record]))
    }

    pub(super) fn forget_private(
        &mut self,
        team: TeamId,
        id: CommandId,
        version: VersionId,
    ) -> Result<Decision, EngineError> {
        let record = Record::PrivateGone { team, version };
        let write = OwnWrite::Private {
            team,
            by: id,
            change: PrivateChange::Forgotten(version),
        };
        Ok(Decision::Write(Box::new(write), vec![record]))
    }

    /// Marks the entries of this device's own feed in the log as known to users.
    pub(super) fn own_feed_is_known(&mut self, team: TeamId) {
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        let head = state.team.feed(&self.secret.id()).and_then(Feed::head);
        state.own_seq = head.map_or(0, |head| head.value().seq);
    }

    /// Emits an event once a restored home has recovered its published entries.
    pub(super) fn own_feed_filled(&mut self, team: TeamId) {
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        let Some(feed) = state.team.feed(&self.secret.id()) else {
            return;
        };
        let Some(head) = feed
            .head()
            .filter(|_| feed.is_complete() && feed.fork().is_none())
        else {
            return;
        };
        let seq = head.value().seq;
        if seq > state.own_seq {
            state.own_seq = seq;
            self.outputs
                .push_back(Output::Event(Event::OwnFeedAdopted { team, seq }));
        }
    }

    /// Checks that this device may add to its feed and knows its newest entry.
    fn check_own_feed(&self, team: TeamId, what: &'static str) -> Result<(), EngineError> {
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let me = self.secret.id();
        let roster = state.team.membership.state();
        let Some(role) = roster.role(&me) else {
            return Err(EngineError::Expelled(roster.name().clone()));
        };
        if !roster.may_publish(&me) {
            return Err(EngineError::RoleTooLow {
                what,
                needs: Role::Publisher,
                has: role,
            });
        }
        match state.team.feed(&me) {
            Some(feed) if feed.fork().is_some() => Err(EngineError::DeviceMustBeMinted),
            Some(feed) if !feed.is_complete() => Err(EngineError::CatchingUp),
            _ => Ok(()),
        }
    }

    fn write_entry(
        &mut self,
        team: TeamId,
        by: CommandId,
        new: NewEntry,
        answer: Answer,
    ) -> Result<Decision, EngineError> {
        let NewEntry {
            kind,
            body,
            blobs,
            epoch,
            replaces,
        } = new;
        let salt = self.entropy.seed();
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let key = state
            .team
            .keys
            .get(&epoch)
            .ok_or(EngineError::NoTeamKey(team))?;
        let me = self.secret.id();
        let newest = state
            .team
            .feed(&me)
            .and_then(Feed::head)
            .map(|head| *head.value());
        let header = Header {
            team,
            device: me,
            seq: newest.map_or(0, |head| head.seq) + 1,
            previous: newest.map(|head| head.entry),
            membership: Bounded::first(state.team.membership.parents_for_next()),
            epoch,
            kind,
            blobs: fits::<_, MAX_BLOBS>("packs", blobs)?,
        };
        let entry = Arc::new(Entry::write(&header, &body, key, salt)?);
        let head = Head {
            seq: header.seq,
            entry: entry.hash(),
        };
        let head = signed::verify(&self.secret.sign(team, &head))
            .map_err(|_| EntryError::Impossible("its own signature doesn't hold"))?;
        let mut records = vec![
            Record::Entry {
                team,
                device: me,
                seq: header.seq,
                hash: entry.hash(),
                bytes: entry.bytes().clone(),
            },
            Record::Head {
                team,
                device: me,
                bytes: head.bytes().clone(),
            },
        ];
        records.extend(replaces.map(|version| Record::PrivateGone { team, version }));
        Ok(Decision::Write(
            Box::new(OwnWrite::Entry {
                team,
                by,
                entry,
                head,
                replaces,
                answer,
            }),
            records,
        ))
    }
}

/// An entry to be added to this device's feed.
struct NewEntry {
    kind: Kind,
    body: Body,
    blobs: Vec<BlobRef>,
    epoch: EpochId,
    /// The private version that it shares.
    replaces: Option<VersionId>,
}

impl NewEntry {
    /// An entry without blobs.
    fn about_versions(kind: Kind, body: Body, epoch: EpochId) -> Self {
        Self {
            kind,
            body,
            blobs: Vec::new(),
            epoch,
            replaces: None,
        }
    }
}

fn fits<T, const MAX: usize>(
    what: &'static str,
    items: Vec<T>,
) -> Result<Bounded<T, MAX>, EngineError> {
    let len = items.len();
    Bounded::new(items).map_err(|_| EngineError::TooMany {
        what,
        len,
        max: MAX,
    })
}
