//! `podsync verify`: whether what is on this machine, or in the team's bucket, is still what it was.

use clap::Args;
use podsync_api::{ApiError, ErrorCode, disk};

use crate::{
    arguments::Wait,
    call::call,
    context::{Context, Needs},
    output::{bytes, count, printable, table},
};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// `orders:3`, `orders:baseline` [default: everything on this machine; with --bucket, everything
    /// that the team shares]
    reference: Option<String>,
    /// Fetch what is damaged or missing from whoever has it; with --bucket, put it back there
    #[arg(long)]
    repair: bool,
    /// Look at the team's bucket instead of this machine: everything is downloaded and hashed
    #[arg(long)]
    bucket: bool,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(context: &Context, verify: Verify) -> Result<(), ApiError> {
    let needs = if verify.repair {
        Needs::Network
    } else {
        Needs::Home
    };
    let request = disk::Verify {
        reference: verify.reference,
        repair: verify.repair,
        bucket: verify.bucket,
        wait_s: verify.wait.wait.as_secs(),
    };
    let verified = call(context, needs, &request).await?;
    context
        .printer
        .result(&verified, |verified| words(verified, verify.bucket));
    let left = verified.broken.iter().filter(|broken| !broken.repaired);
    match left.count() {
        0 => Ok(()),
        left => {
            let text = match left {
                1 => "1 version is not whole".to_owned(),
                left => format!("{left} versions are not whole"),
            };
            let error = ApiError::new(ErrorCode::Disk, text);
            Err(if verify.bucket && verify.repair {
                error.hint(
                    "try again when somebody who has them is online; tell whoever runs the hub",
                )
            } else if verify.bucket {
                error.hint("`podsync verify --bucket --repair` puts back what is wrong; tell whoever runs the hub")
            } else if verify.repair {
                error.hint("try again when somebody who has them is online; look into this disk")
            } else {
                error.hint("`podsync verify --repair` fetches what is wrong; look into this disk")
            })
        }
    }
}

fn words(verified: &disk::Verified, in_bucket: bool) -> String {
    let mut text = format!(
        "read {} in {} of {}{}",
        bytes(verified.bytes),
        count(verified.blobs, if in_bucket { "object" } else { "blob" }),
        count(verified.versions, "version"),
        if in_bucket { " in the bucket" } else { "" },
    );
    if verified.not_yet > 0 {
        text.push_str(&format!(" ({} more aren't there yet)", verified.not_yet));
    }
    if verified.broken.is_empty() {
        text.push_str(": all whole");
        return text;
    }
    let rows = verified.broken.iter().map(|broken| {
        let state = match (&broken.why, broken.repaired) {
            (_, true) => "whole again".to_owned(),
            (Some(why), false) => printable(why),
            (None, false) => "not whole".to_owned(),
        };
        [
            broken.reference.clone(),
            broken.damaged.join(", "),
            broken.missing.join(", "),
            state,
        ]
    });
    text.push('\n');
    text.push_str(&table(["VERSION", "DAMAGED", "MISSING", "NOW"], rows));
    text
}
