//! What is logged, and where: on stderr, or in the home's `daemon.log` that the daemon itself keeps small.

pub(crate) mod rolling;
pub(crate) mod unstarted;

use std::{io::IsTerminal, sync::Mutex};

use podsync_api::{ApiError, ErrorCode};
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, filter_fn},
    fmt::{MakeWriter, writer::BoxMakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::rolling::Rolling;
use crate::{
    arguments::{Global, LogFormat},
    output::logs::Logs,
};

/// What to log.
const VARIABLE: &str = "PODSYNC_LOG";

/// Begins to log. A daemon in the background logs to `file`, because nobody reads its stderr.
pub(crate) fn init(
    global: &Global,
    is_daemon: bool,
    file: Option<Rolling>,
) -> Result<(), ApiError> {
    let (ours, others) = match (is_daemon, global.verbose) {
        (_, 2..) => ("trace", "info"),
        (_, 1) => ("debug", "warn"),
        (true, _) => ("info", "warn"),
        (false, _) => ("off", "off"),
    };
    let rooms = [
        "api", "bucket", "core", "daemon", "instance", "net", "pack", "store",
    ];
    let directives = rooms.map(|room| format!("podsync_{room}={ours}")).join(",");
    let usual = || EnvFilter::new(format!("{others},podsync={ours},{directives}"));
    // A filter that cannot be used is told in the log, too.
    let (filter, outcome) = match std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) {
        None => (usual(), Ok(())),
        Some(text) => match asked_for(&text.to_string_lossy()) {
            Ok(filter) => (filter, Ok(())),
            Err(error) => (usual(), Err(error)),
        },
    };
    let ansi =
        file.is_none() && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if is_daemon {
        log_panics();
    }
    match file {
        Some(file) => start(
            global.log_format,
            filter,
            ansi,
            BoxMakeWriter::new(Mutex::new(file)),
        ),
        None => start(global.log_format, filter, ansi, BoxMakeWriter::new(|| Logs)),
    }
    outcome
}

/// The filter that somebody asks for. The library takes any word for the name of a module, so a slip of the hand would
/// only silence the log.
fn asked_for(text: &str) -> Result<EnvFilter, ApiError> {
    let is_plain = |directive: &str| {
        let (target, level) = match directive.trim().rsplit_once('=') {
            Some((target, level)) => (target, Some(level)),
            None => (directive.trim(), None),
        };
        let target = target.split('[').next().unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
        target.chars().all(is_name)
            && level.is_none_or(|level| level.parse::<LevelFilter>().is_ok())
    };
    let filter = EnvFilter::try_new(text).ok();
    filter
        .filter(|_| text.split(',').all(is_plain))
        .ok_or_else(|| {
            ApiError::new(
                ErrorCode::Invalid,
                format!("the environment variable {VARIABLE} cannot be `{text}`"),
            )
            .hint("set it to directives such as `info` or `podsync_net=debug,warn`, or unset it")
        })
}

fn start<W>(format: LogFormat, filter: EnvFilter, ansi: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A presigned URL is as good as a key: no log has one, whatever PODSYNC_LOG asks for.
    let quiet = filter_fn(|log| {
        !podsync_daemon::is_talkative(log.target()) || *log.level() <= tracing::Level::WARN
    });
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(writer);
    match format {
        LogFormat::Text => logs.finish().with(quiet).init(),
        LogFormat::Json => logs.json().finish().with(quiet).init(),
    }
}

/// A panic in a task doesn't end the daemon, so the log must report it.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(target: "podsync", "{panic}");
        usual(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "info",
            "podsync_net=debug",
            "warn,podsync_net=trace,libp2p::swarm=off",
        ] {
            assert!(asked_for(text).is_ok(), "{text}");
        }
        for text in ["%%%", "podsync_net=loud", "info;debug", "a b"] {
            let error = asked_for(text).unwrap_err();
            assert!(error.message.contains("PODSYNC_LOG"), "{error}");
        }
    }
}
