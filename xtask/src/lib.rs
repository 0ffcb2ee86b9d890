//! What the tasks and the benchmarks share: programs by others, and where they are kept.

pub mod garage;
pub mod localstack;
pub mod tools;
