//! `podsync daemon`: the daemon in the foreground, until SIGTERM or Ctrl-C, or until it can't go on.

use clap::Args;
use podsync_api::ApiError;
use podsync_daemon::{Lifetime, Overrides, Settings};

use crate::{context::Context, service::notify};

#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// Address and port to listen on for teammates. Repeat for several
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<std::net::SocketAddr>,
    /// Always connect to this peer: a multiaddress that ends in /p2p/ID. Repeat for several
    #[arg(long, value_name = "MULTIADDRESS")]
    peer: Vec<String>,
    /// Do not look for teammates on the local network (mDNS)
    #[arg(long)]
    no_mdns: bool,
    /// Write the log to daemon.log in the home instead of stderr. podsync begins a new file at 8 MiB and keeps four
    #[arg(long)]
    pub(crate) log_file: bool,
}

pub(crate) async fn run(context: &Context, daemon: Daemon) -> Result<(), ApiError> {
    let home = context.home()?;
    let overrides = Overrides {
        listen: (!daemon.listen.is_empty()).then_some(daemon.listen),
        peers: (!daemon.peer.is_empty()).then_some(daemon.peer),
        mdns: daemon.no_mdns.then_some(false),
    };
    let settings = Settings::load(&home, overrides)?;
    let running = podsync_daemon::start(settings, Lifetime::Service).await?;
    // Who reads the next line may send a signal at once.
    let told_to_stop = running.told_to_stop();
    context.printer.note(format_args!(
        "podsync {} serves {}",
        env!("CARGO_PKG_VERSION"),
        home.display()
    ));
    context.course.note_serving();
    notify::ready();
    tokio::select! {
        () = told_to_stop => {}
        () = notify::keep_watchdog(&running) => {}
    }
    notify::stopping();
    let failure = running.failure();
    running.stop().await;
    failure.map_or(Ok(()), Err)
}
