//! What is in the package of a program: the program and what it writes about itself, a unit, and licences.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use xtask::tools::root;

use super::{
    elf::Needs,
    layout::{File, gzip},
    program::Program,
};

/// What `podsync service install` fills in.
const USER_UNIT: &str = include_str!("../../../crates/cli/src/service/podsync.service");
const HUB_UNIT: &str = include_str!("../../../config/systemd/podsync-hub.service");

pub(crate) struct Package<'a> {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) needs: &'a Needs,
    pub(crate) files: Vec<File>,
}

impl<'a> Package<'a> {
    /// `file` is where the program can be run.
    pub(crate) fn new(program: &'a Program, licences: String, file: &Path) -> Result<Self> {
        let name = program.name;
        let mut files = vec![File::program(format!("bin/{name}"), program.bytes.clone())];
        let summary = if name == Program::HUB {
            files.extend(of_the_hub()?);
            "keeps what a team shares by podsync in the organisation's bucket"
        } else {
            files.extend(of_podsync(file)?);
            "peer-to-peer snapshots of LocalStack's state"
        };
        let mut text = |name_of_file: &str, bytes: Vec<u8>| {
            files.push(File::plain(
                format!("share/doc/{name}/{name_of_file}"),
                bytes,
            ));
        };
        for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
            text(licence, fs::read(root().join(licence))?);
        }
        text("copyright", COPYRIGHT.into());
        text("THIRD-PARTY-LICENSES.gz", gzip(licences.as_bytes())?);
        Ok(Self {
            name,
            summary,
            needs: &program.needs,
            files,
        })
    }
}

const COPYRIGHT: &str = "\
podsync is licensed under Apache-2.0 or MIT, at your choice: LICENSE-APACHE and
LICENSE-MIT beside this file. THIRD-PARTY-LICENSES.gz has the licences of all
crates that the program is built of.
";

fn of_the_hub() -> Result<Vec<File>> {
    let unit = HUB_UNIT
        .lines()
        .skip_while(|line| line.starts_with('#'))
        .map(|line| line.replace("/usr/local/bin/", "/usr/bin/") + "\n");
    let settings = fs::read(root().join("config/hub.toml"))?;
    Ok(vec![
        File::plain(
            "lib/systemd/system/podsync-hub.service".to_owned(),
            unit.collect::<String>(),
        ),
        File::plain(
            "share/doc/podsync-hub/examples/hub.toml".to_owned(),
            settings,
        ),
    ])
}

fn of_podsync(file: &Path) -> Result<Vec<File>> {
    let mut files = vec![File::plain(
        "lib/systemd/user/podsync.service".to_owned(),
        user_unit(),
    )];
    let scripts = [
        ("bash", "share/bash-completion/completions/podsync"),
        ("zsh", "share/zsh/vendor-completions/_podsync"),
        ("fish", "share/fish/vendor_completions.d/podsync.fish"),
    ];
    for (shell, path) in scripts {
        let script = said_by(file, ["completions", shell])?;
        ensure!(!script.is_empty(), "there are no completions for {shell}");
        files.push(File::plain(path.to_owned(), script));
    }
    let pages = tempfile::tempdir()?;
    said_by(file, [OsStr::new("man"), pages.path().as_os_str()])?;
    let mut names: Vec<_> = fs::read_dir(pages.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    ensure!(
        names.iter().any(|name| name == "podsync.1"),
        "there is no page podsync.1 among {names:?}"
    );
    for name in names {
        let page = gzip(&fs::read(pages.path().join(&name))?)?;
        files.push(File::plain(format!("share/man/man1/{name}.gz"), page));
    }
    Ok(files)
}

/// The unit for the default home of whoever turns it on.
fn user_unit() -> String {
    let begins = USER_UNIT.lines().skip_while(|line| line.starts_with('#'));
    let own = begins.map(|line| {
        line.replace(" ({description})", "")
            .replace("{program}", "\"/usr/bin/podsync\"")
            .replace(" --home {home}", "")
            + "\n"
    });
    own.collect()
}

/// What a program prints, whatever this machine's settings say.
fn said_by<const N: usize>(file: &Path, arguments: [impl AsRef<OsStr>; N]) -> Result<Vec<u8>> {
    let home = tempfile::tempdir()?;
    let ended = Command::new(std::path::absolute(file)?)
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} does not run", file.display()))?;
    ensure!(
        ended.status.success(),
        "{} failed: {}",
        file.display(),
        String::from_utf8_lossy(&ended.stderr)
    );
    Ok(ended.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_unit_runs_the_installed_program_for_whoever_turns_it_on() {
        let unit = user_unit();
        assert!(unit.contains("ExecStart=\"/usr/bin/podsync\" daemon --log-file\n"));
        assert!(!unit.contains(['{', '}']) && !unit.contains("service install"));
    }

    #[test]
    fn the_hubs_unit_runs_the_installed_program() -> Result<()> {
        let files = of_the_hub()?;
        let unit = String::from_utf8(files[0].bytes.clone())?;
        assert!(unit.contains("ExecStart=/usr/bin/podsync-hub serve"));
        assert!(unit.contains("[Unit]") && !unit.contains("/usr/local"));
        Ok(())
    }
}
