//! Running as a robot: with a token and nothing else, in a home that goes with the command.
//!
//! The token comes from `PODSYNC_TOKEN`, from stdin, or, with a warning, from the command line. Its key
//! is never written down.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use podsync_api::{ApiError, ErrorCode};
use podsync_daemon::Token;
use tempfile::TempDir;

use crate::{
    arguments::{Global, absolute},
    files::temporary_folder,
    output::Printer,
    secret::no_text,
};

/// Where CI systems put the secret.
pub(crate) const VARIABLE: &str = "PODSYNC_TOKEN";
/// More than any token has.
const MAX_TOKEN_LEN: u64 = 16 << 10;
/// Runners that share a cache at once: each has a part of it.
pub(crate) const MAX_SLOTS: usize = 64;
/// The length of a device's short id.
const SHORT_LEN: usize = 8;
/// What may lie in a folder before it becomes a cache.
const BESIDE: [&str; 5] = [
    ".DS_Store",
    ".gitignore",
    ".gitkeep",
    "CACHEDIR.TAG",
    "lost+found",
];
/// How long to look for a teammate where the command doesn't say.
const DEFAULT_WAIT: Duration = Duration::from_secs(20);
/// When the command ends, something may still be writing. It is removed with the rest a moment later.
const REMOVALS: usize = 40;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// What a runner runs with.
pub(crate) struct Robot {
    pub(crate) token: Token,
    pub(crate) text: String,
    pub(crate) wait: Duration,
    /// The flag with which the command waits longer.
    pub(crate) wait_flag: Option<&'static str>,
    pub(crate) place: Place,
}

impl Robot {
    /// Adds the flag that waits longer to an outage, if the command has one.
    pub(super) fn how_to_wait(&self, error: ApiError) -> ApiError {
        let flag = (error.code == ErrorCode::Unreachable).then_some(self.wait_flag);
        match (flag.flatten(), error.hint.clone()) {
            (Some(flag), Some(hint)) => error.hint(format!("{hint}; {flag} TIME waits longer")),
            _ => error,
        }
    }
}

/// Names the flag of a robot where an error advises another home: a robot's home is in its cache, or in a temporary
/// folder.
pub(super) fn of_cache(error: ApiError) -> ApiError {
    let hint = error.hint.as_deref();
    match hint.map(|hint| hint.replace("with --home", "with --cache")) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

impl std::fmt::Debug for Robot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Robot {{ device: {}, token: hidden }}",
            self.token.device()
        )
    }
}

/// Where its home lies.
#[derive(Debug)]
pub(crate) enum Place {
    /// A folder that is removed at the end.
    Scratch(PathBuf),
    /// A folder that is kept; the home is one of several in it.
    Cache(PathBuf),
}

/// The folder of one command.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// Removes it, also where a thread of the store still writes its last.
    pub(crate) fn remove(self, printer: &Printer) {
        let path = self.0.keep();
        for _ in 0..REMOVALS {
            match std::fs::remove_dir_all(&path) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_) => std::thread::sleep(REMOVAL_PAUSE),
            }
        }
        printer.warn(format_args!("podsync could not remove {}", path.display()));
    }
}

/// What a command does with a token.
pub(crate) enum Use {
    /// Runs as the robot. How long it may look for a teammate, and the flag that says so.
    Runs(Option<(Duration, &'static str)>),
    /// Has nothing to do with teams.
    Ignores,
    /// Would write, or is about this machine's own device.
    Refuses,
}

/// Looks for a token; with one, the command runs as its robot.
pub(crate) fn prepare(
    global: &mut Global,
    uses: Use,
    printer: &Printer,
) -> Result<Option<(Robot, Option<Scratch>)>, ApiError> {
    let said = global.token.take();
    let wait = match (uses, &said) {
        (Use::Ignores, None) => return Ok(None),
        (Use::Runs(wait), _) => wait,
        (Use::Ignores | Use::Refuses, _) => {
            let variable = std::env::var_os(VARIABLE);
            let variable = variable.as_deref().map(OsStr::to_string_lossy);
            let Some(named) = said.as_deref().or(variable.as_deref()) else {
                return Ok(None);
            };
            if named.trim().is_empty() {
                // Its error says so: no robot is named.
                Token::parse(named)?;
            }
            return Err(ApiError::new(
                ErrorCode::Forbidden,
                "a robot can only read: it can pull, load, export, list, versions, show, diff, lock and run-hook",
            )
            .hint(format!("unset {VARIABLE} to use this machine's own device")));
        }
    };
    let Some(text) = read(said, printer)? else {
        if global.cache.is_some() {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                "--cache is for robots, and there is no token",
            )
            .hint(format!(
                "set {VARIABLE}, or remove --cache: without a token podsync stores everything in its home"
            )));
        }
        return Ok(None);
    };
    let token = Token::parse(&text)?;
    let (place, scratch) = match global.cache.take() {
        Some(folder) => (cache(folder)?, None),
        None => {
            let folder = temporary_folder("podsync-runner-").map_err(|error| {
                ApiError::new(
                    ErrorCode::Disk,
                    format!(
                        "podsync cannot create a temporary folder in {}: {error}",
                        std::env::temp_dir().display()
                    ),
                )
                .hint("set TMPDIR to a folder with free space, or choose one with --cache")
            })?;
            let home = folder.path().join("home");
            (Place::Scratch(home), Some(Scratch(folder)))
        }
    };
    let robot = Robot {
        token,
        text,
        wait: wait.map_or(DEFAULT_WAIT, |(time, _)| time),
        wait_flag: wait.map(|(_, flag)| flag),
        place,
    };
    Ok(Some((robot, scratch)))
}

fn cache(folder: PathBuf) -> Result<Place, ApiError> {
    let folder = absolute(folder)?;
    let refused = |what: String| {
        let text = format!("{} is {what}", folder.display());
        Err(ApiError::new(ErrorCode::Invalid, text)
            .hint("choose a new or empty folder with --cache"))
    };
    if folder.exists() && !folder.is_dir() {
        return refused("not a folder".to_owned());
    }
    if let Some(found) = foreign(&folder) {
        return refused(format!(
            "not empty and not a cache of podsync's: it has {found:?} in it"
        ));
    }
    Ok(Place::Cache(folder))
}

/// What a folder contains that is not podsync's. None if a part of a cache is there: then the folder was a cache
/// before. A folder that can't be read is told where its parts are made.
fn foreign(folder: &Path) -> Option<OsString> {
    let mut foreign = None;
    for entry in folder.read_dir().ok()?.filter_map(Result::ok) {
        let (name, path) = (entry.file_name(), entry.path());
        let may_be_part =
            name.to_str().is_some_and(is_part) && podsync_daemon::check_may_be_home(&path).is_ok();
        // A part gets its lock first.
        if may_be_part && path.join("lock").exists() {
            return None;
        }
        if !may_be_part && !name.to_str().is_some_and(|name| BESIDE.contains(&name)) {
            foreign = Some(name);
        }
    }
    foreign
}

/// Whether a part of a cache could have this name: the short id of a robot's device, and a number.
fn is_part(name: &str) -> bool {
    name.split_once('-').is_some_and(|(device, slot)| {
        device.len() == SHORT_LEN
            && device.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && slot.parse().is_ok_and(|slot: usize| slot < MAX_SLOTS)
    })
}

fn read(said: Option<String>, printer: &Printer) -> Result<Option<String>, ApiError> {
    match said {
        Some(dash) if dash == "-" => {
            let mut line = Vec::new();
            std::io::stdin()
                .lock()
                .take(MAX_TOKEN_LEN)
                .read_until(b'\n', &mut line)
                .map_err(|error| {
                    ApiError::new(
                        ErrorCode::Ticket,
                        format!("podsync cannot read the token: {error}"),
                    )
                    .hint(format!("pipe it to stdin, or set {VARIABLE}"))
                })?;
            let line = String::from_utf8(line).map_err(|_| no_text("token", "stdin", VARIABLE))?;
            Ok(Some(line.trim().to_owned()))
        }
        Some(text) => {
            printer.warn(format_args!(
                "other users can see a token on the command line; set {VARIABLE}, or pass `--token -` and pipe it to stdin"
            ));
            Ok(Some(text))
        }
        None => match std::env::var(VARIABLE) {
            Ok(text) => Ok(Some(text)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(ApiError::new(
                ErrorCode::Ticket,
                format!("{VARIABLE} does not contain text"),
            )
            .hint("copy the whole line that `podsync team invite --robot` printed")),
        },
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::{
        OpId, TeamId,
        ticket::{Ticket, TicketKind, TicketSecret},
    };

    use super::*;

    #[test]
    fn a_cache_that_cannot_be_one_is_told_with_its_own_flag() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = cache(file.clone()).unwrap_err();
        assert!(error.message.contains(&*file.to_string_lossy()), "{error}");
        let named =
            of_cache(ApiError::new(ErrorCode::Invalid, "no").hint("choose one with --home"));
        for hint in [error.hint, named.hint] {
            let hint = hint.unwrap();
            assert!(
                hint.contains("--cache") && !hint.contains("--home"),
                "{hint}"
            );
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::write(folder.path().join(".gitignore"), "*").unwrap();
        for place in [folder.path().to_owned(), folder.path().join("new")] {
            assert!(matches!(cache(place), Ok(Place::Cache(_))));
        }
    }

    #[test]
    fn a_folder_of_something_else_becomes_no_cache_and_a_cache_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = || folder.path().to_owned();
        std::fs::write(folder.path().join("f"), "precious").unwrap();
        // An empty folder proves nothing, whatever its name is.
        let part = folder.path().join("w2ygBdYu-0");
        std::fs::create_dir(&part).unwrap();
        let error = cache(place()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid);
        assert!(error.message.contains("\"f\""), "{error}");
        assert!(error.hint.unwrap().contains("--cache"));
        std::fs::write(part.join("lock"), "").unwrap();
        assert!(matches!(cache(place()), Ok(Place::Cache(_))));
        for other in ["tmp", "w2ygBdYu-64", "w2ygBdY-0", "w2ygBdYu"] {
            assert!(!is_part(other), "{other}");
        }
    }

    #[test]
    fn only_a_command_that_can_wait_longer_says_so() {
        let secret = TicketSecret::from_seed(&[7; 32]);
        let (team, op) = (TeamId::of(b"team"), OpId::of(b"op"));
        let ticket = Ticket::new(TicketKind::Robot, secret, team, &op, None, &[]);
        let text = ticket.expose_text().to_string();
        let hint = |wait_flag, code| {
            let robot = Robot {
                token: Token::parse(&text).unwrap(),
                text: text.clone(),
                wait: DEFAULT_WAIT,
                wait_flag,
                place: Place::Scratch(PathBuf::new()),
            };
            let error = ApiError::new(code, "no").hint("look");
            robot.how_to_wait(error).hint.unwrap()
        };
        let away = ErrorCode::Unreachable;
        assert_eq!(hint(Some("--wait"), away), "look; --wait TIME waits longer");
        assert_eq!(hint(None, away), "look");
        assert_eq!(hint(Some("--wait"), ErrorCode::Ticket), "look");
    }
}
