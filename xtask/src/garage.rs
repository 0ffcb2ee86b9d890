//! Garage, the S3 server by others that the hub's suite runs on too: built once, kept in the target folder.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::tools::{command, root, step};

const VERSION: &str = "2.5.0";

/// What the tests of buckets read to find it.
pub const VARIABLE: &str = "PODSYNC_TEST_GARAGE";

#[derive(Args)]
pub struct Garage {
    /// How many crates are compiled at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: u32,
}

impl Garage {
    /// Builds it, unless it is there: some ten minutes on two cores.
    pub fn run(self) -> Result<()> {
        let program = match program() {
            Some(program) => program,
            None => {
                step(&format!("Garage {VERSION} into {}", folder().display()));
                let jobs = self.jobs.to_string();
                command(
                    "cargo",
                    &[
                        "install",
                        "garage",
                        "--locked",
                        "--version",
                        VERSION,
                        "--jobs",
                        &jobs,
                    ],
                )
                .env("CARGO_INSTALL_ROOT", folder())
                .run()
                .context("Garage could not be built")?;
                program().context("Garage isn't where it was built to")?
            }
        };
        println!("{VARIABLE}={}", program.display());
        Ok(())
    }
}

/// Of the source's own folder, whatever target folder is in force: it is built once.
fn folder() -> PathBuf {
    root().join(format!("target/tools/garage-{VERSION}"))
}

/// The program, if it was built here.
pub fn program() -> Option<PathBuf> {
    let program = folder().join(format!("bin/garage{}", std::env::consts::EXE_SUFFIX));
    program.is_file().then_some(program)
}
