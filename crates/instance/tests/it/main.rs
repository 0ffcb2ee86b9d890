//! The instance adapter against servers that misbehave in every way that a socket allows, against
//! the well-behaved fake, and, where one is installed, against LocalStack itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod fake;
mod hostile;
mod load;
mod localstack;
mod probe;
mod save;
