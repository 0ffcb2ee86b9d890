//! A `.deb`, by Debian's own dpkg-deb.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result, bail};
use duct::cmd;

use super::{
    Release,
    elf::Needs,
    layout::{make_folder, stage},
    package::Package,
    program::Program,
};

/// How a process of a removed program ends.
const END_PROCESSES: &str = include_str!("end-processes.sh");
/// systemd would start a hub again.
const STOP_HUB: &str = "\
if [ -z \"${DPKG_ROOT:-}\" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now podsync-hub.service || true
fi
";

pub(crate) fn make(release: &Release, package: &Package<'_>, out: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let root = work.path().join("root");
    stage(&package.files, &root)?;
    let debian = root.join("DEBIAN");
    make_folder(&debian, &root)?;
    write(&debian.join("control"), 0o644, &control(release, package)?)?;
    write(&debian.join("prerm"), 0o755, &before_removal(package.name))?;
    let version = version(&release.version);
    let name = format!("{}_{version}_{}.deb", package.name, release.machine.deb());
    cmd!(
        "dpkg-deb",
        "--root-owner-group",
        "-Zxz",
        "--build",
        &root,
        out.join(name)
    )
    .env("SOURCE_DATE_EPOCH", release.time.to_string())
    // More threads would cut the file into other blocks.
    .env("DPKG_DEB_THREADS_MAX", "1")
    .stdout_to_stderr()
    .run()
    .with_context(|| format!("dpkg-deb could not make the package {}", package.name))?;
    Ok(())
}

/// A version in which a prerelease is older than its release.
pub(crate) fn version(of_cargo: &str) -> String {
    of_cargo.replace('-', "~")
}

fn control(release: &Release, package: &Package<'_>) -> Result<String> {
    let bytes: usize = package.files.iter().map(|file| file.bytes.len()).sum();
    Ok(format!(
        "Package: {}\n\
         Version: {}\n\
         Architecture: {}\n\
         Maintainer: The podsync developers\n\
         Section: utils\n\
         Priority: optional\n\
         Installed-Size: {}\n\
         Depends: {}\n\
         Homepage: {}\n\
         Description: {}\n",
        package.name,
        version(&release.version),
        release.machine.deb(),
        bytes.div_ceil(1024),
        depends(package.needs)?,
        env!("CARGO_PKG_REPOSITORY"),
        package.summary,
    ))
}

fn depends(needs: &Needs) -> Result<String> {
    // Without a certificate of any public CA, no HTTP client can be made.
    let mut packages = BTreeSet::from([
        "ca-certificates".to_owned(),
        format!("libc6 (>= {})", needs.glibc),
    ]);
    for library in &needs.libraries {
        match library.split_once(".so").map(|(name, _)| name) {
            Some("libc" | "libm" | "libdl" | "librt" | "libpthread") => {}
            Some(loader) if loader.starts_with("ld-linux") => {}
            Some("libgcc_s") => drop(packages.insert("libgcc-s1".to_owned())),
            _ => bail!("{library} is of no known package of Debian: name it in xtask's deb.rs"),
        }
    }
    Ok(Vec::from_iter(packages).join(", "))
}

/// The body for the scripts of both kinds of package.
pub(crate) fn end_processes(name: &str) -> String {
    let first = if name == Program::HUB { STOP_HUB } else { "" };
    let rest = END_PROCESSES.replace("{program}", &format!("/usr/bin/{name}"));
    format!("{first}{rest}")
}

/// An upgrade ends nothing: a daemon sees itself that its program was replaced.
fn before_removal(name: &str) -> String {
    format!(
        "#!/bin/sh\nset -e\n[ \"$1\" = remove ] || exit 0\n{}",
        end_processes(name)
    )
}

fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::elf::Glibc, *};

    #[test]
    fn a_package_depends_on_what_its_program_needs() -> Result<()> {
        let needs = |libraries: &[&str]| Needs {
            glibc: Glibc(2, 31),
            libraries: libraries.iter().map(|&name| name.to_owned()).collect(),
        };
        let usual = ["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];
        assert_eq!(
            depends(&needs(&usual))?,
            "ca-certificates, libc6 (>= 2.31), libgcc-s1"
        );
        assert!(depends(&needs(&["libssl.so.3"])).is_err());
        Ok(())
    }

    #[test]
    fn a_prerelease_is_older_than_its_release() {
        assert_eq!(version("1.2.0-rc.1"), "1.2.0~rc.1");
    }
}
