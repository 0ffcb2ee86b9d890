//! `podsync completions [SHELL] [--install]`: the script by which a shell asks this program what could come next.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::{Shell, env::Shells};
use etcetera::BaseStrategy;
use podsync_api::{ApiError, ErrorCode};

use crate::{complete::VARIABLE, context::Context, files::write_whole};

/// Versions have a colon in their names, at which bash would part a word.
const WHOLE_WORDS: &str = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}\n";

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Name of the shell [default: the one in SHELL]
    shell: Option<Shell>,
    /// Write the script to where the shell looks for it
    #[arg(long)]
    install: bool,
}

pub(crate) fn run(context: &Context, completions: &Completions) -> Result<(), ApiError> {
    let shell = completions.shell.or_else(Shell::from_env).ok_or_else(|| {
        ApiError::new(
            ErrorCode::Invalid,
            "podsync cannot tell which shell you use",
        )
        .hint("name it: `podsync completions bash`")
    })?;
    let script = script(shell)?;
    if !completions.install {
        return context.printer.page(&script);
    }
    let (file, next) = place(shell)?;
    write_whole(&file, script.as_bytes()).map_err(|error| {
        let text = format!("podsync cannot write {}: {error}", file.display());
        ApiError::new(ErrorCode::Disk, text).hint("check the folder and its disk")
    })?;
    let done = serde_json::json!({ "shell": shell.to_string(), "file": &file, "next": &next });
    context.printer.result(&done, |_| {
        format!(
            "Installed the completions for {shell} in {}.",
            file.display()
        )
    })?;
    context.printer.note(next);
    Ok(())
}

fn script(shell: Shell) -> Result<String, ApiError> {
    let internal = |what: String| ApiError::new(ErrorCode::Internal, what);
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells
        .completer(&name)
        .ok_or_else(|| internal(format!("no completions for {name}")))?;
    let mut script = Vec::new();
    if shell == Shell::Bash {
        script.extend_from_slice(WHOLE_WORDS.as_bytes());
    }
    completer
        .write_registration(VARIABLE, "podsync", "podsync", "podsync", &mut script)
        .map_err(|error| internal(error.to_string()))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Where a shell looks for completions of one user, and what is left to do.
fn place(shell: Shell) -> Result<(PathBuf, String), ApiError> {
    let folders = etcetera::choose_base_strategy().map_err(|error| {
        let text = format!("podsync finds no folder for your settings: {error}");
        ApiError::new(ErrorCode::Invalid, text).hint("set HOME")
    })?;
    let anew = "They work in every new shell.".to_owned();
    let read_by = |file: &Path, settings: &str, line: String| {
        (
            file.to_owned(),
            format!("Add this line to {settings}: {line}"),
        )
    };
    match shell {
        Shell::Bash => {
            let own = std::env::var_os("BASH_COMPLETION_USER_DIR").map(PathBuf::from);
            let folder = own.unwrap_or_else(|| folders.data_dir().join("bash-completion"));
            Ok((folder.join("completions/podsync"), anew))
        }
        Shell::Fish => Ok((
            folders.config_dir().join("fish/completions/podsync.fish"),
            anew,
        )),
        Shell::Zsh => {
            let file = folders.data_dir().join("zsh/podsync.zsh");
            Ok(read_by(
                &file,
                "~/.zshrc, after compinit",
                format!("source '{}'", file.display()),
            ))
        }
        Shell::Elvish => {
            let file = folders.config_dir().join("elvish/lib/podsync.elv");
            Ok(read_by(&file, "rc.elv", "use podsync".to_owned()))
        }
        other => Err(ApiError::new(
            ErrorCode::Invalid,
            format!("{other} has no folder for completions of one user"),
        )
        .hint("put what `podsync completions SHELL` prints into your profile")),
    }
}
