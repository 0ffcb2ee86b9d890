//! `podsync config`: the settings in force, and changes to the file that they can be made in.

mod edit;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, ErrorCode};
use podsync_core::nearest::nearest;
use podsync_daemon::Settings;
use tokio::time::sleep;

use crate::{
    complete,
    context::Context,
    files::{MEND_LINK, behind_links, read_text, refuse_dangling, write_whole},
};

/// More than any settings take.
const MAX_LEN: u64 = 1 << 20;
/// How often to look whether another command has changed the settings meanwhile.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print one setting, as it is in force
    Get(Key),
    /// Change a setting in config.toml. Comments and everything else stay
    Set(Set),
    /// Take a setting out of config.toml, so that its default counts
    Unset(Key),
}

#[derive(Debug, Args)]
struct Key {
    /// Name of the setting, as `podsync config` prints it
    #[arg(add = ArgValueCandidates::new(complete::settings))]
    key: String,
}

#[derive(Debug, Args)]
struct Set {
    /// Name of the setting, as `podsync config` prints it
    #[arg(add = ArgValueCandidates::new(complete::settings))]
    key: String,
    /// Its new value; several for a setting that is a list
    #[arg(required = true)]
    value: Vec<String>,
}

impl Config {
    /// Whether it is about to change the file.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.action, Some(Action::Set(_) | Action::Unset(_)))
    }
}

pub(crate) async fn run(context: &Context, config: Config) -> Result<(), ApiError> {
    match config.action {
        None => print(context),
        Some(Action::Get(Key { key })) => get(context, &key),
        Some(Action::Set(Set { key, value })) => {
            let default = setting(&Settings::default(), &key)?;
            let value =
                edit::parse(&default, &value).map_err(|what| invalid(format!("`{key}` {what}")))?;
            accepted(&key, value.clone())?;
            change(context, &key, |text| edit::set(text, &key, value.clone())).await
        }
        Some(Action::Unset(Key { key })) => {
            setting(&Settings::default(), &key)?;
            change(context, &key, |text| edit::unset(text, &key)).await
        }
    }
}

fn print(context: &Context) -> Result<(), ApiError> {
    let settings = context.settings()?;
    context.printer.result(&settings, |settings| {
        let file = settings.file();
        format!("# {}\n{}", file.display(), settings.to_toml())
    })
}

fn get(context: &Context, key: &str) -> Result<(), ApiError> {
    let value = setting(&context.settings()?, key)?;
    context.printer.result(&value, |value| match value {
        toml::Value::Array(values) => {
            let each = values.iter().map(plain);
            each.collect::<Vec<_>>().join("\n")
        }
        value => plain(value),
    })
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Refuses a value that podsync could not start with, whatever else is in the file.
fn accepted(key: &str, value: toml_edit::Value) -> Result<(), ApiError> {
    let shown = value.to_string();
    let alone = edit::set("", key, value).map_err(invalid)?;
    Settings::parse(&alone).map(drop).map_err(|error| {
        let Some(form) = podsync_daemon::setting_form(key) else {
            return error;
        };
        ApiError::new(
            ErrorCode::Invalid,
            format!("`{key}` cannot be {}", shown.trim()),
        )
        .hint(format!("set it to {form}"))
    })
}

/// One of the settings by its name.
fn setting(settings: &Settings, key: &str) -> Result<toml::Value, ApiError> {
    let mut all: toml::Table = settings
        .to_toml()
        .parse()
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("settings: {error}")))?;
    if let Some(value) = all.remove(key) {
        return Ok(value);
    }
    let error = invalid(format!("no setting is called `{key}`"));
    let near = nearest(key, all.keys().map(String::as_str));
    Err(match near.first() {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => {
            let all: Vec<_> = all.keys().map(String::as_str).collect();
            error.hint(format!("the settings are {}", all.join(", ")))
        }
    })
}

/// Writes the file as `edit` has it, if podsync can start with that.
async fn change(
    context: &Context,
    key: &str,
    edit: impl Fn(&str) -> Result<String, String>,
) -> Result<(), ApiError> {
    let home = context.home()?;
    let file = home.join("config.toml");
    let (mut settings, mut text) = edited(&file, &edit)?;
    let changes = text.is_some();
    if changes {
        // What another command has written meanwhile stays.
        let _lock = lock(&home).await?;
        (settings, text) = edited(&file, &edit)?;
        if let Some(text) = text {
            let written = behind_links(&file).and_then(|file| write_whole(&file, text.as_bytes()));
            written.map_err(|error| failed("write", &file, &error))?;
        }
    }
    context.printer.result(&settings, |_| match changes {
        true => format!("Changed {}.", file.display()),
        false => format!("Nothing to change in {}.", file.display()),
    })?;
    let variable = podsync_daemon::setting_variable(key);
    if let Some(variable) = variable.filter(|variable| std::env::var(variable).is_ok()) {
        context.printer.warn(format_args!(
            "{variable} is set in the environment, and podsync takes a variable before the file. \
             A daemon that starts with {variable} ignores the file's `{key}`"
        ));
    } else if changes && context.status().await?.is_some() {
        context
            .printer
            .note("The daemon uses it from its next start on: `podsync restart`.");
    }
    Ok(())
}

/// The settings in the file as `edit` has it, and its text unless that is the same.
fn edited(
    file: &Path,
    edit: impl Fn(&str) -> Result<String, String>,
) -> Result<(Settings, Option<String>), ApiError> {
    refuse_dangling(file).map_err(|error| {
        let text = format!("podsync cannot change {}: {error}", file.display());
        ApiError::new(ErrorCode::Disk, text).hint(MEND_LINK)
    })?;
    let before = match read_text(file, MAX_LEN) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| failed("read", file, &error))?,
    };
    let after = edit(&before).map_err(|what| {
        invalid(format!("{}: {what}", file.display())).hint("mend the file with an editor")
    })?;
    let settings = Settings::parse(&after)?;
    Ok((settings, (after != before).then_some(after)))
}

/// Keeps other commands from changing the settings as long as the file is open. The settings themselves are another
/// file after each change, so they can't be locked.
async fn lock(home: &Path) -> Result<File, ApiError> {
    let path = home.join("config.lock");
    let locked = async {
        std::fs::create_dir_all(home)?;
        // Opening a pipe would wait for who reads it.
        match path.metadata() {
            Ok(there) if !there.is_file() => {
                let what = "it is no file; remove it, and podsync makes it anew";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        // A blocking wait could not be interrupted.
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => sleep(LOOK).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    };
    locked.await.map_err(|error| failed("lock", &path, &error))
}

fn failed(what: &str, file: &Path, error: &io::Error) -> ApiError {
    let text = format!("podsync cannot {what} {}: {error}", file.display());
    ApiError::new(ErrorCode::Disk, text).hint("check the file and its disk")
}

fn invalid(text: String) -> ApiError {
    ApiError::new(ErrorCode::Invalid, text).hint("docs/operations.md lists every setting")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_not_made_behind_a_link_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let edit = |text: &str| Ok(format!("{text}mdns = false\n"));
        let (_, text) = edited(&file, edit).unwrap();
        assert_eq!(text.as_deref(), Some("mdns = false\n"));
        let target = folder.path().join("gone/dotfile");
        std::os::unix::fs::symlink(&target, &file).unwrap();
        let error = edited(&file, edit).unwrap_err();
        assert_eq!(error.code, ErrorCode::Disk);
        for path in [&file, &target] {
            let path = path.display().to_string();
            assert!(error.message.contains(&path), "{}", error.message);
        }
        assert_eq!(error.hint.as_deref(), Some(MEND_LINK));
    }
}
