//! A simulated network: the daemon's own engine, many times over, in one process and in virtual time.
//!
//! The world plays everything around the engines: disks, links, blob stores, clocks and people. All
//! chance comes from one seed, so a run is repeated by its seed alone. What must always hold is
//! checked after every single step, in [`invariants`](self), against a ledger that the world keeps
//! by itself: an engine is never asked whether it behaved.

mod asked;
mod bucket;
mod carry;
mod chance;
mod disk;
mod downloads;
mod fetching;
mod figures;
mod forge;
mod genesis;
mod happening;
mod hash;
mod history;
mod hub;
mod id;
mod invariants;
mod ledger;
mod life;
mod node;
mod opened;
mod parcel;
mod people;
mod place;
mod polling;
mod queue;
mod roam;
mod store;
mod traffic;
mod view;
mod weather;
mod world;

pub use asked::Asked;
pub use disk::Mood;
pub use figures::Figures;
pub use history::Violation;
pub use id::{Conduct, NodeId};
pub use weather::Climate;
pub use world::World;
