//! Runs the scripts in the home's `hooks/` folder for events, one at a time.
//!
//! A script has all the daemon's rights. So the user must own the file and its folder, and nobody else may be able
//! to write to either.

use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use podsync_api::{
    ApiError, ErrorCode,
    events::{Event, Happened, Kind, Trouble},
};
use podsync_store::shell_word;

use super::Events;
use crate::{
    reaction::{Reaction, Says},
    tasks::Tasks,
};

/// The scripts' folder in the home.
const FOLDER: &str = "hooks";
/// Event kinds and the names of their scripts.
const SCRIPTS: [(Kind, &str); 3] = [
    (Kind::Shared, "on-share"),
    (Kind::Pulled, "on-pull"),
    (Kind::Loaded, "on-load"),
];
/// The longest that a script may run. It is also the default for the command of `podsync watch`.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs hook scripts.
#[derive(Clone)]
pub(crate) struct Hooks {
    pub(crate) home: PathBuf,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
}

impl Hooks {
    /// Runs scripts until the daemon stops. Events wait while a script runs; a very slow script makes later events
    /// be missed.
    pub(crate) async fn keep_running(self) {
        let mut events = self.events.listen();
        let stop = self.tasks.stopping().clone();
        let running = async {
            loop {
                let event = events.next().await;
                if let Err(error) = self.run(&event).await {
                    tracing::warn!(%error, "a hook");
                    self.events.tell(trouble(&event, &error));
                }
            }
        };
        let _: Option<()> = stop.run_until_cancelled(running).await;
    }

    async fn run(&self, event: &Event) -> Result<(), ApiError> {
        let kind = event.what.kind();
        let Some((_, name)) = SCRIPTS.into_iter().find(|(of, _)| *of == kind) else {
            return Ok(());
        };
        let home = self.home.clone();
        let script = tokio::task::spawn_blocking(move || own_script(&home, name));
        let script = script.await.map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("hooks/{name}: {error}"))
        })??;
        let Some(script) = script else { return Ok(()) };
        let mut program = std::process::Command::new(&script);
        program.current_dir(&self.home);
        let called = format!("{FOLDER}/{name}");
        let reaction = Reaction {
            program,
            name: &called,
            limit: LIMIT,
            home: &self.home,
            says: Says::InTheLog,
        };
        match reaction.run(event, self.tasks.stopping()).await {
            Err(error) if error.code == ErrorCode::Cancelled => Ok(()),
            ended => ended,
        }
    }
}

fn trouble(event: &Event, error: &ApiError) -> Happened {
    Happened::Trouble(Trouble {
        team: event.what.team().cloned(),
        pod: event.what.pod().cloned(),
        reference: event.what.version().0.map(str::to_owned),
        code: error.code,
        message: error.message.clone(),
        hint: error.hint.clone(),
    })
}

/// The script's path, if the file exists and only its owner can have changed it.
fn own_script(home: &Path, name: &str) -> Result<Option<PathBuf>, ApiError> {
    let folder = home.join(FOLDER);
    let script = folder.join(name);
    let refused = |path: &Path, why: &str, hint: String| {
        ApiError::new(
            ErrorCode::Untrusted,
            format!("{} {why}, and is not run", path.display()),
        )
        .hint(hint)
    };
    let unreadable = |error: io::Error| {
        ApiError::new(ErrorCode::Disk, format!("{}: {error}", script.display()))
            .hint("check the folder and the file")
    };
    let metadata = match script.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let owner = home.metadata().map_err(unreadable)?.uid();
    let around = folder.symlink_metadata().map_err(unreadable)?;
    if !around.is_dir() || !metadata.is_file() {
        let hint = format!("put a folder {} and a file in it there", folder.display());
        return Err(refused(&script, "is a link or not a file", hint));
    }
    for (path, metadata) in [(&folder, &around), (&script, &metadata)] {
        if metadata.uid() != owner {
            let hint = "make it yours, or delete it".to_owned();
            return Err(refused(path, "is somebody else's", hint));
        }
        if metadata.permissions().mode() & 0o022 != 0 {
            let hint = format!("run `chmod go-w {}`", shell_word(path));
            return Err(refused(path, "can be written by others", hint));
        }
    }
    if metadata.permissions().mode() & 0o100 == 0 {
        let hint = format!("run `chmod u+x {}`, or delete it", shell_word(&script));
        return Err(refused(&script, "is not executable", hint));
    }
    Ok(Some(script))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_a_script_that_nobody_else_can_change_is_run() {
        let home = tempfile::tempdir().unwrap();
        let (folder, script) = (
            home.path().join("hooks"),
            home.path().join("hooks/on-share"),
        );
        let looked = || own_script(home.path(), "on-share");
        assert_eq!(looked().unwrap(), None);
        fs::create_dir(&folder).unwrap();
        set_mode(&folder, 0o700);
        assert_eq!(looked().unwrap(), None);

        fs::write(&script, "#!/bin/sh\n").unwrap();
        set_mode(&script, 0o700);
        assert_eq!(looked().unwrap(), Some(script.clone()));
        for (path, mode, why) in [
            (&script, 0o600, "is not executable"),
            (&script, 0o770, "can be written by others"),
            (&folder, 0o777, "can be written by others"),
        ] {
            let before = path.metadata().unwrap().permissions().mode();
            set_mode(path, mode);
            let error = looked().unwrap_err();
            assert!(error.message.contains(why), "{error}");
            assert!(error.hint.is_some());
            set_mode(path, before);
        }
        assert_eq!(looked().unwrap(), Some(script.clone()));

        let elsewhere = home.path().join("elsewhere");
        fs::rename(&script, &elsewhere).unwrap();
        symlink(&elsewhere, &script).unwrap();
        assert!(looked().unwrap_err().message.contains("link"));
        fs::remove_file(&script).unwrap();
        fs::create_dir(&script).unwrap();
        assert!(looked().is_err());
    }
}
