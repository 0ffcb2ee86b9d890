//! `podsync completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use podsync_api::ApiError;

use crate::arguments::Arguments;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

pub(crate) fn run(completions: &Completions) -> Result<(), ApiError> {
    let mut command = Arguments::command();
    clap_complete::generate(
        completions.shell,
        &mut command,
        "podsync",
        &mut std::io::stdout(),
    );
    Ok(())
}
