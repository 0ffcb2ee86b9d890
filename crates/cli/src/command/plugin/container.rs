//! A container in which LocalStack runs, by the command line of docker or podman.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::Output,
};

use etcetera::{BaseStrategy, choose_base_strategy};
use podsync_api::{ApiError, ErrorCode};
use podsync_daemon::companion;
use tokio::process::Command;

use super::python::{LOOK, Look, REMOVE, last_words, unwritable};
use crate::{
    files::temporary_folder,
    output::{Printer, ask::confirm},
};

/// The programs that speak docker's command line, as they are looked for.
const ENGINES: [&str; 2] = ["docker", "podman"];

/// Prints the path of a Python: that of LocalStack's image, else the first on the path.
const FIND_PYTHON: &str = "for python in /opt/code/localstack/.venv/bin/python python3 python; do \
                           command -v $python && exit 0; done; exit 1";

/// Where mounted plugins lie in a container.
pub(super) const MOUNTED: &str = "/opt/podsync";

pub(super) struct Container {
    engine: &'static str,
    name: String,
    python: String,
    look: Look,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the container {}", self.name)
    }
}

/// The container that publishes this port; `None` if no container does, or no engine answers.
pub(super) async fn that_publishes(port: u16) -> Option<String> {
    let filter = format!("publish={port}");
    for engine in ENGINES {
        let listed = call(
            engine,
            &["ps", "--filter", &filter, "--format", "{{.Names}}"],
        )
        .await;
        if let Ok(output) = listed
            && output.status.success()
            && let Some(name) = String::from_utf8_lossy(&output.stdout).lines().next()
        {
            return Some(name.to_owned());
        }
    }
    None
}

impl Container {
    pub(super) async fn named(name: &str) -> Result<Self, ApiError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!("{name:?} is not the name of a container"),
            )
            .hint("`docker ps` lists the names"));
        }
        let engine = engine_that_runs(name).await?;
        let place = format!("the container {name}");
        let found = call(engine, &["exec", name, "sh", "-c", FIND_PYTHON]).await;
        let python = found.ok().filter(|output| output.status.success());
        let Some(python) = python.and_then(|output| String::from_utf8(output.stdout).ok()) else {
            return Err(
                ApiError::new(ErrorCode::Instance, format!("{place} has no Python in it"))
                    .hint("name the container in which LocalStack runs; `docker ps` lists them"),
            );
        };
        let python = python.trim().to_owned();
        let answered = call(engine, &["exec", name, &python, "-c", LOOK])
            .await
            .map_err(|error| silent(engine, &error))?;
        Ok(Self {
            look: Look::read(&answered, &place)?,
            engine,
            name: name.to_owned(),
            python,
        })
    }

    pub(super) fn installed(&self) -> Option<&str> {
        self.look.plugin.as_deref()
    }

    /// Whether to restart it. This needs the user's yes, because LocalStack keeps its state in memory.
    pub(super) async fn agree_to_restart(
        &self,
        printer: &Printer,
        yes: bool,
    ) -> Result<bool, ApiError> {
        self.look.is_unshadowed(self)?;
        if yes {
            return Ok(true);
        }
        let statement = format!(
            "{self} has to restart for this. LocalStack then loses the state in its memory."
        );
        match confirm(printer, &statement, "Restart it now?").await {
            Some(answer) => Ok(answer),
            None => {
                Err(ApiError::new(ErrorCode::Unconfirmed, statement)
                    .hint("add --yes to restart it"))
            }
        }
    }

    pub(super) async fn install(&self) -> Result<(), ApiError> {
        self.remove().await?;
        let aside = temporary_folder("podsync-plugin-")
            .map_err(|error| unwritable(&std::env::temp_dir(), &error))?;
        let folder = companion::write_folder(aside.path())
            .map_err(|error| unwritable(aside.path(), &error))?;
        let from = format!("{}/.", folder.display());
        let to = format!("{}:{}", self.name, self.look.packages.display());
        self.done(call(self.engine, &["cp", &from, &to]).await)
    }

    pub(super) async fn remove(&self) -> Result<(), ApiError> {
        if self.look.plugin.is_none() {
            return Ok(());
        }
        let arguments = [
            "exec",
            "--user",
            "0",
            &self.name,
            &self.python,
            "-c",
            REMOVE,
        ];
        self.done(call(self.engine, &arguments).await)
    }

    /// Restarts it if the user agreed. Returns what the user still has to do.
    pub(super) async fn restarted(&self, agreed: bool) -> Result<String, ApiError> {
        if !agreed {
            return Ok(format!(
                "restart it: `{} restart {}`",
                self.engine, self.name
            ));
        }
        self.done(call(self.engine, &["restart", &self.name]).await)?;
        Ok(format!(
            "wait until {self} has started. A container that is made anew needs the plugin again; --compose keeps it"
        ))
    }

    fn done(&self, output: io::Result<Output>) -> Result<(), ApiError> {
        let why = match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => last_words(&output),
            Err(error) => error.to_string(),
        };
        Err(ApiError::new(
            ErrorCode::Instance,
            format!("{} could not change {self}: {why}", self.engine),
        )
        .hint("if the container's file system is read-only, mount the plugin: `podsync plugin install --compose FILE`"))
    }
}

/// The engine that has this container running.
async fn engine_that_runs(name: &str) -> Result<&'static str, ApiError> {
    let mut problem = None;
    for engine in ENGINES {
        let Ok(output) = call(engine, &["inspect", "--format", "{{.State.Running}}", name]).await
        else {
            continue;
        };
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match (output.status.success(), said.as_str()) {
            (true, "true") => return Ok(engine),
            (true, _) => {
                problem = Some(
                    ApiError::new(
                        ErrorCode::Instance,
                        format!("the container {name} is stopped"),
                    )
                    .hint(format!("start it first: `{engine} start {name}`")),
                );
            }
            (false, _) if problem.is_none() && !answers(engine).await => {
                problem = Some(
                    ApiError::new(
                        ErrorCode::Instance,
                        format!(
                            "{engine} is installed, but its engine does not answer: {}",
                            last_words(&output)
                        ),
                    )
                    .hint(format!("start the engine; `{engine} ps` has to work")),
                );
            }
            (false, _) if problem.is_none() => {
                problem = Some(
                    ApiError::new(
                        ErrorCode::NotFound,
                        format!(
                            "{engine} finds no container {name}: {}",
                            last_words(&output)
                        ),
                    )
                    .hint(format!("`{engine} ps` lists the containers that run")),
                );
            }
            (false, _) => {}
        }
    }
    Err(problem.unwrap_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            "neither docker nor podman is installed here",
        )
        .hint("install one of them, or give the Python that runs LocalStack with --python")
    }))
}

/// Whether the engine behind the command line runs.
async fn answers(engine: &str) -> bool {
    let listed = call(engine, &["ps", "--quiet"]).await;
    listed.is_ok_and(|output| output.status.success())
}

fn silent(engine: &str, error: &io::Error) -> ApiError {
    ApiError::new(
        ErrorCode::Instance,
        format!("{engine} does not run: {error}"),
    )
    .hint(format!("check that `{engine} ps` works"))
}

async fn call(engine: &str, arguments: &[&str]) -> io::Result<Output> {
    Command::new(engine)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
}

/// The plugin as a folder among this user's data, for a container to mount.
pub(super) fn folder_on_this_machine() -> Result<PathBuf, ApiError> {
    let data = choose_base_strategy().map_err(|error| {
        ApiError::new(
            ErrorCode::Invalid,
            format!("podsync finds no folder for this user's data: {error}"),
        )
        .hint("set HOME")
    })?;
    let parent = data.data_dir().join("podsync-plugin");
    companion::write_folder(&parent).map_err(|error| unwritable(&parent, &error))
}

/// The path of a mounted folder inside a container. It changes with the plugin's content: LocalStack
/// remembers what entry points a path had.
pub(super) fn mounted(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("{MOUNTED}/{name}")
}

/// What to add where a container is started.
pub(super) fn lines_to_mount(folder: &Path) -> Vec<String> {
    let (outside, inside) = (folder.display(), mounted(folder));
    vec![
        "To `docker run`, add:".to_owned(),
        format!("  -v {outside}:{inside}:ro -e PYTHONPATH={inside}"),
        "To the service in a compose file, add:".to_owned(),
        "  environment:".to_owned(),
        format!("    PYTHONPATH: {inside}"),
        "  volumes:".to_owned(),
        format!("    - {outside}:{inside}:ro"),
        "`podsync plugin install --compose FILE` writes that for you.".to_owned(),
    ]
}
