//! Converts reports of the engine and the network into the events that people see.

use podsync_api::{
    ErrorCode,
    events::{
        FeedForked, Happened, MemberJoined, MemberRemoved, PeerChanged, TagMoved, Trouble,
        VersionDropped, VersionShared,
    },
};
use podsync_core::{
    DeviceId, PodName, TeamId, TeamName, VersionId,
    engine::{Engine, Event, Provider},
    membership::MemberRecord,
};

use crate::service::team::roles::role_to;

/// Converts an event of the engine. `None` if people needn't see it.
pub(crate) fn heard(engine: &Engine, event: &Event) -> Option<Happened> {
    let me = engine.device();
    Some(match event {
        Event::VersionShared {
            team, pod, version, ..
        }
        | Event::VersionHeard {
            team, pod, version, ..
        } => Happened::Shared(shared(engine, *team, pod, version)?),
        Event::VersionDropped {
            team,
            pod,
            version,
            reference,
            by,
        } => Happened::Dropped(VersionDropped {
            team: team_name(engine, *team)?,
            pod: pod.clone(),
            reference: reference.clone(),
            version: *version,
            by: name_in(engine, *team, by),
            this_device: *by == me,
            shared: true,
        }),
        Event::TagMoved {
            team,
            pod,
            tag,
            version,
            by,
        } => Happened::Tagged(TagMoved {
            team: team_name(engine, *team)?,
            pod: pod.clone(),
            tag: tag.clone(),
            reference: version.and_then(|version| reference(engine, *team, pod, &version)),
            version: *version,
            by: name_in(engine, *team, by),
            this_device: *by == me,
        }),
        Event::MemberJoined {
            team,
            device,
            member,
            role,
        } => Happened::Joined(MemberJoined {
            team: team_name(engine, *team)?,
            member: member.clone(),
            device: *device,
            name: name_in(engine, *team, device),
            role: role_to(*role),
            this_device: *device == me,
        }),
        Event::MemberRemoved { team, device } => Happened::Removed(MemberRemoved {
            team: team_name(engine, *team)?,
            device: *device,
            name: name_in(engine, *team, device),
            this_device: *device == me,
        }),
        Event::ForkProof { team, device, seq } => Happened::Fork(FeedForked {
            team: team_name(engine, *team)?,
            device: *device,
            name: name_in(engine, *team, device),
            this_device: *device == me,
            seq: *seq,
        }),
        Event::DeviceMustBeMinted { .. }
        | Event::PersistFailed { .. }
        | Event::LiarFound { .. } => Happened::Trouble(trouble(engine, event)?),
        Event::Expelled { .. }
        | Event::KeyRotated { .. }
        | Event::OwnFeedAdopted { .. }
        | Event::CaughtUp { .. }
        | Event::NotLetIn { .. }
        | Event::AddressesHeard { .. }
        | Event::TransferProgress { .. }
        | Event::TransferStarved { .. }
        | Event::TransferDone { .. }
        | Event::TransferFailed { .. } => return None,
    })
}

/// A device connected or disconnected. `None` if no team lists it: any stranger can connect to the port.
pub(crate) fn peer(
    engine: &Engine,
    device: DeviceId,
    connected: bool,
    address: Option<String>,
) -> Option<Happened> {
    let name = name_anywhere(engine, &device)?;
    Some(Happened::Peer(PeerChanged {
        device,
        name,
        connected,
        address,
    }))
}

fn shared(
    engine: &Engine,
    team: TeamId,
    pod: &PodName,
    version: &VersionId,
) -> Option<VersionShared> {
    let catalog = engine.catalog(&team)?;
    // The version may be dropped already.
    let record = catalog.version(pod, version)?;
    let device = record.device();
    Some(VersionShared {
        team: team_name(engine, team)?,
        pod: pod.clone(),
        reference: catalog.exact_reference(record),
        version: *version,
        number: record.number(),
        author: record.author.to_string(),
        device,
        this_device: device == engine.device(),
        message: record.publication.message.clone(),
        state_len: record.publication.state_len,
    })
}

fn trouble(engine: &Engine, event: &Event) -> Option<Trouble> {
    let (team, code, message, hint) = match event {
        Event::DeviceMustBeMinted { team } => (
            Some(*team),
            ErrorCode::Forbidden,
            "others hold entries of this device that its own log lacks: the home was copied, or restored from an \
             older state, and it publishes no more"
                .to_owned(),
            "join again from a new home, and have an admin remove this device",
        ),
        Event::PersistFailed { why } => (
            None,
            ErrorCode::Disk,
            format!("podsync could not write what it heard: {why}"),
            "free some space; podsync tries again every few seconds",
        ),
        Event::LiarFound { provider, blob } => {
            let who = match provider {
                Provider::Peer(device) => {
                    name_anywhere(engine, device).unwrap_or_else(|| device.short())
                }
                Provider::Bucket => "the team's bucket".to_owned(),
            };
            (
                None,
                ErrorCode::Untrusted,
                format!("{who} sent bytes of {} that fail their hash", blob.short()),
                "podsync kept no wrong bytes; `podsync verify` there shows what is damaged",
            )
        }
        _ => return None,
    };
    Some(Trouble {
        team: team.and_then(|team| team_name(engine, team)),
        pod: None,
        reference: None,
        code,
        message,
        hint: Some(hint.to_owned()),
    })
}

fn team_name(engine: &Engine, team: TeamId) -> Option<TeamName> {
    Some(engine.roster(&team)?.name().clone())
}

fn reference(engine: &Engine, team: TeamId, pod: &PodName, version: &VersionId) -> Option<String> {
    let catalog = engine.catalog(&team)?;
    Some(catalog.exact_reference(catalog.version(pod, version)?))
}

/// `bob/laptop`, also of a device that was removed.
fn name_in(engine: &Engine, team: TeamId, device: &DeviceId) -> String {
    let record = engine
        .roster(&team)
        .and_then(|roster| roster.member(device));
    record.map_or_else(|| device.short(), name)
}

fn name_anywhere(engine: &Engine, device: &DeviceId) -> Option<String> {
    let mut rosters = engine.teams().filter_map(|team| engine.roster(&team));
    rosters.find_map(|roster| {
        roster
            .is_member(device)
            .then(|| roster.member(device).map(name))?
    })
}

fn name(record: &MemberRecord) -> String {
    format!("{}/{}", record.member, record.label)
}
