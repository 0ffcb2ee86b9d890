//! A Python in which LocalStack is installed, on this machine.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Output,
};

use podsync_api::{ApiError, ErrorCode};
use podsync_daemon::companion;
use serde::Deserialize;
use tokio::process::Command;

use crate::files::temporary_folder;

/// The first Python that both LocalStacks run in.
const OLDEST: (u32, u32) = (3, 13);

/// Asks a Python which packages it has, as one line of JSON. A folder `localstack` where the user happens to be is no
/// package.
pub(super) const LOOK: &str = r"
import sys
sys.path = [folder for folder in sys.path if folder]
import importlib.metadata, importlib.util, json, os.path, sysconfig
packages = sysconfig.get_path('purelib')
try:
    plugin = importlib.metadata.distribution('podsync-localstack')
except importlib.metadata.PackageNotFoundError:
    plugin = None
folder = str(plugin.locate_file('')) if plugin else packages
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
print(json.dumps({
    'python': sys.version_info[:2], 'packages': packages,
    'localstack': there('localstack'), 'licensed': there('localstack.pro'),
    'pip': there('pip'), 'plugin': plugin and plugin.version,
    'shadow': None if os.path.realpath(folder) == os.path.realpath(packages) else folder,
}))";

/// Removes every file that the plugin's installation recorded. An installation where the user happens to be is not
/// the one that is meant.
pub(super) const REMOVE: &str = r"
import sys
sys.path = [folder for folder in sys.path if folder]
import importlib.metadata, pathlib, shutil
found = importlib.metadata.distribution('podsync-localstack')
for file in list(found.files or []):
    pathlib.Path(found.locate_file(file)).unlink(missing_ok=True)
shutil.rmtree(found.locate_file('podsync_localstack'), ignore_errors=True)
shutil.rmtree(found._path, ignore_errors=True)";

/// What a Python reports about itself.
#[derive(Debug, Deserialize)]
pub(super) struct Look {
    pub(super) python: (u32, u32),
    /// The folder that packages are installed in.
    pub(super) packages: PathBuf,
    localstack: bool,
    licensed: bool,
    pip: bool,
    pub(super) plugin: Option<String>,
    /// The folder of a plugin that Python finds before its own packages, as one on `PYTHONPATH`.
    shadow: Option<PathBuf>,
}

impl Look {
    /// Fails where another copy of the plugin would hide the installed one, or be removed in its place.
    pub(super) fn is_unshadowed(&self, place: &impl fmt::Display) -> Result<(), ApiError> {
        let Some(shadow) = &self.shadow else {
            return Ok(());
        };
        let text = format!(
            "{place} finds the plugin in {} before its own packages; nothing was changed",
            shadow.display()
        );
        Err(ApiError::new(ErrorCode::Instance, text).hint(
            "take that folder out of PYTHONPATH; one that a compose file mounts, `podsync plugin install --compose FILE` replaces",
        ))
    }

    /// Its answer, or why it can't take the plugin. `place` names it for people.
    pub(super) fn read(answered: &Output, place: &str) -> Result<Self, ApiError> {
        let unfit = |why: &str, hint: &str| {
            Err(ApiError::new(ErrorCode::Instance, format!("{place} {why}")).hint(hint))
        };
        let Ok(look) = serde_json::from_slice::<Self>(&answered.stdout) else {
            return unfit(
                "does not answer as a Python does",
                "give the path of the Python that runs LocalStack, such as VENV/bin/python",
            );
        };
        if !look.localstack {
            return unfit(
                "has no LocalStack in it",
                "give the Python of the virtual environment in which LocalStack is installed",
            );
        }
        if look.licensed {
            return unfit(
                "runs a LocalStack for licences, which saves and loads by itself",
                "start it with LOCALSTACK_AUTH_TOKEN; it needs no plugin",
            );
        }
        if look.python < OLDEST {
            let (major, minor) = look.python;
            return unfit(
                &format!(
                    "is Python {major}.{minor}; the plugin needs {}.{} or newer",
                    OLDEST.0, OLDEST.1
                ),
                "use a LocalStack that runs in a newer Python",
            );
        }
        Ok(look)
    }
}

pub(super) struct Python {
    path: PathBuf,
    look: Look,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Python {
    pub(super) async fn at(path: &Path) -> Result<Self, ApiError> {
        let place = path.display().to_string();
        let answered = Command::new(path)
            .args(["-c", LOOK])
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| {
                ApiError::new(
                    ErrorCode::NotFound,
                    format!("podsync cannot run {place}: {error}"),
                )
                .hint("give the path of the Python that runs LocalStack, such as VENV/bin/python")
            })?;
        Ok(Self {
            path: path.to_path_buf(),
            look: Look::read(&answered, &place)?,
        })
    }

    pub(super) fn installed(&self) -> Option<&str> {
        self.look.plugin.as_deref()
    }

    pub(super) async fn install(&self) -> Result<(), ApiError> {
        self.look.is_unshadowed(self)?;
        if !self.look.pip {
            self.remove().await?;
            return companion::write_into(&self.look.packages)
                .map_err(|error| unwritable(&self.look.packages, &error));
        }
        let aside = temporary_folder("podsync-plugin-")
            .map_err(|error| unwritable(&std::env::temp_dir(), &error))?;
        let wheel = companion::write_wheel(aside.path())
            .map_err(|error| unwritable(aside.path(), &error))?;
        let pip = Command::new(&self.path)
            .args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"])
            .args(["--disable-pip-version-check", "--force-reinstall"])
            .arg(&wheel)
            .kill_on_drop(true)
            .output()
            .await;
        self.done(pip, "pip could not install the plugin")
    }

    pub(super) async fn remove(&self) -> Result<(), ApiError> {
        self.look.is_unshadowed(self)?;
        if self.look.plugin.is_none() {
            return Ok(());
        }
        let removed = Command::new(&self.path)
            .args(["-c", REMOVE])
            .kill_on_drop(true)
            .output()
            .await;
        self.done(removed, "podsync could not remove the plugin")
    }

    fn done(&self, output: std::io::Result<Output>, failed: &str) -> Result<(), ApiError> {
        let why = match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => last_words(&output),
            Err(error) => error.to_string(),
        };
        Err(ApiError::new(
            ErrorCode::Instance,
            format!("{failed} ({}): {why}", self.path.display()),
        )
        .hint("check who may write to that virtual environment, then run the command again"))
    }
}

/// The last line that a program wrote to stderr.
pub(super) fn last_words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| output.status.to_string(), str::to_owned)
}

pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> ApiError {
    ApiError::new(
        ErrorCode::Disk,
        format!("podsync cannot write to {}: {error}", path.display()),
    )
    .hint("check the disk and the folder's permissions")
}

/// The Python of the process that listens on this port, if the system tells.
#[cfg(target_os = "linux")]
pub(super) fn that_listens(port: u16) -> Option<PathBuf> {
    let sockets = listening(port);
    let processes = std::fs::read_dir("/proc").ok()?;
    let process = processes
        .flatten()
        .map(|entry| entry.path())
        .find(|process| {
            let Ok(files) = std::fs::read_dir(process.join("fd")) else {
                return false;
            };
            files
                .flatten()
                .filter_map(|file| std::fs::read_link(file.path()).ok())
                .any(|target| sockets.contains(&target))
        })?;
    // The executable is the system's own: the command line has the path in the virtual environment.
    let typed = std::fs::read(process.join("cmdline")).ok()?;
    let first = typed.split(|byte| *byte == 0).next()?;
    let path = PathBuf::from(String::from_utf8(first.to_vec()).ok()?);
    path.is_absolute().then_some(path)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn that_listens(_: u16) -> Option<PathBuf> {
    None
}

/// The sockets that listen on a port, as a process's file descriptors name them.
#[cfg(target_os = "linux")]
fn listening(port: u16) -> Vec<PathBuf> {
    const LISTENS: &str = "0A";
    let ending = format!(":{port:04X}");
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(table) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if let [_, local, _, LISTENS, _, _, _, _, _, inode, ..] = fields[..]
                && local.ends_with(&ending)
            {
                sockets.push(PathBuf::from(format!("socket:[{inode}]")));
            }
        }
    }
    sockets
}
