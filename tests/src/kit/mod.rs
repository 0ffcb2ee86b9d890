//! Real homes, real daemons and real emulators, each ended by its own process id.

mod any_bucket;
mod disk;
mod emulator;
mod events;
mod home;
mod hub;
mod localstack;
mod namespace;
mod proxy;
mod replicas;
mod runner;
mod state;
mod zip;

pub use any_bucket::AnyBucket;
pub use emulator::{Conduct, FakeEmulator};
pub use events::Events;
pub use home::{Answer, Home, binary, finish};
pub use hub::{FaultyHub, Hub};
pub use localstack::{LocalStack, localstack_python, peak_memory};
pub use namespace::{Family, Lan};
pub use proxy::{EXPIRED, Fault, Proxy, SLOW_DOWN};
pub use replicas::Replicas;
pub use runner::Runner;
pub use state::{change_file, fill, same_tree, size_of};
pub use zip::{Member, zip};
