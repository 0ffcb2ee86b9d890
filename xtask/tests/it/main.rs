//! `cargo xtask dist` with programs that stand in for podsync and its hub: what it makes is installed and removed.
#![cfg(target_os = "linux")]

mod fake;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::tools::{has, host};

use fake::{Binaries, served};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A release in a folder of its own.
struct Made {
    folder: tempfile::TempDir,
    binaries: Binaries,
}

impl Made {
    fn new() -> Result<Self> {
        let made = Self {
            folder: tempfile::tempdir()?,
            binaries: Binaries::build(VERSION)?,
        };
        let ended = dist(made.binaries.folder(), &made.out(), "022")?;
        ensure!(ended.status.success(), "{ended:?}");
        Ok(made)
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.out().join(name)).with_context(|| name.to_owned())
    }

    fn sum(&self, name: &str) -> Result<String> {
        let sums = self.read("SHA256SUMS")?;
        let mut lines = sums.lines().filter_map(|line| line.split_once("  "));
        let line = lines.find(|(_, named)| *named == name);
        Ok(line
            .with_context(|| format!("no {name} in {sums}"))?
            .0
            .to_owned())
    }

    /// The file of a package of `kind`, which is in the names of both programs' packages.
    fn package(&self, program: &str, kind: &str) -> Result<PathBuf> {
        let separator = if kind == "deb" { "_" } else { "-" };
        let begins = format!("{program}{separator}{VERSION}");
        let files = fs::read_dir(self.out())?.collect::<std::io::Result<Vec<_>>>()?;
        let mut paths = files.iter().map(fs::DirEntry::path);
        let of_the_kind = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&begins) && name.ends_with(kind)
        };
        paths.find(of_the_kind).context("no such package")
    }
}

fn dist(binaries: &Path, out: &Path, umask: &str) -> Result<Output> {
    let ended = Command::new("sh")
        .args(["-c", "umask \"$1\" && shift && exec \"$@\"", "-", umask])
        .arg(env!("CARGO_BIN_EXE_xtask"))
        // The toolchain of whoever runs this test may be on a newer system than a release may need.
        .args(["dist", "--allow-newer-glibc", "--binaries"])
        .arg(binaries)
        .arg("--out")
        .arg(out)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()?;
    Ok(ended)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let ended = Command::new(program).args(arguments).output()?;
    ensure!(ended.status.success(), "{program} {arguments:?}: {ended:?}");
    Ok(String::from_utf8(ended.stdout)?)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Whether this machine has what makes packages and what fetches.
fn can_run() -> bool {
    let missing: Vec<_> = ["dpkg-deb", "rpmbuild", "curl"]
        .into_iter()
        .filter(|program| !has(program, &["--version"]))
        .collect();
    if !missing.is_empty() {
        println!("NOT RUN: there is no {missing:?} here");
    }
    missing.is_empty()
}

#[test]
fn a_release_made_again_is_the_same_to_the_byte() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let made = Made::new()?;
    let again = made.folder.path().join("again");
    let ended = dist(made.binaries.folder(), &again, "077")?;
    ensure!(ended.status.success(), "{ended:?}");
    let sums = made.read("SHA256SUMS")?;
    assert_eq!(sums, fs::read_to_string(again.join("SHA256SUMS"))?);
    let files = fs::read_dir(made.out())?.count();
    assert_eq!(sums.lines().count(), files - 1, "a file without a sum");
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(made.out())
        .output()?;
    ensure!(checked.status.success(), "{checked:?}");
    // In place of an older release, whole.
    ensure!(
        dist(made.binaries.folder(), &again, "022")?
            .status
            .success()
    );
    assert_eq!(fs::read_dir(made.folder.path())?.count(), 2);
    Ok(())
}

#[test]
fn recipes_and_bills_name_the_same_files() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let made = Made::new()?;
    let target = host()?;
    let archive = made.sum(&format!("podsync-{VERSION}-{target}.tar.gz"))?;
    let formula = made.read("podsync.rb")?;
    assert!(
        formula.contains(&format!("sha256 \"{archive}\"")),
        "{formula}"
    );
    assert!(
        formula.contains(&format!("assert_equal \"podsync {VERSION}\"")),
        "{formula}"
    );
    let hub = made.sum(&format!("podsync-hub-{target}"))?;
    let image = made.read("Containerfile")?;
    assert!(
        image.contains(&format!("--checksum=sha256:{hub} ")),
        "{image}"
    );

    let bill: Value =
        serde_json::from_str(&made.read(&format!("podsync-hub-{VERSION}.cdx.json"))?)?;
    assert_eq!(
        bill["metadata"]["component"]["hashes"][0]["content"],
        hub.as_str()
    );
    assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let components = bill["components"].as_array().context("no components")?;
    let mut known: Vec<_> = components.iter().map(|one| &one["bom-ref"]).collect();
    known.push(&bill["metadata"]["component"]["bom-ref"]);
    let names: Vec<_> = components.iter().map(|one| &one["name"]).collect();
    assert!(names.contains(&&Value::from("s3s")) && !names.contains(&&Value::from("proptest")));
    for one in bill["dependencies"].as_array().context("no edges")? {
        assert!(known.contains(&&one["ref"]));
        let used = one["dependsOn"].as_array().context("no list")?;
        assert!(used.iter().all(|one| known.contains(&one)), "{one}");
    }
    Ok(())
}

#[test]
fn packages_hold_the_program_its_manual_completions_unit_and_licences() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let made = Made::new()?;
    let of_podsync = [
        "/usr/bin/podsync",
        "/usr/lib/systemd/user/podsync.service",
        "/usr/share/bash-completion/completions/podsync",
        "/usr/share/man/man1/podsync.1.gz",
        "/usr/share/doc/podsync/THIRD-PARTY-LICENSES.gz",
    ];
    let of_the_hub = [
        "/usr/bin/podsync-hub",
        "/usr/lib/systemd/system/podsync-hub.service",
        "/usr/share/doc/podsync-hub/LICENSE-MIT",
    ];
    for (program, files) in [("podsync", &of_podsync[..]), ("podsync-hub", &of_the_hub)] {
        let deb = made.package(program, "deb")?;
        let listed = run("dpkg-deb", &["--contents", text(&deb)])?;
        let rpm = made.package(program, "rpm")?;
        let in_rpm = run("rpm", &["--query", "--package", "--list", text(&rpm)])?;
        for file in files {
            assert!(listed.contains(&format!(" .{file}\n")), "{file}: {listed}");
            assert!(in_rpm.lines().any(|line| line == *file), "{file}: {in_rpm}");
        }
        let all_roots = listed.lines().all(|line| line.contains(" root/root "));
        assert!(all_roots, "{listed}");
        let needs = run("dpkg-deb", &["--field", text(&deb), "Depends"])?;
        assert!(
            needs.contains("libc6 (>= 2.") && needs.contains("ca-certificates"),
            "{needs}"
        );
        let needs = run("rpm", &["--query", "--package", "--requires", text(&rpm)])?;
        assert!(
            needs.contains("libc.so.6(") && needs.contains("ca-certificates"),
            "{needs}"
        );
        let own_place = |listed: &str| listed.contains("/zsh/vendor-completions/_podsync\n");
        assert_eq!(own_place(&listed), program == "podsync");
        assert!(!own_place(&in_rpm), "{in_rpm}");
    }
    let stem = format!("podsync-{VERSION}-{}", host()?);
    let archive = made.out().join(format!("{stem}.tar.gz"));
    let file = format!("{stem}/share/doc/podsync/THIRD-PARTY-LICENSES.gz");
    let licences = run(
        "sh",
        &[
            "-c",
            "tar -xzOf \"$1\" \"$2\" | gzip -d",
            "-",
            text(&archive),
            &file,
        ],
    )?;
    // One came without a text, and one with.
    assert!(licences.contains("\nlibp2p@") && licences.contains("\nserde@"));
    assert!(licences.contains("Permission is hereby granted, free of charge"));
    Ok(())
}

#[test]
fn the_install_script_takes_a_release_and_nothing_that_differs_from_it() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let made = Made::new()?;
    let url = served(made.out())?;
    let home = tempfile::tempdir()?;
    let install = || {
        Command::new("sh")
            .arg(made.out().join("install.sh"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("PODSYNC_URL", &url)
            .env("PODSYNC_VERSION", VERSION)
            .stdin(Stdio::null())
            .output()
    };
    let ended = install()?;
    ensure!(ended.status.success(), "{ended:?}");
    let folder = home.path().join(".local/bin");
    let (installed, released) = (folder.join("podsync"), made.binaries.podsync());
    ensure!(fs::read(&installed)? == fs::read(&released)?, "other bytes");
    assert_eq!(fs::metadata(&installed)?.mode() & 0o777, 0o755);

    let refused = |says: &str| -> Result<()> {
        let ended = install()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            !ended.status.success() && said.contains(says),
            "{says}: {said}"
        );
        ensure!(
            fs::read(&installed)? == fs::read(&released)?,
            "it was replaced"
        );
        ensure!(fs::read_dir(&folder)?.count() == 1, "something was left");
        Ok(())
    };
    let name = format!("podsync-{}", host()?);
    let other = fake::of_another_machine(&fs::read(&released)?);
    fs::write(made.out().join(&name), &other)?;
    refused("and should have")?;
    // With a sum that fits, it is still not for this machine.
    let sum = run("sha256sum", &[text(&made.out().join(&name))])?;
    let sum = sum.split(' ').next().unwrap_or_default();
    fs::write(made.out().join("SHA256SUMS"), format!("{sum}  {name}\n"))?;
    refused("does not run on this machine")
}

#[test]
fn what_cannot_be_released_is_refused_and_leaves_the_folder_alone() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let refused = |binaries: &Path, says: &str| -> Result<()> {
        let ended = dist(binaries, &out, "022")?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            !ended.status.success() && said.contains(says),
            "{says}: {said}"
        );
        ensure!(
            fs::read_dir(folder.path())?.count() == 0,
            "something was left"
        );
        Ok(())
    };
    let binaries = Binaries::build(VERSION)?;
    let hub = binaries.folder().join("podsync-hub");
    let whole = fs::read(&hub)?;
    fs::write(&hub, "#!/bin/sh\n")?;
    refused(binaries.folder(), "no 64-bit ELF file")?;
    fs::write(&hub, fake::of_another_machine(&whole))?;
    refused(binaries.folder(), "and not for")?;
    fs::write(&hub, &whole)?;
    fs::OpenOptions::new()
        .write(true)
        .open(&hub)?
        .set_len(25_000_001)?;
    refused(binaries.folder(), "--allow-large")?;
    fs::remove_file(&hub)?;
    refused(binaries.folder(), "podsync-hub can't be released")?;

    fs::write(&hub, &whole)?;
    fs::create_dir(&out)?;
    fs::write(out.join("mine"), "kept")?;
    let ended = dist(binaries.folder(), &out, "022")?;
    ensure!(!ended.status.success(), "{ended:?}");
    assert_eq!(fs::read_to_string(out.join("mine"))?, "kept");
    Ok(())
}

#[test]
fn removing_the_deb_ends_the_daemon_and_leaves_the_home() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let made = Made::new()?;
    let system = tempfile::tempdir()?;
    for folder in ["updates", "info", "triggers"] {
        fs::create_dir_all(system.path().join("var/lib/dpkg").join(folder))?;
    }
    fs::write(system.path().join("var/lib/dpkg/status"), "")?;
    let dpkg = |arguments: &[&str]| -> Result<()> {
        let path = std::env::var("PATH")?;
        let ended = Command::new("dpkg")
            .arg(format!("--root={}", text(system.path())))
            .arg(format!("--log={}", text(&system.path().join("log"))))
            // There is no glibc and no shell in this root, and whoever runs the test need not be root.
            .args([
                "--force-depends",
                "--force-script-chrootless",
                "--force-not-root",
            ])
            .args(arguments)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .output()?;
        ensure!(ended.status.success(), "{ended:?}");
        Ok(())
    };
    let deb = made.package("podsync", "deb")?;
    dpkg(&["--install", text(&deb)])?;
    let program = system.path().join("usr/bin/podsync");
    assert_eq!(fs::metadata(&program)?.permissions().mode() & 0o777, 0o755);
    assert_eq!(
        run(text(&program), &["--version"])?,
        format!("podsync {VERSION}\n")
    );
    let identity = system
        .path()
        .join("home/alice/.local/share/podsync/identity");
    fs::create_dir_all(identity.parent().context("no folder")?)?;
    fs::write(&identity, "a key")?;
    let mut daemon = Command::new(&program)
        .arg("daemon")
        .stdin(Stdio::piped())
        .spawn()?;
    // An upgrade is not a removal.
    dpkg(&["--install", text(&deb)])?;
    assert!(daemon.try_wait()?.is_none(), "an upgrade ended the daemon");
    dpkg(&["--remove", "podsync"])?;
    // By a signal, not by its own.
    let ended = daemon.wait()?;
    assert_eq!(ended.code(), None, "{ended}");
    assert!(!program.exists());
    assert_eq!(fs::read_to_string(&identity)?, "a key");
    Ok(())
}
