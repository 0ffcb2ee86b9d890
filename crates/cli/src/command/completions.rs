//! `podsync completions SHELL`.

use clap::Args;
use clap_complete::Shell;
use podsync_api::ApiError;

use crate::context::Context;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Name of the shell
    shell: Shell,
}

/// Writes the script for `program`.
pub(crate) fn run(
    context: &Context,
    completions: &Completions,
    mut program: clap::Command,
) -> Result<(), ApiError> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut program, "podsync", &mut script);
    context.printer.page(&String::from_utf8_lossy(&script))
}
