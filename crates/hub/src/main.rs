//! `podsync-hub`: arguments, settings, and a stop on SIGTERM.

use std::{
    io::{IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use clap::{Args, Parser, Subcommand};
use podsync_core::TeamId;
use podsync_hub::{
    Hub, Identity, Teams, aside,
    certificates::Certificates,
    config::{Config, ConfigError, TeamConfig},
    embedded::{self, Embedded},
    gc,
    guard::Guard,
    moved::Moved,
    operate::{self, Outcome},
    reload::{Reload, Settings, Source},
    s3::{Endpoint, S3Bucket},
    serve::{self, HEADERS, serve},
    storage::{Storage, StorageError},
    witness,
};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Libraries that would log URLs, headers or signatures: they keep to warnings, whatever RUST_LOG says.
const TALKATIVE: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "reqsign",
    "reqsign_core",
    "reqsign_aws_v4",
    "reqwest",
    "s3s",
];

/// Where `dev` keeps its buckets, in its folder.
const DEV_BUCKETS: &str = "buckets";

/// The hub: gives a team's devices presigned URLs for its bucket, and keeps what they share there.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Write the log as JSON lines. The variable RUST_LOG sets how much is logged
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the teams of a settings file
    Serve(ServeArguments),
    /// Try podsync: serve any team from a bucket on this disk. Not for the open internet
    Dev(DevArguments),
    /// Print the S3 credentials of a team's bucket in `podsync-hub dev`. They can read and write it
    DevKeys {
        /// The folder that was given to `podsync-hub dev --data`
        #[arg(long, value_name = "FOLDER")]
        data: PathBuf,
        /// Id of the team. `podsync status --json` prints it
        team: TeamId,
    },
    /// Delete now what no version needs any more. A hub that serves does it every hour
    Gc {
        #[command(flatten)]
        settings: SettingsFile,
        /// Show what would be deleted; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Test the settings and each team's bucket, and show what is missing. Exits with 1 if a team cannot share through its bucket
    Check {
        #[command(flatten)]
        settings: SettingsFile,
        /// Test only the bucket of this team
        #[arg(long, value_name = "ID")]
        team: Option<TeamId>,
    },
    /// List the teams of a settings file, and whether their buckets answer
    Teams {
        #[command(flatten)]
        settings: SettingsFile,
    },
    /// Show how many bytes each team stores, by kind and age, and how many will be deleted
    Usage {
        #[command(flatten)]
        settings: SettingsFile,
        /// Show only the bucket of this team
        #[arg(long, value_name = "ID")]
        team: Option<TeamId>,
    },
    /// Create the key with which a hub lets new members in, and print its id
    Key {
        /// File to write. A file that exists is never overwritten
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct SettingsFile {
    /// Settings file (TOML), such as config/hub.toml in the source
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct ServeArguments {
    #[command(flatten)]
    settings: SettingsFile,
    /// Address to listen at [default: `listen` in the settings file]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// URL by which members know the hub; repeat for several [default: `public_urls` in the settings file]
    #[arg(long = "public-url", value_name = "URL")]
    public_urls: Vec<String>,
}

#[derive(Debug, Args)]
struct DevArguments {
    /// Folder for the buckets and keys
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Address at which the hub listens
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 7640)))]
    listen: SocketAddr,
    /// Address at which the bucket listens
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 7641)))]
    s3_listen: SocketAddr,
    /// URL by which members reach the bucket [default: its own address]
    #[arg(long, value_name = "URL")]
    s3_public: Option<String>,
}

fn main() -> ExitCode {
    match run_to_end(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace, which an operator can do nothing with, whatever RUST_BACKTRACE says.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_to_end(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        if matches!(arguments.command, Command::Serve(_) | Command::Dev(_)) {
            // First of all: without a handler, SIGHUP ends a hub that only begins. It has read nothing yet that it
            // could read again.
            drop(signal(SignalKind::hangup())?);
        }
        serve::install_tls();
        start_log(arguments.log_json);
        run(arguments.command).await
    });
    // A call to a bucket that hangs must not hold up the stop.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn start_log(json: bool) {
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    for library in TALKATIVE {
        if let Ok(directive) = format!("{library}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_ansi(colours)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        log.init();
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(arguments) => run_serve(arguments).await,
        Command::Dev(arguments) => run_dev(arguments).await,
        Command::DevKeys { data, team } => print_dev_keys(&data, team),
        Command::Gc { settings, dry_run } => run_gc(&settings.config, dry_run).await,
        Command::Check { settings, team } => run_check(settings.config, team).await,
        Command::Teams { settings } => {
            let config = Config::load(&settings.config)?;
            operate(&settings.config, config, None, operate::list).await
        }
        Command::Usage { settings, team } => {
            let config = Config::load(&settings.config)?;
            operate(&settings.config, config, team, operate::usage).await
        }
        Command::Key { file } => {
            println!("{}", witness::create(&file)?.id());
            Ok(())
        }
    }
}

async fn run_serve(arguments: ServeArguments) -> anyhow::Result<()> {
    // Before anything is read.
    let hangup = signal(SignalKind::hangup())?;
    let urls = arguments.public_urls.iter();
    let source = Source {
        file: arguments.settings.config,
        public_urls: urls
            .map(|url| url.parse().map_err(anyhow::Error::msg))
            .collect::<Result<_, _>>()?,
        listen: arguments.listen,
    };
    let Settings { config, identity } = source.read()?;
    let teams = config.open_teams().map_err(anyhow::Error::msg)?;
    let hub = Arc::new(Hub::new(teams, identity));
    let certificates = match &config.tls {
        Some(tls) => {
            let loaded = Certificates::load(tls.files(), hub.clone());
            Some(loaded.map_err(|error| ConfigError::of_tls(&source.file, &error))?)
        }
        None => None,
    };
    let listener = listen(config.listen)?;
    say(&format!(
        "podsync-hub listens at {}",
        listener.local_addr()?
    ));
    let (stop, reload) = (stop()?, Reload::new(source, config, hub.clone()));
    let tls = certificates.as_ref().map(Certificates::config);
    let following = follow(reload, certificates, hangup, stop.clone());
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!(%error, "the supervisor was not told that the hub serves");
    }
    tokio::select! {
        result = serve_and_sweep(hub, listener, tls, stop) => result,
        () = following => Ok(()),
    }
}

/// Reads settings and certificates again at SIGHUP, and certificates when their files change.
async fn follow(
    reload: Reload,
    certificates: Option<Certificates>,
    hangup: Signal,
    stop: CancellationToken,
) {
    let listening = read_at_hangup(reload, certificates.clone(), hangup);
    let watching = async {
        match certificates {
            Some(certificates) => certificates.watch(stop).await,
            None => std::future::pending().await,
        }
    };
    tokio::join!(watching, listening);
    std::future::pending().await
}

async fn read_at_hangup(
    mut reload: Reload,
    mut certificates: Option<Certificates>,
    mut hangup: Signal,
) {
    while hangup.recv().await.is_some() {
        let reading = move || {
            let said = reload.again();
            // `systemctl status` shows it: a reload itself always succeeds.
            if let Err(error) = sd_notify::notify(&[NotifyState::Status(&said)]) {
                tracing::warn!(%error, "the supervisor was not told what became of the settings");
            }
            if let Some(certificates) = &mut certificates {
                certificates.reload(true);
            }
            (reload, certificates)
        };
        match aside::read("the settings and what they name", reading).await {
            Ok(read) => (reload, certificates) = read,
            Err(error) => {
                tracing::error!(%error, "the hub reads no settings again until it is restarted");
                return;
            }
        }
    }
}

async fn run_dev(arguments: DevArguments) -> anyhow::Result<()> {
    let hangup = signal(SignalKind::hangup())?;
    let public: Option<Endpoint> = arguments.s3_public.map(|url| url.parse()).transpose()?;
    let embedded = Embedded::start(&arguments.data.join(DEV_BUCKETS), arguments.s3_listen).await?;
    let embedded = Arc::new(embedded);
    let witness = witness::open(&arguments.data.join("witness.key"))?;
    let buckets = embedded.clone();
    let teams = Teams::any(move |team| open_embedded(&buckets, team, public.clone()));
    let identity = Identity {
        authorities: Vec::new(),
        witness: Some(witness),
        guard: Guard::Open,
        moved: Moved::default(),
    };
    let hub = Arc::new(Hub::new(teams, identity));
    let listener = listen(arguments.listen)?;
    let address = listener.local_addr()?;
    say(&format!("podsync-hub listens at http://{address}"));
    say(&format!(
        "An admin runs: podsync team set-hub http://{address}"
    ));
    let stop = stop()?;
    let result = tokio::select! {
        result = serve_and_sweep(hub, listener, None, stop.clone()) => result,
        () = stop_at(hangup, stop) => Ok(()),
    };
    if let Some(embedded) = Arc::into_inner(embedded) {
        embedded.stop().await;
    }
    result
}

/// The terminal of a `dev` is gone: there are no settings to read again.
async fn stop_at(mut hangup: Signal, stop: CancellationToken) {
    hangup.recv().await;
    tracing::info!("SIGHUP: `dev` has no settings to read again, and stops");
    stop.cancel();
    std::future::pending().await
}

async fn serve_and_sweep(
    hub: Arc<Hub>,
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let sweeping = async {
        tokio::join!(hub.greet(), gc::hourly(&hub, stop.clone()));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = serve(hub.clone(), listener, tls, HEADERS, stop.clone()) => Ok(result?),
        () = sweeping => Ok(()),
    }
}

async fn run_gc(config: &Path, dry_run: bool) -> anyhow::Result<()> {
    let teams = Config::load(config)?.open_teams();
    let hub = Hub::new(teams.map_err(anyhow::Error::msg)?, Identity::default());
    let mut failed = 0;
    for line in gc::once(&hub, dry_run).await {
        match line {
            Ok(line) => say(&line),
            Err(error) => {
                failed += 1;
                eprintln!("{error}");
            }
        }
    }
    anyhow::ensure!(
        failed == 0,
        "buckets that were not collected: {failed}; their objects stay as they are"
    );
    Ok(())
}

/// Refuses the settings that `serve` refuses, before it asks the buckets.
async fn run_check(file: PathBuf, only: Option<TeamId>) -> anyhow::Result<()> {
    let source = Source {
        file,
        public_urls: Vec::new(),
        listen: None,
    };
    let config = source.check()?;
    operate(&source.file, config, only, operate::check).await
}

/// Asks the buckets of a settings file's teams, or of the named team, and prints the result.
async fn operate<F: Future<Output = Outcome>>(
    file: &Path,
    config: Config,
    only: Option<TeamId>,
    ask: impl FnOnce(Vec<TeamConfig>) -> F,
) -> anyhow::Result<()> {
    let mut teams = config.teams;
    anyhow::ensure!(
        !teams.is_empty(),
        "{} has no [[teams]], so there is no bucket to ask",
        file.display()
    );
    teams.retain(|team| only.is_none_or(|only| only == team.team));
    anyhow::ensure!(
        !teams.is_empty(),
        "the settings have no such team: `podsync-hub teams` lists those that they have"
    );
    let outcome = ask(teams).await;
    say(outcome.text.trim_end());
    anyhow::ensure!(
        outcome.failed == 0,
        "teams whose bucket isn't as it should be: {}; the lines above say why",
        outcome.failed
    );
    Ok(())
}

fn open_embedded(
    embedded: &Embedded,
    team: TeamId,
    public: Option<Endpoint>,
) -> Result<Arc<dyn Storage>, StorageError> {
    let mut settings = embedded.bucket(&dev_bucket(team));
    settings.public_endpoint = public;
    Ok(Arc::new(S3Bucket::new(settings)?))
}

/// As variables that a shell and AWS's tools read.
fn print_dev_keys(data: &Path, team: TeamId) -> anyhow::Result<()> {
    let bucket = dev_bucket(team);
    let (access_key, secret_key) = embedded::keys(&data.join(DEV_BUCKETS), &bucket)?;
    println!("AWS_ACCESS_KEY_ID={access_key}");
    println!("AWS_SECRET_ACCESS_KEY={secret_key}");
    println!("AWS_DEFAULT_REGION={}", embedded::REGION);
    println!("BUCKET={bucket}");
    Ok(())
}

/// Names of buckets have at most 63 letters: 160 bits of the id tell teams apart as well.
fn dev_bucket(team: TeamId) -> String {
    format!("podsync-{}", &team.to_string()[..40])
}

/// Prints to standard output. A closed output is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("cannot listen at {address}; stop the program that does, or choose another address with --listen")
    })
}

/// Cancelled at SIGTERM or SIGINT.
fn stop() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let told = stop.clone();
    // Lives as long as the program.
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping within {} s", serve::GRACE.as_secs());
        told.cancel();
    });
    Ok(stop)
}
