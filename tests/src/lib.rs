//! What podsync's tests stand on: real homes and emulators, and a simulated network.

pub mod kit;
pub mod sim;
