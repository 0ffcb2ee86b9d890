//! What an event is about: its kind, and the team, pod, version and person in it.

use std::fmt;

use podsync_core::{PodName, TagName, TeamName, VersionId};

use super::{Event, Happened};

/// Environment variables that describe an event to the program that is run for it. A variable without a value is
/// not set.
pub const VARIABLES: [&str; 12] = [
    "PODSYNC_EVENT",
    "PODSYNC_EVENT_ID",
    "PODSYNC_EVENT_JSON",
    "PODSYNC_TEAM",
    "PODSYNC_POD",
    "PODSYNC_REFERENCE",
    "PODSYNC_VERSION",
    "PODSYNC_TAG",
    "PODSYNC_AUTHOR",
    "PODSYNC_MESSAGE",
    "PODSYNC_ENDPOINT",
    "PODSYNC_OWN",
];

/// What an event is about, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Shared,
    Pulled,
    Saved,
    Loaded,
    Dropped,
    Tagged,
    Joined,
    Removed,
    Fork,
    Trouble,
    Eviction,
    Transfer,
    Peer,
    Missed,
    Unknown,
}

impl Kind {
    /// All kinds that a daemon sends.
    pub const ALL: [Self; 14] = [
        Self::Shared,
        Self::Pulled,
        Self::Saved,
        Self::Loaded,
        Self::Dropped,
        Self::Tagged,
        Self::Joined,
        Self::Removed,
        Self::Fork,
        Self::Trouble,
        Self::Eviction,
        Self::Transfer,
        Self::Peer,
        Self::Missed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Pulled => "pulled",
            Self::Saved => "saved",
            Self::Loaded => "loaded",
            Self::Dropped => "dropped",
            Self::Tagged => "tagged",
            Self::Joined => "joined",
            Self::Removed => "removed",
            Self::Fork => "fork",
            Self::Trouble => "trouble",
            Self::Eviction => "eviction",
            Self::Transfer => "transfer",
            Self::Peer => "peer",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Happened {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Shared(_) => Kind::Shared,
            Self::Pulled(_) => Kind::Pulled,
            Self::Saved(_) => Kind::Saved,
            Self::Loaded(_) => Kind::Loaded,
            Self::Dropped(_) => Kind::Dropped,
            Self::Tagged(_) => Kind::Tagged,
            Self::Joined(_) => Kind::Joined,
            Self::Removed(_) => Kind::Removed,
            Self::Fork(_) => Kind::Fork,
            Self::Trouble(_) => Kind::Trouble,
            Self::Eviction(_) => Kind::Eviction,
            Self::Transfer(_) => Kind::Transfer,
            Self::Peer(_) => Kind::Peer,
            Self::Missed(_) => Kind::Missed,
            Self::Unknown => Kind::Unknown,
        }
    }

    /// The event's team, if it has one.
    pub fn team(&self) -> Option<&TeamName> {
        match self {
            Self::Shared(it) => Some(&it.team),
            Self::Pulled(it) => Some(&it.team),
            Self::Saved(it) => Some(&it.team),
            Self::Loaded(it) => Some(&it.team),
            Self::Dropped(it) => Some(&it.team),
            Self::Tagged(it) => Some(&it.team),
            Self::Joined(it) => Some(&it.team),
            Self::Removed(it) => Some(&it.team),
            Self::Fork(it) => Some(&it.team),
            Self::Trouble(it) => it.team.as_ref(),
            Self::Eviction(it) => Some(&it.team),
            Self::Transfer(it) => Some(&it.team),
            Self::Peer(_) | Self::Missed(_) | Self::Unknown => None,
        }
    }

    /// The event's pod, if it has one.
    pub fn pod(&self) -> Option<&PodName> {
        match self {
            Self::Shared(it) => Some(&it.pod),
            Self::Pulled(it) => Some(&it.pod),
            Self::Saved(it) => Some(&it.pod),
            Self::Loaded(it) => Some(&it.pod),
            Self::Dropped(it) => Some(&it.pod),
            Self::Tagged(it) => Some(&it.pod),
            Self::Trouble(it) => it.pod.as_ref(),
            Self::Eviction(it) => Some(&it.pod),
            Self::Transfer(it) => Some(&it.pod),
            Self::Joined(_)
            | Self::Removed(_)
            | Self::Fork(_)
            | Self::Peer(_)
            | Self::Missed(_)
            | Self::Unknown => None,
        }
    }

    /// The exact reference and the id of the event's version.
    pub fn version(&self) -> (Option<&str>, Option<&VersionId>) {
        match self {
            Self::Shared(it) => (Some(&it.reference), Some(&it.version)),
            Self::Pulled(it) => (Some(&it.reference), Some(&it.version)),
            Self::Saved(it) => (Some(&it.reference), Some(&it.version)),
            Self::Loaded(it) => (Some(&it.reference), Some(&it.version)),
            Self::Dropped(it) => (Some(&it.reference), Some(&it.version)),
            Self::Tagged(it) => (it.reference.as_deref(), it.version.as_ref()),
            Self::Trouble(it) => (it.reference.as_deref(), None),
            Self::Eviction(it) => (Some(&it.reference), Some(&it.version)),
            Self::Transfer(it) => (Some(&it.reference), None),
            Self::Joined(_)
            | Self::Removed(_)
            | Self::Fork(_)
            | Self::Peer(_)
            | Self::Missed(_)
            | Self::Unknown => (None, None),
        }
    }

    /// The name of the device or person that made the version or caused the event.
    pub fn author(&self) -> Option<&str> {
        match self {
            Self::Shared(it) => Some(&it.author),
            Self::Pulled(it) => Some(&it.author),
            Self::Loaded(it) => Some(&it.author),
            Self::Dropped(it) => Some(&it.by),
            Self::Tagged(it) => Some(&it.by),
            Self::Joined(it) => Some(&it.name),
            Self::Removed(it) => Some(&it.name),
            Self::Fork(it) => Some(&it.name),
            Self::Peer(it) => Some(&it.name),
            Self::Saved(_)
            | Self::Trouble(_)
            | Self::Eviction(_)
            | Self::Transfer(_)
            | Self::Missed(_)
            | Self::Unknown => None,
        }
    }

    pub fn tag(&self) -> Option<&TagName> {
        match self {
            Self::Tagged(it) => Some(&it.tag),
            _ => None,
        }
    }

    /// A version's message, or the failure's description.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Shared(it) => Some(&it.message),
            Self::Saved(it) => Some(&it.message),
            Self::Trouble(it) => Some(&it.message),
            _ => None,
        }
    }

    /// The instance that a version was loaded into.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Loaded(it) => Some(&it.endpoint),
            _ => None,
        }
    }

    /// Whether this device itself did it.
    pub fn is_own(&self) -> bool {
        match self {
            Self::Shared(it) => it.this_device,
            Self::Dropped(it) => it.this_device,
            Self::Tagged(it) => it.this_device,
            Self::Joined(it) => it.this_device,
            Self::Removed(it) => it.this_device,
            Self::Fork(it) => it.this_device,
            _ => false,
        }
    }
}

impl Event {
    /// The environment of a program that is run for the event: [`VARIABLES`] with their values.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let what = &self.what;
        let (reference, version) = what.version();
        let text = |text: &str| Some(text.to_owned());
        let values = [
            text(what.kind().as_str()),
            self.id.clone(),
            serde_json::to_string(self).ok(),
            what.team().map(ToString::to_string),
            what.pod().map(ToString::to_string),
            reference.and_then(text),
            version.map(ToString::to_string),
            what.tag().map(ToString::to_string),
            what.author().and_then(text),
            what.message().and_then(text),
            what.endpoint().and_then(text),
            what.is_own().then(|| "1".to_owned()),
        ];
        let named = VARIABLES.into_iter().zip(values);
        named
            // A variable can't hold a NUL, but a teammate's message may.
            .filter_map(|(name, value)| Some((name, value?.replace('\0', ""))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::events::{TagMoved, Trouble, VersionSaved};

    use super::*;

    fn event(what: Happened) -> Event {
        Event {
            id: Some("00000001-7".to_owned()),
            time_ms: 5,
            what,
        }
    }

    #[test]
    fn a_program_hears_of_its_event_in_its_environment() {
        let saved = event(Happened::Saved(VersionSaved {
            team: "payments".parse().unwrap(),
            pod: "orders".parse().unwrap(),
            reference: "orders:+1".to_owned(),
            version: VersionId::from_bytes([7; 32]),
            message: "nul\0 and\nline".to_owned(),
            state_len: 1,
            new_len: 1,
        }));
        let variables = saved.variables();
        let value = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("PODSYNC_EVENT"), Some("saved"));
        assert_eq!(value("PODSYNC_EVENT_ID"), Some("00000001-7"));
        assert_eq!(value("PODSYNC_REFERENCE"), Some("orders:+1"));
        assert_eq!(value("PODSYNC_MESSAGE"), Some("nul and\nline"));
        assert_eq!(value("PODSYNC_AUTHOR"), None);
        assert_eq!(value("PODSYNC_OWN"), None);
        let json = value("PODSYNC_EVENT_JSON").unwrap();
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), saved);
    }

    #[test]
    fn a_tag_that_is_gone_and_trouble_without_a_team_have_no_such_variables() {
        let gone = event(Happened::Tagged(TagMoved {
            team: "payments".parse().unwrap(),
            pod: "orders".parse().unwrap(),
            tag: "baseline".parse().unwrap(),
            reference: None,
            version: None,
            by: "alice/laptop".to_owned(),
            this_device: true,
        }));
        let names = |event: &Event| {
            let variables = event.variables();
            variables
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert!(names(&gone).contains(&"PODSYNC_TAG"));
        assert!(names(&gone).contains(&"PODSYNC_OWN"));
        assert!(!names(&gone).contains(&"PODSYNC_VERSION"));
        let trouble = event(Happened::Trouble(Trouble {
            team: None,
            pod: None,
            reference: None,
            code: crate::ErrorCode::Disk,
            message: "full".to_owned(),
            hint: None,
        }));
        assert!(!names(&trouble).contains(&"PODSYNC_TEAM"));
        assert!(names(&trouble).contains(&"PODSYNC_MESSAGE"));
    }
}
