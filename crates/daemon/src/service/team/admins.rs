//! What a team must not lose unasked: its last admin.

use std::collections::BTreeSet;

use podsync_api::{ApiError, Consent};
use podsync_core::{
    DeviceId, TeamName,
    membership::{MemberRecord, Role},
};

/// Refuses to take the last admins away unasked. Whoever is no admin is refused by the team's rules anyway.
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
