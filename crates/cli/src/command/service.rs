//! `podsync service`: this home's daemon as a service of this machine.

use clap::{Args, Subcommand};
use podsync_api::{ApiError, ErrorCode, node};
use podsync_daemon::{NewHome, shell_word};

use super::logs::Tail;
use crate::{
    arguments::Yes,
    context::{Context, is_outdated},
    log::{rolling, unstarted},
    lstk,
    output::ask::confirm,
    service::{self, Service, State},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the daemon at login and after a crash. A daemon that runs already is taken over
    Install(Install),
    /// Stop the service and remove it. The home stays
    Uninstall,
    /// Start the service
    Start,
    /// Stop the service until its next start
    Stop,
    /// Restart the service
    Restart,
    /// Show whether the service is installed and runs
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    agree: Yes,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), ApiError> {
    let service = context.service()?;
    match command {
        Command::Install(install) => self::install(context, &service, install.agree.yes).await,
        Command::Uninstall => uninstall(context, &service).await,
        Command::Start => {
            installed(&service)?;
            begun(context, service.start()).await?;
            tell(context, &service).await
        }
        Command::Stop => {
            installed(&service)?;
            service.stop().await?;
            podsync_daemon::wait_until_free(&context.home()?).await?;
            tell(context, &service).await
        }
        Command::Restart => {
            installed(&service)?;
            begun(context, service.restart()).await?;
            tell(context, &service).await
        }
        Command::Status => tell(context, &service).await,
    }
}

async fn install(context: &Context, service: &Service, yes: bool) -> Result<(), ApiError> {
    let program = service::this_program()?;
    let new = context.new_home().await?;
    context.ensure_key().await?;
    let changed = match service.install(&program).await {
        Ok(changed) => changed,
        Err(error) => {
            take_back(context, new);
            return Err(error);
        }
    };
    let runs = context.status().await?;
    let state = service.state().await?;
    let is_ours = runs
        .as_ref()
        .is_some_and(|status| state.pid == Some(status.pid));
    let beginning = async {
        match &runs {
            Some(status) if is_ours && !changed && !is_outdated(status) => return Ok(()),
            Some(status) if !is_ours => take_over(context, status).await?,
            _ => {}
        }
        service.restart().await
    };
    begun(context, beginning).await?;
    tell(context, service).await?;
    offer_to_linger(context, service, yes).await?;
    offer_to_extend_lstk(context, yes).await
}

/// Waits until the daemon answers that the supervisor starts. If it can't start, the error says what its log says.
async fn begun(
    context: &Context,
    beginning: impl Future<Output = Result<(), ApiError>>,
) -> Result<(), ApiError> {
    let log = rolling::path(&context.home()?);
    let end = Tail::at_end(&log).ok();
    let answers = async {
        beginning.await?;
        context.await_daemon().await
    };
    let Err(error) = answers.await else {
        return Ok(());
    };
    let since = end.and_then(|mut end| end.more(&log).ok());
    Err(unstarted::newest(&since.unwrap_or_default()).unwrap_or(error))
}

/// Removes the key that was made for a service that could not be installed.
fn take_back(context: &Context, new: Option<NewHome>) {
    match new.map(NewHome::take_back) {
        None => {}
        Some(Ok(())) => context.printer.note("podsync removed the new key again."),
        Some(Err(left)) => context.printer.warn(format_args!(
            "podsync could not remove the new key: {}",
            left.message
        )),
    }
}

/// Ends a daemon that a command or a person started.
async fn take_over(context: &Context, status: &node::Status) -> Result<(), ApiError> {
    let Some(client) = context.running().await? else {
        return Ok(());
    };
    context.printer.note(format_args!(
        "The service takes over from the daemon with pid {}.",
        status.pid
    ));
    client.call(&node::Stop {}).await?;
    podsync_daemon::wait_until_free(&context.home()?).await
}

/// systemd ends a user's services at the last logout, which a server that nobody is logged in to doesn't survive.
async fn offer_to_linger(context: &Context, service: &Service, yes: bool) -> Result<(), ApiError> {
    if service.state().await?.lingers != Some(false) {
        return Ok(());
    }
    let statement =
        "The service ends when you log out of this machine, and starts at your next login.";
    let printer = &context.printer;
    let wanted =
        yes || confirm(printer, statement, "Keep it running after the logout?").await == Some(true);
    if wanted {
        service.linger().await?;
        printer.note("The service goes on after a logout, and starts with the machine.");
    } else {
        printer.note(format_args!(
            "{statement} `loginctl enable-linger` keeps it running."
        ));
    }
    Ok(())
}

/// lstk runs a program of this name as `lstk podsync`.
async fn offer_to_extend_lstk(context: &Context, yes: bool) -> Result<(), ApiError> {
    let program = service::this_program()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(link) = lstk::missing_link(&program, &path) else {
        return Ok(());
    };
    let printer = &context.printer;
    let statement = format!(
        "lstk is installed. A link {} to podsync makes podsync a command of it.",
        link.display()
    );
    let wanted = yes || confirm(printer, &statement, "Make the link?").await == Some(true);
    let by_hand = format!("`ln -s {} {}`", shell_word(&program), shell_word(&link));
    if !wanted {
        printer.note(format_args!("{statement} {by_hand} makes it."));
        return Ok(());
    }
    match std::os::unix::fs::symlink(&program, &link) {
        Ok(()) => printer.note("`lstk podsync` runs podsync from now on."),
        // The service is installed all the same.
        Err(error) => printer.warn(format_args!(
            "podsync cannot make {}: {error}. {by_hand} makes it",
            link.display()
        )),
    }
    Ok(())
}

async fn uninstall(context: &Context, service: &Service) -> Result<(), ApiError> {
    installed(service)?;
    service.uninstall().await?;
    podsync_daemon::wait_until_free(&context.home()?).await?;
    let state = service.state().await?;
    context.printer.result(&state, |state| {
        format!("Removed the service {}. The home stays.", state.name)
    })
}

fn installed(service: &Service) -> Result<(), ApiError> {
    if service.is_installed() {
        return Ok(());
    }
    let text = format!(
        "no service is installed for this home: {} isn't there",
        service.file().display()
    );
    Err(ApiError::new(ErrorCode::NotFound, text).hint("`podsync service install` installs it"))
}

async fn tell(context: &Context, service: &Service) -> Result<(), ApiError> {
    let state = service.state().await?;
    context.printer.result(&state, words)
}

fn words(state: &State) -> String {
    if !state.installed {
        return format!(
            "service   {} is not installed\nnext      `podsync service install`",
            state.name
        );
    }
    let runs = match (state.running, state.pid, &state.failure) {
        (true, Some(pid), _) => format!("running, pid {pid}"),
        (true, None, _) => "running".to_owned(),
        (false, _, Some(failure)) => format!("not running: {failure}"),
        (false, _, None) => "not running".to_owned(),
    };
    let starts = if state.enabled {
        "at login"
    } else {
        "only by hand"
    };
    let mut lines = vec![
        format!("service   {}, {runs}", state.name),
        format!("starts    {starts}"),
    ];
    if let Some(lingers) = state.lingers {
        let ends = if lingers { "goes on" } else { "ends" };
        lines.push(format!("logout    {ends} after your last logout"));
    }
    if let Some(program) = &state.program {
        lines.push(format!("program   {}", program.display()));
    }
    lines.push(format!("file      {}", state.file.display()));
    lines.join("\n")
}
