//! `podsync plugin`: puts the companion plugin, which the program carries, where the emulator runs.

pub(super) mod compose;
mod container;
mod python;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use podsync_api::{ApiError, ErrorCode};
use podsync_daemon::{Answering, companion, shell_word};
use serde::Serialize;

use self::{container::Container, python::Python};
use crate::{
    arguments::{Endpoint, absolute, auth_token},
    context::Context,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Install the plugin. Without a place, podsync finds the emulator that answers at the endpoint
    Install(Install),
    /// Show which plugin the emulator runs, and which one podsync carries
    Status(Place),
    /// Remove the plugin from the emulator
    Remove(Remove),
}

impl Plugin {
    /// Whether it is about to change an emulator.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, Self::Status(_))
    }
}

/// Where the emulator is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    endpoint: Endpoint,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Named {
    /// Python of the virtual environment in which LocalStack is installed
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Name of the container in which LocalStack runs
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Compose file with the LocalStack service. podsync keeps its comments
    #[arg(long, value_name = "FILE")]
    compose: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    place: Place,
    /// With --container: restart the container without asking. LocalStack loses the state in its memory
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    place: Place,
    /// With --container: restart the container without asking. LocalStack loses the state in its memory
    #[arg(long, short)]
    yes: bool,
}

/// What the emulator runs in.
enum Home {
    Python(Python),
    Container(Container),
    Compose(PathBuf),
    /// The emulator answers, but podsync can't find out where it runs.
    Unknown,
}

/// The result of an installation or a removal.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub(super) enum Outcome {
    /// A licensed LocalStack saves and loads by itself.
    NotNeeded {
        emulator: String,
    },
    /// The emulator runs this plugin already.
    Already {
        version: String,
    },
    Installed {
        version: String,
        place: String,
        next: String,
    },
    /// What to add where the emulator is started.
    Mount {
        version: String,
        folder: PathBuf,
        lines: Vec<String>,
    },
    Removed {
        place: String,
        next: String,
    },
}

pub(crate) async fn run(context: &Context, command: Plugin) -> Result<(), ApiError> {
    match command {
        Plugin::Install(install) => {
            let outcome = self::install(context, install).await?;
            context.printer.result(&outcome, words)
        }
        Plugin::Status(place) => status(context, place).await,
        Plugin::Remove(remove) => {
            let outcome = self::remove(context, remove).await?;
            context.printer.result(&outcome, words)
        }
    }
}

async fn install(context: &Context, install: Install) -> Result<Outcome, ApiError> {
    let place = &install.place;
    if !place.is_named() {
        match podsync_daemon::what_answers(&place.endpoint.url, auth_token().as_ref()).await? {
            Answering::Licensed { emulator } => return Ok(Outcome::NotNeeded { emulator }),
            Answering::Plugin { version } if version == companion::version() => {
                return Ok(Outcome::Already { version });
            }
            Answering::Plugin { .. } | Answering::Bare { .. } => {}
        }
    }
    let version = companion::version().to_owned();
    match place.home().await? {
        Home::Python(python) => {
            python.install().await?;
            Ok(Outcome::Installed {
                version,
                place: python.to_string(),
                next: "restart LocalStack; the plugin starts with it".to_owned(),
            })
        }
        Home::Container(container) => {
            let restart = container
                .agree_to_restart(&context.printer, install.yes)
                .await?;
            container.install().await?;
            Ok(Outcome::Installed {
                version,
                place: container.to_string(),
                next: container.restarted(restart).await?,
            })
        }
        Home::Compose(file) => {
            let service = compose::install(&file)?;
            Ok(Outcome::Installed {
                version,
                place: format!("the service {service} in {}", file.display()),
                next: format!("run `docker compose -f {} up -d`", shell_word(&file)),
            })
        }
        Home::Unknown => {
            let folder = container::folder_on_this_machine()?;
            Ok(Outcome::Mount {
                version,
                lines: container::lines_to_mount(&folder),
                folder,
            })
        }
    }
}

async fn remove(context: &Context, remove: Remove) -> Result<Outcome, ApiError> {
    match remove.place.home().await? {
        Home::Python(python) => {
            python.remove().await?;
            Ok(Outcome::Removed {
                place: python.to_string(),
                next: "restart LocalStack".to_owned(),
            })
        }
        Home::Container(container) => {
            let restart = container
                .agree_to_restart(&context.printer, remove.yes)
                .await?;
            container.remove().await?;
            Ok(Outcome::Removed {
                place: container.to_string(),
                next: container.restarted(restart).await?,
            })
        }
        Home::Compose(file) => {
            let service = compose::remove(&file)?;
            Ok(Outcome::Removed {
                place: format!("the service {service} in {}", file.display()),
                next: format!("run `docker compose -f {} up -d`", shell_word(&file)),
            })
        }
        Home::Unknown => Err(ApiError::new(
            ErrorCode::NotFound,
            "podsync does not see where the emulator runs",
        )
        .hint("name it with --python, --container or --compose")),
    }
}

/// What `podsync plugin status` found.
#[derive(Debug, Serialize)]
struct Status {
    carried: String,
    /// What answers at the endpoint; `None` if podsync asked nothing.
    running: Option<Answering>,
    /// The version installed in the named place; `None` if there is none, or the user named no place.
    installed: Option<String>,
    place: Option<String>,
}

async fn status(context: &Context, place: Place) -> Result<(), ApiError> {
    let (mut running, mut installed, mut named) = (None, None, None);
    match place.named().await? {
        None => {
            let token = auth_token();
            running =
                Some(podsync_daemon::what_answers(&place.endpoint.url, token.as_ref()).await?);
        }
        Some(Home::Python(python)) => {
            installed = python.installed().map(str::to_owned);
            named = Some(python.to_string());
        }
        Some(Home::Container(container)) => {
            installed = container.installed().map(str::to_owned);
            named = Some(container.to_string());
        }
        Some(Home::Compose(file)) => {
            installed = compose::installed(&file)?;
            named = Some(file.display().to_string());
        }
        Some(Home::Unknown) => {}
    }
    let status = Status {
        carried: companion::version().to_owned(),
        running,
        installed,
        place: named,
    };
    context.printer.result(&status, |status| {
        let mut lines = vec![format!("podsync carries plugin {}.", status.carried)];
        match &status.running {
            Some(Answering::Licensed { emulator }) => lines.push(format!(
                "{emulator} has a licence: it saves and loads by itself and needs no plugin."
            )),
            Some(Answering::Plugin { version }) if *version == status.carried => {
                lines.push(format!("The emulator runs plugin {version}."));
            }
            Some(Answering::Plugin { version }) => lines.push(format!(
                "The emulator runs plugin {version}. `podsync plugin install` installs {}; if it did so already, restart LocalStack and look for an older copy in its PYTHONPATH.",
                status.carried
            )),
            Some(Answering::Bare { emulator }) => lines.push(format!(
                "{emulator} runs no plugin. `podsync plugin install` installs it."
            )),
            None => {}
        }
        if let Some(place) = &status.place {
            lines.push(match &status.installed {
                Some(version) => format!("{place} has plugin {version}."),
                None => format!("{place} has no plugin."),
            });
        }
        lines.join("\n")
    })
}

impl Place {
    fn is_named(&self) -> bool {
        let Named {
            python,
            container,
            compose,
        } = &self.named;
        python.is_some() || container.is_some() || compose.is_some()
    }

    async fn named(&self) -> Result<Option<Home>, ApiError> {
        let named = &self.named;
        if let Some(path) = &named.python {
            return Ok(Some(Home::Python(Python::at(path).await?)));
        }
        if let Some(name) = &named.container {
            return Ok(Some(Home::Container(Container::named(name).await?)));
        }
        let compose = named.compose.clone().map(absolute).transpose()?;
        Ok(compose.map(Home::Compose))
    }

    /// Where the emulator is: the named place, or what holds the endpoint's port on this machine.
    async fn home(&self) -> Result<Home, ApiError> {
        if let Some(home) = self.named().await? {
            return Ok(home);
        }
        let Some(port) = podsync_daemon::local_port(&self.endpoint.url) else {
            return Ok(Home::Unknown);
        };
        if let Some(name) = container::that_publishes(port).await {
            return Ok(Home::Container(Container::named(&name).await?));
        }
        match python::that_listens(port) {
            Some(path) => Ok(Home::Python(Python::at(&path).await?)),
            None => Ok(Home::Unknown),
        }
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::NotNeeded { emulator } => {
            format!("{emulator} has a licence: it saves and loads by itself and needs no plugin.")
        }
        Outcome::Already { version } => {
            format!("The emulator already runs plugin {version}.")
        }
        Outcome::Installed {
            version,
            place,
            next,
        } => format!("Installed plugin {version} in {place}.\nNext: {next}."),
        Outcome::Mount {
            version,
            folder,
            lines,
        } => format!(
            "podsync does not see where the emulator runs. It wrote plugin {version} to {}.\n{}",
            folder.display(),
            lines.join("\n")
        ),
        Outcome::Removed { place, next } => {
            format!("Removed the plugin from {place}.\nNext: {next}.")
        }
    }
}
