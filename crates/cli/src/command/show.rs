//! `podsync show`: what a version is and where it lies.

use clap::Args;
use podsync_api::{ApiError, pods};

use crate::{
    arguments::Global,
    command::{call, diff::row},
    connect::Needs,
    output::{Printer, ago, bytes, printable, table},
};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// `orders`, `orders:3`, `orders:3@alice`, `orders:baseline`, `orders@1f3a9c`
    reference: String,
    /// List what is inside: resources by service, account and region, or files where it has no index
    #[arg(long)]
    contents: bool,
}

pub(crate) async fn run(global: &Global, printer: &Printer, show: Show) -> Result<(), ApiError> {
    let request = pods::Show {
        reference: show.reference,
        contents: show.contents,
    };
    let shown = call(global, printer, Needs::Home, &request).await?;
    printer.result(&shown, words);
    Ok(())
}

fn words(shown: &pods::Shown) -> String {
    let version = &shown.version;
    let none = || "none".to_owned();
    let mut rows = vec![
        ["version".to_owned(), version.reference.clone()],
        ["id".to_owned(), version.id.to_string()],
        ["by".to_owned(), version.author.clone()],
        ["when".to_owned(), ago(version.created_ms)],
        ["message".to_owned(), version.message.clone()],
        ["state".to_owned(), bytes(version.state_len)],
        [
            "packs".to_owned(),
            format!("{} in {}", bytes(shown.packed_len), shown.packs),
        ],
        [
            "emulator".to_owned(),
            version.emulator.clone().unwrap_or_else(none),
        ],
    ];
    if !version.services.is_empty() {
        rows.push(["services".to_owned(), version.services.join(", ")]);
    }
    if !version.tags.is_empty() {
        let tags: Vec<_> = version.tags.iter().map(ToString::to_string).collect();
        rows.push(["tags".to_owned(), tags.join(", ")]);
    }
    let parents: Vec<_> = shown
        .parents
        .iter()
        .map(podsync_core::VersionId::short)
        .collect();
    rows.push([
        "parents".to_owned(),
        if parents.is_empty() {
            none()
        } else {
            parents.join(", ")
        },
    ]);
    let held = if version.held {
        "on this machine"
    } else {
        "not on this machine"
    };
    rows.push(["held".to_owned(), held.to_owned()]);
    let mut text: Vec<_> = rows
        .iter()
        .map(|[name, value]| format!("{name:<9} {}", printable(value)))
        .collect();
    if let Some(resources) = &shown.resources {
        text.push(String::new());
        text.push(table(
            ["SERVICE", "WHERE", "WHAT", "HOLDS"],
            resources.iter().map(row),
        ));
    }
    if let Some(entries) = &shown.entries {
        text.push(String::new());
        text.push(table(
            ["ENTRY", "SIZE"],
            entries.iter().map(|e| [e.name.clone(), bytes(e.len)]),
        ));
    }
    if shown.left_out > 0 {
        text.push(format!("and {} more", shown.left_out));
    }
    text.join("\n")
}
