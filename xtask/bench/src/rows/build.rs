//! A clean build of all that `cargo run --release -- demo` runs, of this commit and of one before it.
//!
//! Each side has a target folder of its own that begins empty. The commit before is built in a worktree, with
//! its own lock file and its own profile.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use duct::cmd;
use serde_json::Value;
use xtask::tools::{command_in, root, step, target};

use super::megabytes;
use crate::{
    Setup,
    measure::{Cost, measured},
    report::{Bar, Goal, Report},
};

const CPU: Bar = Bar::AtMost(0.6);
const STRIPPED_MB: Bar = Bar::AtMost(40.0);

/// What a clean build cost and made.
struct Built {
    commit: String,
    cost: Cost,
    packages: usize,
    /// Bytes of `podsync` as cargo left it, and without symbols and debug information.
    len: u64,
    stripped: u64,
}

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let folder = target().join("bench-build");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let before = Worktree::of(&setup.before, folder.join("before"))?;
    let sides = [
        ("this commit", build(&root(), &folder)?),
        ("before", build(&before.0, &folder)?),
    ];
    let line = |(name, built): &(&str, Built)| {
        vec![
            format!("{name} ({})", built.commit),
            format!("{:.0}", built.cost.cpu),
            format!("{:.0}", built.cost.wall),
            built.packages.to_string(),
            megabytes(built.len as f64),
            megabytes(built.stripped as f64),
        ]
    };
    let [(_, this), (_, other)] = &sides;
    Ok(Report {
        title: "A clean build of podsync and its hub".to_owned(),
        head: vec![
            "",
            "CPU-s",
            "wall-s",
            "packages",
            "podsync, MB",
            "stripped, MB",
        ],
        lines: sides.iter().map(line).collect(),
        notes: vec![
            "`cargo build --release` into an empty target folder, sources already fetched."
                .to_owned(),
        ],
        goals: vec![
            Goal {
                what: format!("clean build: CPU beside {}", other.commit),
                figure: this.cost.cpu / other.cost.cpu,
                bar: CPU,
                digits: 2,
                unit: " x",
            },
            Goal {
                what: "podsync, stripped".to_owned(),
                figure: this.stripped as f64 / 1e6,
                bar: STRIPPED_MB,
                digits: 1,
                unit: " MB",
            },
        ],
    })
}

fn build(source: &Path, folder: &Path) -> Result<Built> {
    let target = folder.join("target");
    let commit = cmd!("git", "describe", "--always", "--dirty")
        .dir(source)
        .read()?;
    step(&format!("a clean build of {commit}"));
    let fetch = ["fetch", "--locked", "--quiet"];
    command_in(source, "cargo", &fetch).run()?;
    let arguments = ["build", "--release", "--locked", "--message-format", "json"];
    let cargo = command_in(source, "cargo", &arguments).env("CARGO_TARGET_DIR", &target);
    let (messages, cost) = measured(&[], || cargo.read().context("the build failed"))?;
    let made = Made::of(&messages)?;
    let stripped = folder.join("stripped");
    cmd!("strip", "-o", &stripped, &made.program)
        .run()
        .context("`strip` is of binutils: install it")?;
    let built = Built {
        commit,
        cost,
        packages: made.packages.len(),
        len: fs::metadata(&made.program)?.len(),
        stripped: fs::metadata(&stripped)?.len(),
    };
    fs::remove_dir_all(&target)?;
    Ok(built)
}

/// What cargo says that it made.
struct Made {
    packages: BTreeSet<String>,
    program: PathBuf,
}

impl Made {
    fn of(messages: &str) -> Result<Self> {
        let (mut packages, mut program) = (BTreeSet::new(), None);
        for message in messages.lines() {
            let message: Value = serde_json::from_str(message)?;
            if message["reason"] != "compiler-artifact" {
                continue;
            }
            ensure!(message["fresh"] == false, "the target folder wasn't empty");
            packages.extend(message["package_id"].as_str().map(str::to_owned));
            if message["target"]["name"] == "podsync" {
                program = message["executable"]
                    .as_str()
                    .map(PathBuf::from)
                    .or(program);
            }
        }
        let program = program.context("cargo names no program `podsync`")?;
        Ok(Self { packages, program })
    }
}

/// A commit's files, for as long as it is measured.
pub(super) struct Worktree(pub(super) PathBuf);

impl Worktree {
    pub(super) fn of(commit: &str, folder: PathBuf) -> Result<Self> {
        // One that was left behind by a run that was killed is still there, and in git's list.
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        cmd!("git", "worktree", "prune").dir(root()).run()?;
        cmd!(
            "git", "worktree", "add", "--quiet", "--detach", &folder, commit
        )
        .dir(root())
        .run()
        .with_context(|| format!("{commit} can't be checked out; --before names another"))?;
        Ok(Self(folder))
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        let removed = cmd!("git", "worktree", "remove", "--force", &self.0)
            .dir(root())
            .run();
        if let Err(error) = removed {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_counted_once_and_the_program_is_found() {
        let artifact = |package: &str, target: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{package}","target":{{"name":"{target}"}},"fresh":false,"executable":{executable}}}"#
            )
        };
        let said = [
            artifact("libc 1", "build-script-build", "null"),
            artifact("libc 1", "libc", "null"),
            r#"{"reason":"build-script-executed","package_id":"libc 1"}"#.to_owned(),
            artifact("podsync 1", "podsync", r#""/t/podsync""#),
        ];
        let made = Made::of(&said.join("\n")).unwrap();
        assert_eq!(made.packages.len(), 2);
        assert_eq!(made.program, Path::new("/t/podsync"));
        let fresh = said[3].replace("false", "true");
        assert!(Made::of(&fresh).is_err());
        assert!(Made::of(&said[0]).is_err());
    }
}
