//! Building the programs such that neither the machine nor the folder shows in their bytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use duct::cmd;

use xtask::tools::{command, root, step, target};

use super::{Release, hash, program::Program};

/// The folder of the programs.
pub(crate) fn run(release: &Release, twice: bool, jobs: Option<u32>) -> Result<PathBuf> {
    let first = target().join("dist/build");
    let programs = once(release, &first, jobs)?;
    if twice {
        let second = target().join("dist/build-again");
        // What is there already would not be built once more.
        if second.exists() {
            fs::remove_dir_all(&second)?;
        }
        compare(&programs, &once(release, &second, jobs)?)?;
    }
    Ok(programs)
}

fn once(release: &Release, built: &Path, jobs: Option<u32>) -> Result<PathBuf> {
    step(&format!("building the programs in {}", built.display()));
    let built = std::path::absolute(built)?;
    let folder = built.to_str().context("the target folder is no UTF-8")?;
    let jobs = jobs.map(|jobs| jobs.to_string());
    let mut arguments = vec!["build", "--release", "--locked", "--target-dir", folder];
    for name in Program::NAMES {
        arguments.extend(["--package", name]);
    }
    arguments.extend(jobs.iter().flat_map(|jobs| ["--jobs", jobs.as_str()]));
    let renamed = renamed(&built)?;
    let for_rust: Vec<_> = renamed
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect();
    let for_c: Vec<_> = renamed
        .iter()
        .map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display()))
        .collect();
    command("cargo", &arguments)
        .env("CARGO_ENCODED_RUSTFLAGS", for_rust.join("\u{1f}"))
        .env("CFLAGS", for_c.join(" "))
        .env("CXXFLAGS", for_c.join(" "))
        .env("SOURCE_DATE_EPOCH", release.time.to_string())
        .run()
        .context("the programs could not be built")?;
    Ok(built.join("release"))
}

/// The folders that would show in panics and assertions, and what stands there instead. Of two that fit, compilers
/// take the later one.
fn renamed(built: &Path) -> Result<Vec<(PathBuf, String)>> {
    let version = cmd!("rustc", "-vV").dir(root()).read()?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .context("rustc names no commit")?;
    let sysroot = cmd!("rustc", "--print", "sysroot").dir(root()).read()?;
    let cargo = match std::env::var_os("CARGO_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()
            .context("there is no home folder: set CARGO_HOME")?
            .join(".cargo"),
    };
    Ok(vec![
        (root(), "/podsync".to_owned()),
        (cargo, "/cargo".to_owned()),
        (built.to_owned(), "/target".to_owned()),
        (
            Path::new(&sysroot).join("lib/rustlib/src/rust"),
            format!("/rustc/{commit}"),
        ),
    ])
}

fn compare(first: &Path, second: &Path) -> Result<()> {
    for name in Program::NAMES {
        let one = hash(&fs::read(first.join(name))?);
        let other = hash(&fs::read(second.join(name))?);
        ensure!(
            one == other,
            "two builds of {name} differ: {one} in {} and {other} in {}. Compare them with diffoscope",
            first.display(),
            second.display()
        );
        println!("{name}: both builds have SHA-256 {one}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_that_differ_are_told() -> Result<()> {
        let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for name in Program::NAMES {
            fs::write(one.path().join(name), "same")?;
            fs::write(other.path().join(name), "same")?;
        }
        compare(one.path(), other.path())?;
        fs::write(other.path().join(Program::HUB), "not the same")?;
        let error = compare(one.path(), other.path()).map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("two builds of podsync-hub differ")));
        Ok(())
    }
}
