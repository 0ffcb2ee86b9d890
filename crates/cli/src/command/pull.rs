//! `podsync pull`: a version's bytes, from whoever holds them.

use clap::{Args, ValueEnum};
use podsync_api::{ApiError, pods};

use crate::{
    arguments::Global,
    command::call,
    connect::Needs,
    output::{Printer, bytes, printable},
};

/// How long to wait for the version and its holders before giving up, in seconds.
const DEFAULT_WAIT: &str = "20s";

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// `orders`, `orders:3`, `orders:3@alice`, `orders:baseline`, `orders@1f3a9c`
    reference: String,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// How long to wait for a teammate who holds it
    #[arg(long, value_name = "TIME", default_value = DEFAULT_WAIT, value_parser = humantime::parse_duration)]
    pub(crate) wait: std::time::Duration,
    /// Where its bytes may come from
    #[arg(long, value_enum, default_value_t)]
    source: Source,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Source {
    /// Teammates first; the team's bucket for what they don't have or don't send
    #[default]
    Any,
    /// Teammates only
    Peers,
    /// The team's bucket only
    Bucket,
}

impl Wait {
    pub(crate) fn sources(&self) -> pods::Sources {
        match self.source {
            Source::Any => pods::Sources::Any,
            Source::Peers => pods::Sources::Peers,
            Source::Bucket => pods::Sources::Bucket,
        }
    }
}

pub(crate) async fn run(global: &Global, printer: &Printer, pull: Pull) -> Result<(), ApiError> {
    let request = pods::Pull {
        reference: pull.reference,
        wait_s: pull.wait.wait.as_secs(),
        sources: pull.wait.sources(),
    };
    let pulled = call(global, printer, Needs::Network, &request).await?;
    printer.result(&pulled, words);
    Ok(())
}

/// The last line says where the bytes came from.
pub(super) fn words(pulled: &pods::Pulled) -> String {
    let sources = if pulled.sources.is_empty() {
        "nothing had to travel: it is all here".to_owned()
    } else {
        let each = pulled
            .sources
            .iter()
            .map(|s| format!("{} from {}", bytes(s.bytes), printable(&s.name)));
        each.collect::<Vec<_>>().join(", ")
    };
    format!(
        "pulled {} by {} ({})\n{sources}",
        pulled.reference,
        printable(&pulled.author),
        bytes(pulled.state_len)
    )
}
