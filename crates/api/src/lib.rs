//! The control API: what the daemon can be asked, in shapes that the CLI and the page share.
//!
//! Every call is a `POST` of JSON to a path. With `Accept: text/event-stream` the answer comes as
//! events (`progress` any number of times, then `answer` or `error`), otherwise as plain JSON.
//! Closing the connection cancels what the call was doing.

mod asks_first;
mod call;
mod client;
pub mod contents;
pub mod disk;
mod error;
pub mod events;
pub mod follow;
pub mod hub;
pub mod node;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod page;
pub mod pods;
pub mod retention;
mod secret;
pub mod team;

pub use asks_first::AsksFirst;
pub use call::{Call, Progress, Scope, Stage, event};
pub use client::{Client, EventStream, TeamChoice};
pub use error::{Ambiguity, ApiError, Consent, ErrorCode};
pub use secret::AuthToken;
