//! The architecture of a release, by the name that each tool has for it.

use anyhow::{Result, bail};
use object::Architecture;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    pub(crate) fn of(host: &str) -> Result<Self> {
        match host {
            "x86_64-unknown-linux-gnu" => Ok(Self::X86_64),
            "aarch64-unknown-linux-gnu" => Ok(Self::Aarch64),
            other => bail!("there is no release for {other}: use a toolchain for Linux with glibc"),
        }
    }

    /// The triple, as in the files' names: `config/install.sh` asks for these.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.rpm())
    }

    pub(crate) fn deb(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    pub(crate) fn rpm(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The block of a Homebrew formula.
    pub(crate) fn homebrew(self) -> &'static str {
        match self {
            Self::X86_64 => "on_intel",
            Self::Aarch64 => "on_arm",
        }
    }

    pub(crate) fn elf(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::X86_64,
            Self::Aarch64 => Architecture::Aarch64,
        }
    }
}
