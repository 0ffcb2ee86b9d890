//! Save from and load into a running AWS emulator, over LocalStack's state endpoints.
//!
//! Nothing that an instance answers is trusted: each answer is bounded in length, count and
//! silence, and text from it is made printable before it is shown. Inside, a state is opaque: what
//! is in the zip is podsync-pack's business.

mod answer;
mod arriving;
pub mod companion;
mod compatibility;
mod contents;
mod endpoint;
mod error;
mod events;
#[cfg(feature = "fake")]
pub mod fake;
mod instance;
mod load;
mod printable;
mod probe;
mod report;
mod runtime;
mod save;
mod secret;
mod service;
mod upload;

pub use arriving::{Arriving, Sending, arriving};
pub use compatibility::{Obstacle, lacking, obstacle};
pub use contents::{
    Change, Contents, Difference, INDEX_ENTRY, IndexError, MAX_INDEX_LEN, Place, Plan, Resource,
    compare, forecast,
};
pub use endpoint::{DEFAULT_ENDPOINT, Endpoint, EndpointError};
pub use error::{Aftermath, Error, Interruption};
pub use events::{LoadEvent, MAX_EVENTS};
pub use instance::{Instance, Limits, MAX_STATE_LEN};
pub use load::{LoadProgress, LoadReport, LoadRequest};
pub use probe::{Environment, Health, Identity};
pub use report::{SaveFailure, UnderWay};
pub use runtime::Runtime;
pub use save::{SavedState, SavingState};
pub use secret::{Secret, SecretError};
pub use service::{Merge, ParseMergeError, ParseServiceError, Service};
