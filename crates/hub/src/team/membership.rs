//! Operations to and fro. Which of them count is the fold's business, here as everywhere.

use std::sync::Arc;

use bytes::Bytes;
use podsync_api::hub::{
    Base64, FetchOperations, HubError, HubErrorCode, Operations, PostOperations,
};
use podsync_core::{
    DeviceId, OpId,
    membership::{MAX_OPERATIONS, Membership, Operation, wire::MAX_KNOWN_HEADS},
    signed::{Verified, verify},
};

use super::{
    Team,
    view::{assemble, blocking},
};
use crate::{
    failure::{malformed, unknown_team},
    stored::operation_key,
};

/// The most bytes of operations in an answer.
const MAX_ANSWER_LEN: usize = 4 << 20;
/// The most operations of one post. A client that has more posts several times.
const MAX_POSTED: usize = 1024;

impl Team {
    pub(crate) async fn fetch_operations(
        &self,
        device: &DeviceId,
        fetch: &FetchOperations,
    ) -> Result<Operations, HubError> {
        if fetch.known.len() > MAX_KNOWN_HEADS {
            return Err(malformed(format!(
                "more than {MAX_KNOWN_HEADS} known heads"
            )));
        }
        let view = self.view_for(device).await?;
        let membership = view.membership.as_ref().ok_or_else(unknown_team)?;
        Ok(that_fit(membership.ops_since(&fetch.known)))
    }

    pub(crate) async fn post_operations(
        &self,
        device: &DeviceId,
        post: &PostOperations,
    ) -> Result<FetchOperations, HubError> {
        if post.operations.len() > MAX_POSTED.min(MAX_OPERATIONS) {
            return Err(malformed(format!(
                "more than {MAX_POSTED} operations at once"
            )));
        }
        let view = self.view().await?;
        let posted = post.operations.clone();
        let posted = blocking(move || verified(&posted)).await??;
        let new: Vec<_> = posted
            .into_iter()
            .filter(|op| {
                let known = view.membership.as_ref();
                known.is_none_or(|known| !known.contains(&OpId::of(op.bytes())))
            })
            .collect();
        let (team, all) = (self.id, view.operations_and(&new));
        let membership = blocking(move || assemble(team, &all))
            .await?
            .ok_or_else(unknown_team)?;
        if !membership.state().is_member(device) {
            return Err(HubError::new(
                HubErrorCode::NotListed,
                "this device isn't in the team that these operations make",
            ));
        }
        check_all_kept(&membership, &new)?;
        self.store_operations(&new).await?;
        Ok(FetchOperations {
            known: membership.heads().to_vec(),
        })
    }

    /// Parents before children, so that a listing in between has no operation whose parents are missing.
    pub(super) async fn store_operations(
        &self,
        operations: &[Arc<Verified<Operation>>],
    ) -> Result<(), HubError> {
        for operation in operations {
            let key = operation_key(&OpId::of(operation.bytes()));
            let bytes = Bytes::copy_from_slice(operation.bytes());
            self.bucket.put(&key, bytes).await?;
        }
        if !operations.is_empty() {
            self.changed().await?;
        }
        Ok(())
    }
}

fn verified(posted: &[Base64]) -> Result<Vec<Arc<Verified<Operation>>>, HubError> {
    posted
        .iter()
        .map(|bytes| match verify(bytes) {
            Ok(op) => Ok(Arc::new(op)),
            Err(error) => Err(HubError::new(HubErrorCode::Untrusted, error.to_string())),
        })
        .collect()
}

fn check_all_kept(
    membership: &Membership,
    posted: &[Arc<Verified<Operation>>],
) -> Result<(), HubError> {
    let refused = posted
        .iter()
        .map(|op| OpId::of(op.bytes()))
        .find(|id| !membership.contains(id));
    refused.map_or(Ok(()), |id| {
        Err(HubError::new(
            HubErrorCode::Untrusted,
            format!("operation {id} isn't this team's, its signer is unheard of, or its parents are missing; post parents first"),
        ))
    })
}

/// The first operations, as many as one answer holds.
pub(super) fn that_fit(operations: Vec<Arc<[u8]>>) -> Operations {
    let count = operations.len();
    let mut room = MAX_ANSWER_LEN;
    let fitting = operations.into_iter().map_while(|op| {
        room = room.checked_sub(op.len() / 3 * 4 + 8)?;
        Some(Base64::from(&op))
    });
    let operations: Vec<_> = fitting.collect();
    Operations {
        more: operations.len() < count,
        operations,
    }
}
