//! Community LocalStack with our plugin, and LocalStack's own clients: pinned packages, in the target folder.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use duct::cmd;

use crate::tools::{root, step, target};

/// Each runs the plugin's own tests; the first one also runs in the end-to-end tests.
pub const VERSIONS: [&str; 2] = ["4.14.0", "2026.3.0"];

const CLIENT_VERSIONS: [&str; 2] = ["4.14.0", "2026.8.2"];

/// What the plugin is tested and checked with.
const TOOLS: [&str; 3] = ["pytest==9.2.0", "mypy==2.4.1", "ruff==0.17.6"];

/// What the end-to-end tests read to find it.
pub const PYTHON_VARIABLE: &str = "PODSYNC_TEST_LOCALSTACK";

/// What the plugin's tests read to find interpreters that have LocalStack's own client.
const CLIENTS_VARIABLE: &str = "PODSYNC_TEST_LOCALSTACK_CLIENTS";

/// The Python of a virtual environment that runs this version with the plugin, made on the first call.
///
/// `Err` says why this machine has none. Everything else can still be tested.
pub fn python(version: &str) -> Result<PathBuf> {
    let environment = Environment {
        name: format!("localstack-{version}"),
        pins: plugin().join(format!("requirements-localstack-{version}.txt")),
        package: format!("localstack-core[runtime]=={version}"),
    };
    let python = environment.python(&TOOLS)?;
    let force = ["--no-deps", "--force-reinstall"];
    pip(&python, &force, &[plugin().as_os_str()]).context("pip could not install the plugin")?;
    Ok(python)
}

/// Interpreters that have LocalStack's own clients, made on the first call, as the plugin's tests read them.
pub fn clients() -> Result<OsString> {
    let mut clients = Vec::new();
    for version in CLIENT_VERSIONS {
        let environment = Environment {
            name: format!("localstack-client-{version}"),
            pins: plugin().join("requirements-clients.txt"),
            package: format!("localstack=={version}"),
        };
        clients.push(environment.python(&[])?);
    }
    Ok(std::env::join_paths(clients)?)
}

/// The plugin's types and style, and its own tests in this LocalStack and with [`clients`]. What the tests print
/// comes at their end.
pub fn test_plugin(python: &Path, clients: &OsStr) -> Result<()> {
    for check in [
        &["mypy"][..],
        &["ruff", "check"],
        &["ruff", "format", "--check"],
    ] {
        cmd(python, [&["-m"], check].concat()).dir(plugin()).run()?;
    }
    let tests = plugin().join("tests");
    let run = cmd!(python, "-m", "pytest", "-q", "--durations=10", tests)
        .env(CLIENTS_VARIABLE, clients)
        .dir(root())
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    print!("{}", String::from_utf8_lossy(&run.stdout));
    ensure!(
        run.status.success(),
        "the plugin's tests failed: {}",
        run.status
    );
    Ok(())
}

fn plugin() -> PathBuf {
    root().join("crates/instance/localstack-plugin")
}

/// A virtual environment with one package at one version.
struct Environment {
    name: String,
    /// The versions of all that it depends on.
    pins: PathBuf,
    package: String,
}

impl Environment {
    /// Its Python. It is made anew where another package or other pins are in it.
    fn python(&self, besides: &[&str]) -> Result<PathBuf> {
        let folder = target().join("tools").join(&self.name);
        let python = folder.join("bin/python");
        let stamp = folder.join("podsync.stamp");
        let pins = std::fs::read_to_string(&self.pins)
            .with_context(|| format!("the pins in {}", self.pins.display()))?;
        let wanted = format!("{} {}\n{pins}", self.package, besides.join(" "));
        if std::fs::read_to_string(&stamp).ok().as_deref() == Some(&wanted) {
            return Ok(python);
        }
        let base =
            python_3_13().context("no Python 3.13 here: install it, or set PODSYNC_PYTHON")?;
        step(&format!("{} into {}", self.package, folder.display()));
        cmd!(&base, "-m", "venv", "--clear", &folder).run()?;
        let constrained = [OsStr::new("-c"), self.pins.as_os_str()];
        pip(&python, &constrained, &[&self.package])
            .with_context(|| format!("pip could not install {}", self.package))?;
        if !besides.is_empty() {
            pip::<&str>(&python, &[], besides)?;
        }
        std::fs::write(&stamp, wanted)?;
        Ok(python)
    }
}

fn pip<S: AsRef<OsStr>>(
    python: &Path,
    options: &[S],
    packages: &[impl AsRef<OsStr>],
) -> Result<()> {
    let mut arguments = ["-m", "pip", "install", "--quiet"]
        .map(OsString::from)
        .to_vec();
    arguments.extend(options.iter().map(|option| option.as_ref().to_owned()));
    arguments.extend(packages.iter().map(|package| package.as_ref().to_owned()));
    cmd(python, arguments).run()?;
    Ok(())
}

fn python_3_13() -> Option<PathBuf> {
    let named = std::env::var_os("PODSYNC_PYTHON").map(PathBuf::from);
    let on_path = ["python3.13", "python3", "python"].map(PathBuf::from);
    named
        .into_iter()
        .chain(pyenv())
        .chain(on_path)
        .find(|python| is_3_13(python))
}

fn pyenv() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = std::env::home_dir().map(|home| home.join(".pyenv"));
    let Some(versions) = root.or(home).map(|root| root.join("versions")) else {
        return Vec::new();
    };
    let Ok(folders) = std::fs::read_dir(versions) else {
        return Vec::new();
    };
    folders
        .flatten()
        .map(|folder| folder.path().join("bin/python3"))
        .collect()
}

fn is_3_13(python: &Path) -> bool {
    let check = "import sys, venv; sys.exit(sys.version_info[:2] != (3, 13))";
    cmd!(python, "-c", check)
        .stdout_null()
        .stderr_null()
        .unchecked()
        .run()
        .is_ok_and(|out| out.status.success())
}
