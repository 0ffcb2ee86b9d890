//! The demo's hub: a bucket in the demo's folder and a child process.
//!
//! It is a program of its own. Installed, it lies beside this one or nowhere; under `cargo run`, which
//! builds only the program that it runs, cargo is asked for it.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use podsync_api::{ApiError, ErrorCode};

use super::local;
use crate::output::Printer;

const NAME: &str = "podsync-hub";

/// Where the hub's program lies.
pub(super) struct Program(PathBuf);

/// It isn't there.
pub(super) struct Absent(PathBuf);

impl Program {
    pub(super) async fn find(printer: &Printer) -> Result<Result<Self, Absent>, ApiError> {
        let this = std::env::current_exe().map_err(local)?;
        let path = this.with_file_name(format!("{NAME}{}", std::env::consts::EXE_SUFFIX));
        if let Some(cargo) = Cargo::that_runs(&this) {
            printer.note(format_args!("cargo builds {NAME} for the last part"));
            cargo.build().await?;
        }
        Ok(if path.is_file() {
            Ok(Self(path))
        } else {
            Err(Absent(path))
        })
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.0.parent().unwrap_or(Path::new(".")).display();
        write!(
            f,
            "{NAME} is not in {folder}; `cargo install --path crates/hub` installs it"
        )
    }
}

/// The cargo whose `cargo run` this is.
struct Cargo {
    program: PathBuf,
    /// This package's folder in the source.
    source: PathBuf,
    profile: String,
}

impl Cargo {
    fn that_runs(this: &Path) -> Option<Self> {
        let variable = std::env::var_os;
        // Tests run under cargo as well, of other packages.
        if variable("CARGO_PKG_NAME")? != env!("CARGO_PKG_NAME") {
            return None;
        }
        let folder = this.parent()?.file_name()?.to_str()?;
        let profile = if folder == "debug" { "dev" } else { folder };
        Some(Self {
            program: variable("CARGO")?.into(),
            source: variable("CARGO_MANIFEST_DIR")?.into(),
            profile: profile.to_owned(),
        })
    }

    async fn build(&self) -> Result<(), ApiError> {
        let status = tokio::process::Command::new(&self.program)
            .args(["build", "--quiet", "--profile", &self.profile])
            // With this package, so that what both are made of is compiled once.
            .args(["--package", env!("CARGO_PKG_NAME"), "--package", NAME])
            .args(["--bin", NAME])
            .current_dir(&self.source)
            .kill_on_drop(true)
            .status()
            .await
            .map_err(|error| failed(format!("cannot run {}: {error}", self.program.display())))?;
        if status.success() {
            return Ok(());
        }
        Err(failed(format!("cargo could not build {NAME}: {status}"))
            .hint("its words are above; `cargo build --release` builds all that the demo runs"))
    }
}

/// A hub that runs; it never outlives its handle.
pub(super) struct DemoHub {
    child: Child,
    url: String,
}

impl DemoHub {
    pub(super) async fn start(program: &Program, folder: &Path) -> Result<Self, ApiError> {
        let log_path = folder.join("hub.log");
        let log = std::fs::File::create(&log_path).map_err(local)?;
        let mut child = Command::new(&program.0)
            .arg("dev")
            .arg("--data")
            .arg(folder.join("hub"))
            .args(["--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| failed(format!("cannot run {}: {error}", program.0.display())))?;
        let out = child.stdout.take();
        let mut hub = Self {
            child,
            url: String::new(),
        };
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            out.map(|out| BufReader::new(out).read_line(&mut line));
            line
        });
        let first = first.await.unwrap_or_default();
        // `podsync-hub listens at http://127.0.0.1:40000`
        let Some(at) = first.find("http://") else {
            let log = std::fs::read_to_string(log_path).unwrap_or_default();
            return Err(failed(format!("{NAME} did not start: {}", log.trim_end())));
        };
        first[at..].trim_end().clone_into(&mut hub.url);
        Ok(hub)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The hub syncs all that it accepts, so there is nothing to wait for.
    pub(super) fn end(self) {
        drop(self);
    }
}

impl Drop for DemoHub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(text: String) -> ApiError {
    ApiError::new(ErrorCode::Internal, text)
}
