//! What a program needs of the system that it runs on, read from its ELF file.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, Result, bail, ensure};
use object::{Endianness, Object, elf::DT_NEEDED, read::elf::ElfFile64};

use super::machine::Machine;

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Glibc(pub(crate) u32, pub(crate) u32);

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[derive(Debug)]
pub(crate) struct Needs {
    /// The newest version whose symbols it uses.
    pub(crate) glibc: Glibc,
    pub(crate) libraries: BTreeSet<String>,
}

impl Needs {
    pub(crate) fn of(bytes: &[u8], machine: Machine) -> Result<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes).context("it is no 64-bit ELF file")?;
        ensure!(
            file.architecture() == machine.elf(),
            "it is for {:?} and not for {}",
            file.architecture(),
            machine.rpm()
        );
        Ok(Self {
            glibc: newest(&versions(&file, bytes)?)?,
            libraries: libraries(&file, bytes)?,
        })
    }
}

/// Every version of a library's symbols that it asks for, such as `GLIBC_2.34` and `GCC_3.0`.
fn versions(file: &ElfFile64<'_>, bytes: &[u8]) -> Result<Vec<String>> {
    let (endian, sections) = (file.endian(), file.elf_section_table());
    let Some((mut needed, link)) = sections.gnu_verneed(endian, bytes)? else {
        return Ok(Vec::new());
    };
    let strings = sections.strings(endian, bytes, link)?;
    let mut versions = Vec::new();
    while let Some((_, mut of_a_library)) = needed.next()? {
        while let Some(version) = of_a_library.next()? {
            versions.push(String::from_utf8(version.name(endian, strings)?.to_vec())?);
        }
    }
    Ok(versions)
}

fn newest(versions: &[String]) -> Result<Glibc> {
    let mut newest = Glibc::default();
    for version in versions.iter().filter(|name| name.starts_with("GLIBC_")) {
        newest = newest.max(glibc(version)?);
    }
    Ok(newest)
}

fn glibc(name: &str) -> Result<Glibc> {
    // Not a version: packed relocations, which no older loader reads.
    if name == "GLIBC_ABI_DT_RELR" {
        return Ok(Glibc(2, 36));
    }
    let mut numbers = name.trim_start_matches("GLIBC_").split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok(Glibc(major, minor)),
        _ => bail!("it needs {name}, and no version of glibc is known to have that"),
    }
}

fn libraries(file: &ElfFile64<'_>, bytes: &[u8]) -> Result<BTreeSet<String>> {
    let table = file
        .elf_section_table()
        .dynamic_table(file.endian(), bytes)?;
    let needed = table.iter().filter(|entry| entry.tag == DT_NEEDED);
    needed
        .map(|entry| Ok(String::from_utf8(table.string(entry)?.to_vec())?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_told_by_its_numbers() -> Result<()> {
        let names = ["GLIBC_2.2.5", "GLIBC_2.9", "GCC_3.0", "GLIBC_2.14"];
        assert_eq!(newest(&names.map(str::to_owned))?, Glibc(2, 14));
        assert_eq!(glibc("GLIBC_ABI_DT_RELR")?, Glibc(2, 36));
        assert!(glibc("GLIBC_PRIVATE").is_err());
        Ok(())
    }

    /// This test is itself a program for this machine.
    #[test]
    fn a_program_says_what_it_needs() -> Result<()> {
        let machine = Machine::of(&xtask::tools::host()?)?;
        let bytes = std::fs::read(std::env::current_exe()?)?;
        let needs = Needs::of(&bytes, machine)?;
        assert!(needs.glibc >= Glibc(2, 2), "{needs:?}");
        assert!(needs.libraries.contains("libc.so.6"), "{needs:?}");
        let other = match machine {
            Machine::X86_64 => Machine::Aarch64,
            Machine::Aarch64 => Machine::X86_64,
        };
        assert!(Needs::of(&bytes, other).is_err());
        assert!(Needs::of(&bytes[..1000], machine).is_err());
        Ok(())
    }
}
