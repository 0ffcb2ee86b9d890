//! Asks for consent before a team loses its last admin, or a device for good.

use std::collections::BTreeSet;

use podsync_api::{ApiError, Consent};
use podsync_core::{
    DeviceId, TeamName,
    membership::{MemberRecord, Role},
};

/// Refuses to remove the last admins without consent. The team's rules refuse callers that aren't admins anyway.
pub(super) fn check_admin_stays(
    team: &TeamName,
    records: &[MemberRecord],
    by: DeviceId,
    going: &[DeviceId],
    consents: &BTreeSet<Consent>,
) -> Result<(), ApiError> {
    let admins = records.iter().filter(|record| record.role == Role::Admin);
    if !admins.clone().any(|record| record.device == by) {
        return Ok(());
    }
    let (gone, staying): (Vec<_>, Vec<_>) =
        admins.partition(|record| going.contains(&record.device));
    if gone.is_empty() || !staying.is_empty() || consents.contains(&Consent::LastAdmin) {
        return Ok(());
    }
    let names: BTreeSet<_> = gone.iter().map(|record| record.member.as_str()).collect();
    let names: Vec<_> = names.into_iter().collect();
    Err(ApiError::unconfirmed(
        Consent::LastAdmin,
        format!(
            "team {team} would have no admin without {}. Then only its recovery key could invite, remove \
             or promote members, and change the hub or the retention rules",
            names.join(", ")
        ),
    ))
}

/// Refuses to remove devices without consent: a removed device can never come back.
pub(super) fn check_removal_is_meant(
    team: &TeamName,
    records: &[MemberRecord],
    by: DeviceId,
    going: &[&MemberRecord],
    consents: &BTreeSet<Consent>,
) -> Result<(), ApiError> {
    let goes_itself = going.iter().any(|record| record.device == by);
    let is_admin = records
        .iter()
        .any(|record| record.device == by && record.role == Role::Admin);
    let alone = goes_itself && going.len() == 1;
    if !is_admin && !alone {
        // The team's rules refuse that anyway.
        return Ok(());
    }
    let consent = match goes_itself {
        true => Consent::Leave,
        false => Consent::Remove,
    };
    if consents.contains(&consent) {
        return Ok(());
    }
    if alone {
        return Err(leaves(team));
    }
    let names: Vec<_> = going.iter().map(|record| name_of(record)).collect();
    let itself = if goes_itself {
        ", this device included"
    } else {
        ""
    };
    Err(ApiError::unconfirmed(
        consent,
        format!(
            "{} would go from team {team} for good{itself}. A removed device cannot read what the team shares \
             from then on, and comes back only with a new invite and a new home",
            names.join(", ")
        ),
    ))
}

/// The consents that are needed to take this device out of a team.
pub(super) fn leaves(team: &TeamName) -> ApiError {
    ApiError::unconfirmed(
        Consent::Leave,
        format!(
            "this device leaves team {team} for good. It can no longer read what the team shares, \
             and it cannot join again with this home"
        ),
    )
}

/// `bob/laptop`.
pub(super) fn name_of(record: &MemberRecord) -> String {
    format!("{}/{}", record.member, record.label)
}
