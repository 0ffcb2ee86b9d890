//! What the tasks and the benchmarks share: programs by others, and where they are kept.

pub mod garage;
pub mod localstack;
pub mod tools;

/// What the tests and the benchmark of buckets read to find an S3 server: the file of its description.
pub const S3_VARIABLE: &str = "PODSYNC_TEST_S3";
