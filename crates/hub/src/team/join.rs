//! Joining through the hub: it witnesses with a key of its own, if the team says that it may.

use std::sync::Arc;

use podsync_api::hub::{HubError, HubErrorCode, JoinByInvite, Operations};
use podsync_core::{
    DeviceId, MemberName,
    keys::DeviceSecret,
    membership::{
        Author, AuthorError, KeyRing, Membership, Void,
        operation::{InviteProof, MAX_JOIN_REQUEST_LEN},
        wire::RefusedReason,
    },
    signed::verify,
};

use super::{Team, membership::that_fit};
use crate::failure::{malformed, unknown_team};

impl Team {
    /// `now_ms` judges whether the invite has expired.
    pub(crate) async fn join(
        &self,
        device: &DeviceId,
        join: &JoinByInvite,
        witness: Option<&DeviceSecret>,
        now_ms: u64,
    ) -> Result<Operations, HubError> {
        if join.request.len() > MAX_JOIN_REQUEST_LEN {
            return Err(malformed("the join request is too long"));
        }
        let untrusted = |why: String| HubError::new(HubErrorCode::Untrusted, why);
        let proof =
            verify::<InviteProof>(&join.request).map_err(|error| untrusted(error.to_string()))?;
        if proof.value().newcomer.device != *device || proof.team() != self.id {
            return Err(untrusted(RefusedReason::OtherDevice.to_string()));
        }
        let view = self.view().await?;
        let membership = view.membership.as_ref().ok_or_else(unknown_team)?;
        if membership.state().is_member(device) {
            return Ok(that_fit(membership.ops_since(&[])));
        }
        let witness = witness.ok_or_else(cannot_witness)?;
        let keys = KeyRing::default();
        let author = Author::new(witness, membership, &keys);
        let operation = author
            .witness(&proof, now_ms, &rand::random())
            .map_err(|error| refused(error, membership))?;
        let operation = verify(&operation).map_err(|error| untrusted(error.to_string()))?;
        self.store_operations(&[Arc::new(operation)]).await?;
        let view = self.view().await?;
        let membership = view.membership.as_ref().ok_or_else(unknown_team)?;
        Ok(that_fit(membership.ops_since(&[])))
    }
}

fn refused(error: AuthorError, membership: &Membership) -> HubError {
    let in_use = |name: &MemberName| {
        let mut members = membership.state().devices();
        members.any(|record| record.member == *name)
    };
    match error {
        AuthorError::Void(Void::NameTaken(name)) if !in_use(&name) => HubError::new(
            HubErrorCode::InviteRefused,
            RefusedReason::NameOfRemoved.to_string(),
        ),
        // Said of the hub's own key.
        AuthorError::Void(Void::NotAMember(_) | Void::RoleTooLow { .. }) => cannot_witness(),
        AuthorError::Void(void) => HubError::new(
            HubErrorCode::InviteRefused,
            RefusedReason::from(&void).to_string(),
        ),
        error => HubError::new(HubErrorCode::InviteRefused, error.to_string()),
    }
}

fn cannot_witness() -> HubError {
    HubError::new(
        HubErrorCode::CannotWitness,
        "this hub may not witness joins of that team; ask a member, or let an admin run `podsync team set-hub`",
    )
}
