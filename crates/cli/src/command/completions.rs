//! `podsync completions SHELL`.

use clap::Args;
use clap_complete::Shell;
use podsync_api::ApiError;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

/// Writes the script for `program`.
pub(crate) fn run(completions: &Completions, mut program: clap::Command) -> Result<(), ApiError> {
    clap_complete::generate(
        completions.shell,
        &mut program,
        "podsync",
        &mut std::io::stdout(),
    );
    Ok(())
}
