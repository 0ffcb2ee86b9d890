//! One suite for every bucket: what the hub relies on, and what a presigned URL must and must not do.
//!
//! A server that is another program and isn't here is passed over with `NOT RUN` and the reason.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod servers;
mod stalls;
mod suite;

use servers::{described, embedded, garage, localstack};

#[tokio::test]
async fn the_embedded_server_is_a_bucket() {
    suite::run(embedded::start().await).await;
}

#[tokio::test]
async fn garage_is_a_bucket() {
    let Some(server) = garage::start().await else {
        eprintln!(
            "NOT RUN: no Garage here (`cargo xtask garage` builds it, `cargo xtask test` sets {})",
            garage::VARIABLE
        );
        return;
    };
    suite::run(server).await;
}

#[tokio::test]
async fn localstack_is_a_bucket() {
    let Some(server) = localstack::start().await else {
        eprintln!(
            "NOT RUN: no LocalStack here (`cargo xtask test` sets {})",
            localstack::VARIABLE
        );
        return;
    };
    suite::run(server).await;
}

#[tokio::test]
async fn a_described_server_is_a_bucket() {
    let Some(server) = described::find() else {
        eprintln!(
            "NOT RUN: no S3 server is described (`cargo xtask s3 rclone` sets {})",
            described::VARIABLE
        );
        return;
    };
    suite::run(server).await;
}
