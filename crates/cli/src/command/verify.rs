//! `podsync verify`: whether what is on this machine, or in the team's bucket, is still what it was.

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, ErrorCode, disk};

use crate::{
    arguments::Wait,
    call::call,
    complete,
    context::{Context, Needs},
    output::{
        Column::{Text, Whole},
        bytes, count, printable, table,
    },
};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Version, such as `orders:3` [default: every version on this machine; with --bucket, every version
    /// that the team shares]
    #[arg(add = ArgValueCompleter::new(complete::references))]
    reference: Option<String>,
    /// Mend damaged data, or download it again. With --bucket: upload it again
    #[arg(long)]
    repair: bool,
    /// Check the team's bucket instead of this machine. This downloads everything
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
        wait_s: verify.wait.time().as_secs(),
    };
    let verified = call(context, needs, &request).await?;
    context
        .printer
        .result(&verified, |verified| words(verified, verify.bucket))?;
    let left = verified.broken.iter().filter(|broken| !broken.repaired);
    let why = left.clone().find_map(|broken| {
        let why = broken.why.as_ref()?;
        Some((format!("{}: {why}", broken.reference), broken.hint.clone()))
    });
    match left.count() {
        0 => Ok(()),
        left => {
            let text = match left {
                1 => "1 version is damaged, incomplete or unreadable".to_owned(),
                left => format!("{left} versions are damaged, incomplete or unreadable"),
            };
            let (text, hint) = match why {
                Some((why, hint)) => (format!("{text}; {why}"), hint),
                None => (text, None),
            };
            let error = ApiError::new(ErrorCode::Disk, text);
            Err(if let Some(hint) = hint {
                error.hint(hint)
            } else if verify.bucket && verify.repair {
                error.hint(
                    "try again when a teammate who has the data is online, and tell the hub's operator",
                )
            } else if verify.bucket {
                error.hint("`podsync verify --bucket --repair` uploads the data again; tell the hub's operator")
            } else if verify.repair {
                error.hint(
                    "try again when a teammate who has the data is online, and check this disk",
                )
            } else {
                error.hint("`podsync verify --repair` mends the data, or downloads it again; check this disk")
            })
        }
    }
}

fn words(verified: &disk::Verified, in_bucket: bool) -> String {
    let mut text = format!(
        "Checked {} in {} of {}{}",
        bytes(verified.bytes),
        count(verified.blobs, if in_bucket { "object" } else { "blob" }),
        count(verified.versions, "version"),
        if in_bucket { " in the bucket" } else { "" },
    );
    if verified.not_yet > 0 {
        text.push_str(&format!(" ({} more are not there yet)", verified.not_yet));
    }
    if verified.broken.is_empty() {
        text.push_str(": no damage.");
        return text;
    }
    let rows = verified.broken.iter().map(|broken| {
        let unreadable = broken.unreadable.first().map(|object| &object.why);
        let state = match (broken.why.as_ref().or(unreadable), broken.repaired) {
            (_, true) => "repaired".to_owned(),
            (Some(why), false) => printable(why),
            (None, false) => "damaged".to_owned(),
        };
        let unreadable: Vec<_> = broken
            .unreadable
            .iter()
            .map(|object| &*object.blob)
            .collect();
        [
            broken.reference.clone(),
            broken.damaged.join(", "),
            broken.missing.join(", "),
            unreadable.join(", "),
            state,
        ]
    });
    text.push('\n');
    let head = [
        Whole("VERSION"),
        Text("DAMAGED"),
        Text("MISSING"),
        Text("UNREADABLE"),
        Text("STATE"),
    ];
    text.push_str(&table(head, rows));
    text
}
