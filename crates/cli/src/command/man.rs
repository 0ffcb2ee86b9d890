//! `podsync man FOLDER`: the manual, a page for each subcommand.

use std::path::PathBuf;

use clap::Args;
use podsync_api::{ApiError, ErrorCode};

use crate::{arguments::absolute, context::Context};

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder for the pages, such as ~/.local/share/man/man1. podsync makes it if it isn't there
    folder: PathBuf,
}

/// Writes the pages of `program`.
pub(crate) fn run(context: &Context, man: Man, program: clap::Command) -> Result<(), ApiError> {
    let folder = absolute(man.folder)?;
    let failed = |error: std::io::Error| {
        let text = format!("podsync cannot write to {}: {error}", folder.display());
        ApiError::new(ErrorCode::Disk, text).hint("choose a folder that you may write to")
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    clap_mangen::generate_to(program, &folder).map_err(failed)?;
    let done = serde_json::json!({ "folder": &folder });
    context.printer.result(&done, |_| {
        format!(
            "Wrote the manual to {}. Begin with `man podsync`.",
            folder.display()
        )
    })
}
