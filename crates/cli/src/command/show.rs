//! `podsync show`: what a version is and where it lies.

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{
    ApiError,
    pods::{self, Holder, InBucket, Whereabouts},
};

use crate::{
    call::call,
    command::diff::row,
    complete,
    context::{Context, Needs},
    output::{
        Column::{Name, Text, Whole},
        ago, bytes, field, printable, table,
    },
};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Version: `orders`, `orders:3`, `orders:3@alice`, `orders:baseline` or `orders@1f3a9c`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    reference: String,
    /// List the contents: resources by service, account and region, or files
    #[arg(long)]
    contents: bool,
}

pub(crate) async fn run(context: &Context, show: Show) -> Result<(), ApiError> {
    let request = pods::Show {
        reference: show.reference,
        contents: show.contents,
    };
    let shown = call(context, Needs::Home, &request).await?;
    if let Some(warning) = &shown.whereabouts.warning {
        context.printer.warn(printable(warning));
    }
    context.printer.result(&shown, words)
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
    rows.extend(where_it_lives(&shown.whereabouts));
    let mut text: Vec<_> = rows
        .iter()
        .map(|[name, value]| field(name, &printable(value)))
        .collect();
    if let Some(resources) = &shown.resources {
        text.push(String::new());
        text.push(table(
            [Whole("SERVICE"), Name("WHERE"), Name("WHAT"), Text("HOLDS")],
            resources.iter().map(row),
        ));
    }
    if let Some(entries) = &shown.entries {
        text.push(String::new());
        text.push(table(
            [Name("ENTRY"), Whole("SIZE")],
            entries.iter().map(|e| [e.name.clone(), bytes(e.len)]),
        ));
    }
    if shown.left_out > 0 {
        text.push(format!("and {} more", shown.left_out));
    }
    text.join("\n")
}

fn where_it_lives(found: &Whereabouts) -> Vec<[String; 2]> {
    let row = |name: &str, value: String| [name.to_owned(), value];
    let this = |holder: &Holder| {
        if holder.this_device {
            " (this one)"
        } else {
            ""
        }
    };
    let whole = found.devices.iter().filter(|holder| holder.whole);
    let whole: Vec<_> = whole
        .map(|holder| format!("{}{}", holder.name, this(holder)))
        .collect();
    let mut rows = vec![row(
        "complete",
        if whole.is_empty() {
            "no device that could be asked".to_owned()
        } else {
            whole.join(", ")
        },
    )];
    for holder in found.devices.iter().filter(|holder| !holder.whole) {
        let (held, needed) = (bytes(holder.held), bytes(found.needed));
        let of = if found.exact { "" } else { " of packs" };
        rows.push(row(
            "partly",
            format!("{}{}: {held} of {needed}{of}", holder.name, this(holder)),
        ));
    }
    if !found.without.is_empty() {
        rows.push(row("without", found.without.join(", ")));
    }
    if !found.unknown.is_empty() {
        let unknown = found.unknown.join(", ");
        rows.push(row("unknown", format!("{unknown} (offline)")));
    }
    let in_bucket = match &found.bucket {
        None => return rows,
        Some(InBucket::Whole) => "complete".to_owned(),
        Some(InBucket::Missing(count)) => format!("{count} objects are missing"),
        Some(InBucket::NotYet) => "not yet".to_owned(),
        Some(InBucket::Unknown(why)) => format!("unknown: {why}"),
    };
    rows.push(row("bucket", in_bucket));
    rows
}

#[cfg(test)]
mod tests {
    use podsync_core::keys::DeviceSecret;

    use super::*;

    #[test]
    fn each_holder_the_bucket_and_the_unknown_have_a_row() {
        let holder = |name: &str, held, whole| Holder {
            device: DeviceSecret::from_seed([1; 32]).id(),
            name: name.to_owned(),
            this_device: name == "alice/laptop",
            whole,
            held,
            packs: 1,
        };
        let found = Whereabouts {
            needed: 80_000_000,
            exact: true,
            devices: vec![
                holder("alice/laptop", 80_000_000, true),
                holder("bob/laptop", 12_000_000, false),
            ],
            unknown: vec!["carol/desk".to_owned()],
            bucket: Some(InBucket::NotYet),
            ..Whereabouts::default()
        };
        let rows: Vec<_> = where_it_lives(&found)
            .iter()
            .map(|row| row.join("|"))
            .collect();
        assert_eq!(
            rows,
            [
                "complete|alice/laptop (this one)",
                &format!(
                    "partly|bob/laptop: {} of {}",
                    bytes(12_000_000),
                    bytes(80_000_000)
                ),
                "unknown|carol/desk (offline)",
                "bucket|not yet",
            ]
        );
    }
}
