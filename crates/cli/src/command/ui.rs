//! `podsync ui`: opens the daemon's page in this machine's browser.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use clap::Args;
use podsync_api::{ApiError, ErrorCode, node, page};

use crate::context::{Connection, Context, Needs};

/// How a file is opened for the person at this machine.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};
/// The folder in the home for the file that redirects the browser to the page.
const FOLDER: &str = "run";

#[derive(Debug, Args)]
pub(crate) struct Ui {
    /// Print the page's URL instead of opening it. It works once, for two minutes
    #[arg(long)]
    print_url: bool,
    /// Port on 127.0.0.1 [default: 7639, or another if that is taken]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

pub(crate) async fn run(context: &Context, ui: &Ui) -> Result<(), ApiError> {
    // A new machine begins in the page: it founds a team there, or joins one.
    context.ensure_key().await?;
    let connection = Connection::open(context, Needs::Network).await?;
    let outcome = open(context, &connection, ui).await;
    connection.close().await;
    outcome
}

async fn open(context: &Context, connection: &Connection<'_>, ui: &Ui) -> Result<(), ApiError> {
    let opened = connection.watch(&page::OpenPage { port: ui.port }).await?;
    let transient = connection.watch(&node::GetStatus {}).await?.transient;
    let bridge = if ui.print_url {
        None
    } else {
        open_browser(context, &opened.url)
    };
    match &bridge {
        Some(_) => context
            .printer
            .note("The page is open in your browser. `podsync ui --print-url` prints its address."),
        None => context
            .printer
            .result(&opened, |opened| opened.url.clone())?,
    }
    if transient {
        context
            .printer
            .note("The page is there until you press Ctrl-C.");
        context.stop.cancelled().await;
        return Ok(());
    }
    if let Some(bridge) = bridge {
        // The file holds the token. It is removed at the latest when the token expires.
        let spent = tokio::time::sleep(bridge.life);
        tokio::select! {
            () = spent => {}
            () = context.stop.cancelled() => {}
        }
    }
    Ok(())
}

/// A file that leads the browser on. A URL in a process's arguments could be read by everybody on this machine.
struct Bridge {
    _file: tempfile::NamedTempFile,
    life: Duration,
}

/// Long enough for a browser to start.
const BRIDGE_LIFE: Duration = Duration::from_secs(10);

fn open_browser(context: &Context, url: &str) -> Option<Bridge> {
    let displays = ["DISPLAY", "WAYLAND_DISPLAY"];
    let shown = cfg!(target_os = "macos")
        || displays
            .iter()
            .any(|display| std::env::var_os(display).is_some());
    if !shown || std::env::var_os("CI").is_some() {
        return None;
    }
    let file = bridge(context, url).ok()?;
    let opened = Command::new(OPENER)
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    opened
        .is_ok_and(|status| status.success())
        .then_some(Bridge {
            _file: file,
            life: BRIDGE_LIFE,
        })
}

fn bridge(context: &Context, url: &str) -> Result<tempfile::NamedTempFile, ApiError> {
    let failed = |error: std::io::Error| {
        ApiError::new(ErrorCode::Disk, format!("the page's file: {error}"))
            .hint("run `podsync ui --print-url` and open what it prints")
    };
    let folder: PathBuf = context.home()?.join(FOLDER);
    // Made for its owner alone.
    let mut file = tempfile::Builder::new()
        .prefix("page-")
        .suffix(".html")
        .tempfile_in(folder)
        .map_err(failed)?;
    write!(
        file,
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=\"0;url={url}\"><title>podsync</title>"
    )
    .map_err(failed)?;
    Ok(file)
}
