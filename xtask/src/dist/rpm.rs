//! An `.rpm`, by rpmbuild: it finds out itself what the program needs.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use duct::cmd;

use super::{Release, deb, layout::stage, package::Package};

/// Where zsh of Debian looks for completions, and where that of others does.
const ZSH: (&str, &str) = ("share/zsh/vendor-completions", "share/zsh/site-functions");

pub(crate) fn make(release: &Release, package: &Package<'_>, out: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let root = work.path().join("root");
    stage(&package.files, &root)?;
    let zsh = root.join("usr").join(ZSH.0);
    if zsh.exists() {
        fs::rename(zsh, root.join("usr").join(ZSH.1))?;
    }
    let file = work.path().join("package.spec");
    fs::write(&file, spec(release, package, &root))?;
    let top = format!("_topdir {}", work.path().join("rpm").display());
    cmd!(
        "rpmbuild",
        "-bb",
        "--quiet",
        "--target",
        release.machine.rpm(),
        "--define",
        top,
        &file
    )
    .env("SOURCE_DATE_EPOCH", release.time.to_string())
    .stdout_to_stderr()
    .run()
    .with_context(|| format!("rpmbuild could not make the package {}", package.name))?;
    let machine = release.machine.rpm();
    let version = deb::version(&release.version);
    let name = format!("{}-{version}-1.{machine}.rpm", package.name);
    let made = work.path().join("rpm/RPMS").join(machine).join(&name);
    fs::copy(made, out.join(name))?;
    Ok(())
}

fn spec(release: &Release, package: &Package<'_>, root: &Path) -> String {
    let files: String = package
        .files
        .iter()
        .map(|file| {
            let path = file.path.replace(ZSH.0, ZSH.1);
            format!("%attr({:o}, root, root) /usr/{path}\n", file.mode)
        })
        .collect();
    format!(
        "%global __os_install_post %{{nil}}\n\
         %global debug_package %{{nil}}\n\
         %global _build_id_links none\n\
         %global _buildhost podsync\n\
         %global _binary_payload w6.xzdio\n\
         %global use_source_date_epoch_as_buildtime 1\n\
         %global clamp_mtime_to_source_date_epoch 1\n\
         Name: {name}\n\
         Version: {version}\n\
         Release: 1\n\
         Summary: {summary}\n\
         License: Apache-2.0 OR MIT\n\
         URL: {url}\n\
         Requires: ca-certificates\n\
         %description\n\
         {summary}\n\
         %install\n\
         cp -a '{root}/.' '%{{buildroot}}/'\n\
         %preun\n\
         [ \"$1\" = 0 ] || exit 0\n\
         {end}\
         %files\n\
         {files}",
        name = package.name,
        version = deb::version(&release.version),
        summary = package.summary,
        url = env!("CARGO_PKG_REPOSITORY"),
        root = root.display(),
        end = deb::end_processes(package.name),
    )
}
