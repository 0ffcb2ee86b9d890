//! `podsync diff`: what differs between two versions, by resource; and how changes are written.

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{
    ApiError,
    contents::{Changes, Diff as Request, Difference, EntryLine, Resource, Subject},
};

use crate::{
    call::call,
    complete,
    context::{Context, Needs},
    output::{
        Column::{Name, Text, Whole},
        bytes, table,
    },
};

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Older version, such as `orders:2`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    before: String,
    /// Newer version, such as `orders:3` or `orders:baseline`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    after: String,
}

pub(crate) async fn run(context: &Context, diff: Diff) -> Result<(), ApiError> {
    let request = Request {
        before: diff.before,
        after: diff.after,
    };
    let differences = call(context, Needs::Home, &request).await?;
    context.printer.result(&differences, |differences| {
        let heading = format!("{} to {}", differences.before, differences.after);
        format!("{heading}: {}", words(&differences.changes))
    })
}

/// A line of numbers, then a row for each change.
pub(super) fn words(changes: &Changes) -> String {
    let Changes {
        added,
        changed,
        removed,
        list,
    } = changes;
    let all = added + changed + removed;
    if all == 0 {
        return "no differences".to_owned();
    }
    let mut text = format!("{added} added, {changed} changed, {removed} removed\n");
    let rows = list.iter().map(|change| {
        let sign = match change.difference {
            Difference::Added => "+",
            Difference::Changed => "~",
            Difference::Removed => "-",
        };
        let [service, place, what, counts] = match &change.subject {
            Subject::Resource(resource) => row(resource),
            Subject::Entry(EntryLine { name, len }) => {
                ["file".to_owned(), String::new(), name.clone(), bytes(*len)]
            }
        };
        [sign.to_owned(), service, place, what, counts]
    });
    let head = [
        Whole(""),
        Whole("SERVICE"),
        Name("WHERE"),
        Name("WHAT"),
        Text("HOLDS"),
    ];
    text.push_str(&table(head, rows));
    let cut = all - (list.len() as u64).min(all);
    if cut > 0 {
        text.push_str(&format!("\nand {cut} more"));
    }
    text
}

/// A resource as people look for it: service, where, kind and name, what it holds.
pub(super) fn row(resource: &Resource) -> [String; 4] {
    let place = [resource.account.as_deref(), resource.region.as_deref()];
    let place: Vec<_> = place.into_iter().flatten().collect();
    let mut what = resource.kind.clone();
    if let Some(name) = &resource.name {
        what.push_str(&format!(" {name}"));
    }
    if let Some(label) = &resource.label {
        what.push_str(&format!(" ({label})"));
    }
    let counts: Vec<_> = resource
        .counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    [
        resource.service.clone(),
        place.join(" "),
        what,
        counts.join(", "),
    ]
}
