//! Programs that the tasks call, and installing the one that cargo can.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use duct::{Expression, cmd};

/// The version that tests are run with where none is installed.
const NEXTEST_VERSION: &str = "0.9.143";

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The target folder in force.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The triple that this toolchain compiles for.
pub fn host() -> Result<String> {
    let version = cmd!("rustc", "-vV").dir(root()).read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

/// A command in the workspace's root, with its arguments shown.
pub fn run(program: &str, arguments: &[&str]) -> Result<()> {
    step(&format!("{program} {}", arguments.join(" ")));
    command(program, arguments)
        .run()
        .map(drop)
        .with_context(|| format!("`{program} {}` failed", arguments.join(" ")))
}

pub fn command(program: &str, arguments: &[&str]) -> Expression {
    command_in(&root(), program, arguments)
}

/// The same in another folder. To `duct`, a folder that is set later counts less.
pub fn command_in(folder: &Path, program: &str, arguments: &[&str]) -> Expression {
    // What cargo tells this program of itself: ring's build script looks at some of it, so that a build begun
    // here and one begun by hand would undo each other.
    let of_this_program =
        |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let told = std::env::vars()
        .map(|(name, _)| name)
        .filter(of_this_program);
    told.fold(cmd(program, arguments).dir(folder), |command, name| {
        command.env_remove(name)
    })
}

pub fn step(what: &str) {
    eprintln!("\n== {what}");
}

/// Whether `program --version` runs.
pub fn has(program: &str, arguments: &[&str]) -> bool {
    cmd(program, arguments)
        .stdout_null()
        .stderr_null()
        .unchecked()
        .run()
        .is_ok_and(|out| out.status.success())
}

pub fn ensure_nextest() -> Result<()> {
    if has("cargo", &["nextest", "--version"]) {
        return Ok(());
    }
    run(
        "cargo",
        &[
            "install",
            "cargo-nextest",
            "--locked",
            "--version",
            NEXTEST_VERSION,
        ],
    )
}
