//! A community LocalStack with our plugin, from pinned packages, in the target folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use duct::cmd;

use crate::tools::{root, step, target};

const VERSION: &str = "4.14.0";

/// What the end-to-end tests read to find it.
pub(crate) const PYTHON_VARIABLE: &str = "PODSYNC_TEST_LOCALSTACK";

/// The Python of a virtual environment that runs LocalStack, made on the first call.
///
/// `Err` says in words why this machine has none; everything else can still be tested.
pub(crate) fn python() -> Result<PathBuf> {
    let plugin = root().join("crates/instance/localstack-plugin");
    let folder = target().join(format!("tools/localstack-{VERSION}"));
    let python = folder.join("bin/python");
    let requirements = plugin.join(format!("requirements-localstack-{VERSION}.txt"));
    // The stamp is what was installed: another pin or another plugin installs anew.
    let stamp = folder.join("podsync.stamp");
    let wanted =
        std::fs::read_to_string(&requirements).context("the requirements of LocalStack")?;
    if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
        let base =
            python_3_13().context("no Python 3.13 here: install it, or set PODSYNC_PYTHON")?;
        step(&format!("LocalStack {VERSION} into {}", folder.display()));
        cmd!(&base, "-m", "venv", "--clear", &folder).run()?;
        let package = format!("localstack-core[runtime]=={VERSION}");
        cmd!(
            &python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "-c",
            &requirements,
            package
        )
        .run()
        .context("pip could not install LocalStack")?;
        cmd!(&python, "-m", "pip", "install", "--quiet", "pytest").run()?;
        std::fs::write(&stamp, wanted)?;
    }
    cmd!(
        &python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--force-reinstall",
        &plugin
    )
    .run()
    .context("pip could not install the plugin")?;
    Ok(python)
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
