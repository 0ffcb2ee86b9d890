//! What is logged, and where: on stderr, or in the home's `daemon.log` that the daemon itself keeps small.

pub(crate) mod rolling;

use std::{io::IsTerminal, sync::Mutex};

use tracing_subscriber::{
    EnvFilter,
    filter::filter_fn,
    fmt::{MakeWriter, writer::BoxMakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::rolling::Rolling;
use crate::{
    arguments::{Global, LogFormat},
    output::logs::Logs,
};

/// Begins to log. A daemon in the background logs to `file`, because nobody reads its stderr.
pub(crate) fn init(global: &Global, is_daemon: bool, file: Option<Rolling>) {
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
    let filter = EnvFilter::try_from_env("PODSYNC_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{others},podsync={ours},{directives}")));
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
