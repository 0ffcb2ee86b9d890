//! Sweeping a team's bucket by what its membership says now.

use std::time::{Instant, SystemTime};

use super::{Team, view::View};
use crate::{
    gc::{self, GcError, Outcome, Seen},
    storage::StorageError,
};

impl Team {
    pub(crate) async fn sweep(&self) -> Result<Outcome, GcError> {
        let view = self.view().await.map_err(unseen)?;
        let roster = view
            .membership
            .as_ref()
            .map(|membership| membership.state());
        let (bucket, begun) = (&*self.bucket, Instant::now());
        let objects = gc::list_objects(bucket).await?;
        self.note_listed(begun, &objects);
        let outcome = gc::sweep_listed(bucket, &objects, roster, self.retention).await?;
        self.note_freed(begun, outcome.freed);
        Ok(outcome)
    }

    /// When a hub began the last sweep of the bucket.
    pub(crate) async fn last_sweep(&self) -> Result<Option<SystemTime>, StorageError> {
        gc::last_sweep(self.bucket.as_ref()).await
    }

    /// What a sweep would do. Nothing is written, and a bucket that isn't there isn't made.
    pub(crate) async fn preview(&self) -> Result<Seen, GcError> {
        let view = View::read(self.id, &self.bucket, None, None).await;
        let view = view.map_err(unseen)?;
        let roster = view
            .membership
            .as_ref()
            .map(|membership| membership.state());
        gc::preview(self.bucket.as_ref(), roster, self.retention).await
    }
}

fn unseen(error: podsync_api::hub::HubError) -> GcError {
    GcError::Team(error.message)
}
