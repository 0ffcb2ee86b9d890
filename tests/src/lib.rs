//! The basis of podsync's tests: real homes and emulators, and a simulated network.

pub mod kit;
pub mod sim;
