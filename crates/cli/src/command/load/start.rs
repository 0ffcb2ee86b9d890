//! `podsync load --start`: if no emulator answers, starts the one that the project's compose file or lstk knows.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use podsync_api::{ApiError, ErrorCode};
use podsync_daemon::shell_word;
use tokio::process::Command;

use crate::{arguments::auth_token, command::plugin::compose, output::Printer};

/// The names that compose looks for, in its order.
const COMPOSE_FILES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];
/// How long the emulator may take until it answers, once it was started.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);
/// A robot's token, and what lstk told podsync alone. The emulator's own token stays: it may not start without.
const SECRETS: [&str; 2] = ["PODSYNC_TOKEN", "LSTK_EXT_CONTEXT"];

/// What starts an emulator.
#[derive(Debug, PartialEq, Eq)]
enum Starter {
    Compose {
        file: PathBuf,
        service: String,
    },
    Lstk {
        /// Why the nearest compose file starts none.
        unfit: Option<String>,
    },
}

/// Starts an emulator if nothing answers at `url`, and waits until it answers.
pub(super) async fn ensure_runs(printer: &Printer, url: &str) -> Result<(), ApiError> {
    if podsync_daemon::instance_answers(url).await? {
        return Ok(());
    }
    if podsync_daemon::local_port(url).is_none() {
        let text =
            format!("nothing answers at {url}, and --start starts emulators on this machine");
        return Err(ApiError::new(ErrorCode::Instance, text)
            .hint("start the emulator there, or name one on this machine with --endpoint"));
    }
    let folder = std::env::current_dir().unwrap_or_default();
    let starter = Starter::find(&folder);
    let begun = || {
        printer.note(format_args!(
            "Nothing answers at {url}. Starting {starter}."
        ))
    };
    starter.start(&folder, begun).await?;
    let tries = PATIENCE.as_millis() / POLL.as_millis();
    let policy = ConstantBuilder::default()
        .with_delay(POLL)
        .with_max_times(usize::try_from(tries).unwrap_or(usize::MAX));
    let token = auth_token();
    let answered = || podsync_daemon::what_answers(url, token.as_ref());
    answered.retry(policy).await.map(drop).map_err(|error| {
        let text = format!("podsync started {starter}, but {}", error.message);
        ApiError::new(error.code, text)
            .hint("look at its log; if it listens elsewhere, give its URL with --endpoint")
    })
}

impl Starter {
    /// The compose file of `folder` or of a folder above it, if it has a service of LocalStack; else lstk.
    fn find(folder: &Path) -> Self {
        let mut files = folder
            .ancestors()
            .flat_map(|folder| COMPOSE_FILES.map(|name| folder.join(name)));
        let Some(file) = files.find(|file| file.is_file()) else {
            return Self::Lstk { unfit: None };
        };
        match compose::service_in(&file) {
            Ok(service) => Self::Compose { file, service },
            Err(error) => Self::Lstk {
                unfit: Some(error.message),
            },
        }
    }

    /// Calls `begun` once a program runs that starts the emulator.
    async fn start(&self, folder: &Path, begun: impl Fn()) -> Result<(), ApiError> {
        for (program, arguments) in self.commands() {
            let mut command = Command::new(program);
            for secret in SECRETS {
                command.env_remove(secret);
            }
            let child = command
                .args(&arguments)
                .stdin(Stdio::null())
                // stdout is for the result of the load.
                .stdout(io::stderr())
                .kill_on_drop(true)
                .spawn();
            let status = match child {
                Ok(mut child) => {
                    begun();
                    child.wait().await
                }
                Err(error) => Err(error),
            };
            let why = match status {
                Ok(status) if status.success() => return Ok(()),
                Ok(status) => format!("ended with {status}"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => format!("does not run: {error}"),
            };
            let words: Vec<_> = arguments
                .iter()
                .map(|word| shell_word(Path::new(word)))
                .collect();
            let text = format!("`{program} {}` {why}", words.join(" "));
            return Err(ApiError::new(ErrorCode::Instance, text)
                .hint("its own words are above; start the emulator, and load again"));
        }
        Err(self.absent(folder))
    }

    /// The commands that would do it; the first whose program is installed does.
    fn commands(&self) -> Vec<(&'static str, Vec<OsString>)> {
        match self {
            Self::Compose { file, service } => {
                let arguments: Vec<OsString> = vec![
                    "compose".into(),
                    "--file".into(),
                    file.into(),
                    "up".into(),
                    "--detach".into(),
                    service.into(),
                ];
                vec![("docker", arguments.clone()), ("podman", arguments)]
            }
            Self::Lstk { .. } => vec![("lstk", vec!["start".into(), "--non-interactive".into()])],
        }
    }

    fn absent(&self, folder: &Path) -> ApiError {
        let text = match self {
            Self::Compose { file, .. } => format!(
                "{} has a service of LocalStack, but neither docker nor podman is installed here",
                file.display()
            ),
            Self::Lstk { unfit: Some(unfit) } => {
                format!("podsync knows no emulator to start: {unfit}, and lstk is not installed")
            }
            Self::Lstk { unfit: None } => format!(
                "podsync knows no emulator to start: no compose file is in {} or above it, and lstk is not installed",
                folder.display()
            ),
        };
        ApiError::new(ErrorCode::Instance, text).hint("start the emulator, and load again")
    }
}

impl std::fmt::Display for Starter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compose { file, service } => {
                write!(f, "the service {service} of {}", file.display())
            }
            Self::Lstk { unfit: Some(unfit) } => write!(f, "the emulator of lstk ({unfit})"),
            Self::Lstk { unfit: None } => f.write_str("the emulator of lstk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LOCALSTACK: &str = "services:\n  aws:\n    image: localstack/localstack:4.14.0\n";

    #[test]
    fn the_nearest_compose_file_with_localstack_is_taken() {
        let project = tempfile::tempdir().unwrap();
        let below = project.path().join("src");
        fs::create_dir(&below).unwrap();
        let found = || Starter::find(&below);
        assert_eq!(found(), Starter::Lstk { unfit: None });
        let file = project.path().join("docker-compose.yml");
        fs::write(&file, LOCALSTACK).unwrap();
        let compose = |file: &Path| Starter::Compose {
            file: file.to_owned(),
            service: "aws".to_owned(),
        };
        assert_eq!(found(), compose(&file));
        let nearer = below.join("compose.yaml");
        for unfit in [
            "services:\n  web:\n    image: nginx\n",
            "services:\n  aws: [\n",
        ] {
            fs::write(&nearer, unfit).unwrap();
            let Starter::Lstk { unfit: Some(why) } = found() else {
                panic!("{unfit}");
            };
            assert!(why.contains("compose.yaml"), "{why}");
        }
        fs::write(&nearer, LOCALSTACK).unwrap();
        assert_eq!(found(), compose(&nearer));
    }
}
