//! A program of the release: its bytes, what it needs, and the limits that it keeps.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use super::{
    elf::{Glibc, Needs},
    machine::Machine,
};

/// What a portable program may need: Debian 11, Ubuntu 20.04 and RHEL 9 have it.
const PORTABLE: Glibc = Glibc(2, 31);
const MB: usize = 1_000_000;

pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) needs: Needs,
}

impl Program {
    pub(crate) const PODSYNC: &str = "podsync";
    pub(crate) const HUB: &str = "podsync-hub";
    pub(crate) const NAMES: [&str; 2] = [Self::PODSYNC, Self::HUB];

    pub(crate) fn read(name: &'static str, file: &Path, machine: Machine) -> Result<Self> {
        let of_the_file = || format!("{} can't be released", file.display());
        let bytes = fs::read(file).with_context(of_the_file)?;
        let needs = Needs::of(&bytes, machine).with_context(of_the_file)?;
        Ok(Self { name, bytes, needs })
    }

    pub(crate) fn figures(&self) -> String {
        let tenths = self.bytes.len() * 10 / MB;
        format!(
            "{}: {}.{} MB of at most {} MB; needs glibc {}{}",
            self.name,
            tenths / 10,
            tenths % 10,
            self.most() / MB,
            self.needs.glibc,
            if self.is_portable() {
                ""
            } else {
                ", so it is NOT PORTABLE"
            }
        )
    }

    pub(crate) fn check_size(&self, allowed: bool) -> Result<()> {
        if self.bytes.len() <= self.most() || allowed {
            return Ok(());
        }
        bail!(
            "{} has {} bytes and may have {}. See what grew with `cargo xtask bench build`, or release it with --allow-large",
            self.name,
            self.bytes.len(),
            self.most()
        )
    }

    pub(crate) fn check_glibc(&self, allowed: bool) -> Result<()> {
        if self.is_portable() || allowed {
            return Ok(());
        }
        bail!(
            "{} needs glibc {}, and a portable program needs at most {PORTABLE}. Build on a system with glibc {PORTABLE}, such as Debian 11, or release it with --allow-newer-glibc",
            self.name,
            self.needs.glibc
        )
    }

    fn is_portable(&self) -> bool {
        self.needs.glibc <= PORTABLE
    }

    fn most(&self) -> usize {
        match self.name {
            Self::HUB => 25 * MB,
            _ => 40 * MB,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn program(name: &'static str, bytes: usize, glibc: Glibc) -> Program {
        let libraries = BTreeSet::new();
        let needs = Needs { glibc, libraries };
        Program {
            name,
            bytes: vec![0; bytes],
            needs,
        }
    }

    #[test]
    fn a_program_keeps_its_limits_or_is_let_through_by_name() {
        let small = program(Program::HUB, 25 * MB, PORTABLE);
        assert!(small.check_size(false).is_ok() && small.check_glibc(false).is_ok());
        assert!(!small.figures().contains("NOT PORTABLE"));
        let large = program(Program::HUB, 25 * MB + 1, Glibc(2, 32));
        assert!(large.check_size(false).is_err() && large.check_glibc(false).is_err());
        assert!(large.check_size(true).is_ok() && large.check_glibc(true).is_ok());
        assert!(
            large
                .figures()
                .contains("glibc 2.32, so it is NOT PORTABLE")
        );
        let podsync = program(Program::PODSYNC, 40 * MB, PORTABLE);
        assert!(podsync.check_size(false).is_ok());
    }
}
