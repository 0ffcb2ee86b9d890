//! What the log's lines about a team's bucket have in common: they name both.

use podsync_core::TeamId;
use tracing::{Span, error_span};

/// For all work on a team's bucket. Its level is the highest, so that it is there whatever is logged.
pub(crate) fn of_team(team: &TeamId, bucket: &str) -> Span {
    error_span!("work", %team, bucket)
}
