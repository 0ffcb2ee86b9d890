//! Calls that may need the user's consent. Without it the daemon answers with the missing [`Consent`].

use std::collections::BTreeSet;

use crate::{Call, Consent, disk, follow, pods, retention, team};

/// A call for which the daemon may need consent.
pub trait AsksFirst: Call {
    fn consents(&mut self) -> &mut BTreeSet<Consent>;
}

macro_rules! asks_first {
    ($($call:ty),* $(,)?) => {$(
        impl AsksFirst for $call {
            fn consents(&mut self) -> &mut BTreeSet<Consent> {
                &mut self.consents
            }
        }
    )*};
}
asks_first!(
    disk::Collect,
    follow::Restore,
    pods::DropVersion,
    pods::Load,
    pods::Save,
    pods::Share,
    retention::SetRetention,
    team::CreateTeam,
    team::Leave,
    team::Remove,
    team::SetRole,
);
