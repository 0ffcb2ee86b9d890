//! `cargo xtask dist`: everything that a release consists of, from two programs.
//!
//! All of it is a function of the source, the commit's time and the two programs: made twice, it has the same hashes.
//! A release is whole or not there: it is put together aside, and its folder is renamed at the end.

mod build;
mod deb;
mod dependencies;
mod elf;
mod layout;
mod licences;
mod machine;
mod package;
mod program;
mod recipes;
mod rpm;
mod sbom;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use duct::cmd;
use sha2::{Digest, Sha256};

use xtask::tools::{has, host, root, step, target};

use self::{
    dependencies::Graph, machine::Machine, package::Package, program::Program, recipes::Download,
};

const SUMS: &str = "SHA256SUMS";

#[derive(Args)]
pub(crate) struct Dist {
    /// Build in two target folders and compare the programs
    #[arg(long)]
    twice: bool,
    /// Compile nothing: `podsync` and `podsync-hub` are in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "twice")]
    binaries: Option<PathBuf>,
    /// Go on with a program that is larger than it may be
    #[arg(long)]
    allow_large: bool,
    /// Go on with programs that need a newer glibc than a portable one may
    #[arg(long)]
    allow_newer_glibc: bool,
    /// Where the files go [default: dist/podsync-VERSION in the target folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// How many crates are compiled at once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: Option<u32>,
}

/// What all files of a release have in common.
struct Release {
    version: String,
    machine: Machine,
    /// Seconds since 1970: the only time in any file.
    time: u64,
}

impl Dist {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            cfg!(target_os = "linux"),
            "`cargo xtask dist` makes releases for Linux, on Linux. Elsewhere build with `cargo install --path crates/cli`"
        );
        for (program, package) in [("dpkg-deb", "dpkg"), ("rpmbuild", "rpm")] {
            ensure!(
                has(program, &["--version"]),
                "there is no {program}: install Debian's package {package}"
            );
        }
        let release = Release::new()?;
        let folder = match &self.binaries {
            Some(folder) => folder.clone(),
            None => build::run(&release, self.twice, self.jobs)?,
        };
        let programs = Program::NAMES
            .map(|name| Program::read(name, &folder.join(name), release.machine))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        for program in &programs {
            println!("{}", program.figures());
        }
        for program in &programs {
            program.check_size(self.allow_large)?;
            program.check_glibc(self.allow_newer_glibc)?;
        }
        let out = match self.out {
            Some(out) => std::path::absolute(out)?,
            None => target().join(format!("dist/podsync-{}", release.version)),
        };
        release.write(&programs, &folder, &out)?;
        println!("{}", out.display());
        Ok(())
    }
}

impl Release {
    fn new() -> Result<Self> {
        let time = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(set) => set,
            Err(_) => cmd!("git", "log", "-1", "--format=%ct")
                .dir(root())
                .read()
                .context("git names no time of this commit: set SOURCE_DATE_EPOCH")?,
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Machine::of(&host()?)?,
            time: time
                .trim()
                .parse()
                .context("SOURCE_DATE_EPOCH is no number of seconds")?,
        })
    }

    /// Puts the release together beside `out`, and there when it is whole.
    fn write(&self, programs: &[Program], binaries: &Path, out: &Path) -> Result<()> {
        let parent = out.parent().context("--out must not be the root folder")?;
        ensure!(
            !out.exists() || out.join(SUMS).is_file(),
            "{} is no release: choose another folder with --out",
            out.display()
        );
        fs::create_dir_all(parent)?;
        let aside = tempfile::Builder::new()
            .prefix(".dist-")
            .tempdir_in(parent)?;
        self.fill(programs, binaries, aside.path())?;
        if out.exists() {
            fs::remove_dir_all(out)?;
        }
        fs::rename(aside.path(), out)?;
        let _ = aside.keep();
        fs::set_permissions(out, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn fill(&self, programs: &[Program], binaries: &Path, out: &Path) -> Result<()> {
        let graph = Graph::read(&self.machine.target())?;
        let mut packages = Vec::new();
        for program in programs {
            step(&format!("packages of {}", program.name));
            let tree = graph.of(program.name)?;
            let licences = licences::text(&tree)?;
            let package = Package::new(program, licences, &binaries.join(program.name))?;
            put(
                out,
                &format!("{}-{}", program.name, self.machine.target()),
                &program.bytes,
            )?;
            let bom = sbom::document(self, &tree, &hash(&program.bytes))?;
            let name = format!("{}-{}.cdx.json", program.name, self.version);
            put(out, &name, bom.as_bytes())?;
            deb::make(self, &package, out)?;
            rpm::make(self, &package, out)?;
            packages.push(package);
        }
        let stem = format!("podsync-{}-{}", self.version, self.machine.target());
        let files = packages.iter().flat_map(|package| &package.files);
        let archive = Download::new(
            self,
            format!("{stem}.tar.gz"),
            layout::archive(&stem, files.collect(), self.time)?,
        );
        put(out, &archive.name, &archive.bytes)?;
        let hub = programs
            .iter()
            .find(|program| program.name == Program::HUB)
            .context("there is no hub")?;
        let hub = Download::new(
            self,
            format!("{}-{}", hub.name, self.machine.target()),
            hub.bytes.clone(),
        );
        let formula = recipes::formula(self, &archive);
        put(out, "podsync.rb", formula.as_bytes())?;
        put(
            out,
            "Containerfile",
            recipes::containerfile(self, &hub).as_bytes(),
        )?;
        let script = fs::read(root().join("config/install.sh"))?;
        put(out, "install.sh", &script)?;
        sums(out)
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    fs::write(folder.join(name), bytes).with_context(|| format!("{name} could not be written"))
}

/// Writes what `sha256sum --check` and `config/install.sh` read.
fn sums(out: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        lines.push((name.into_owned(), hash(&fs::read(&path)?)));
    }
    lines.sort();
    let text: String = lines
        .iter()
        .map(|(name, hash)| format!("{hash}  {name}\n"))
        .collect();
    put(out, SUMS, text.as_bytes())
}
