//! The licences of all crates in a program, each text once, with the crates that it came with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};

use xtask::tools::root;

use super::dependencies::{Crate, Tree};

/// How files with a licence or a notice of its authors begin.
const NAMES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "notice",
    "copyright",
    "unlicense",
];
/// No licence is longer; a larger file is something else.
const MAX_BYTES: u64 = 1 << 20;
/// Licences whose text podsync brings along itself.
const OWN: [(&str, &str); 2] = [("MIT", "LICENSE-MIT"), ("Apache-2.0", "LICENSE-APACHE")];
const RULE: &str =
    "================================================================================";

pub(crate) fn text(tree: &Tree<'_>) -> Result<String> {
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut without = Vec::new();
    let foreign = tree.crates.iter().filter(|one| !one.is_ours());
    for one in foreign {
        let found = of_a_crate(one)?;
        if found.is_empty() {
            without.push(by_name(one)?);
        }
        for text in found {
            texts.entry(text).or_default().insert(one.label());
        }
    }
    let mut page = format!(
        "{} {} is built of the crates below.\n",
        tree.root.name, tree.root.version
    );
    for (text, crates) in texts {
        let crates = Vec::from_iter(crates).join("\n");
        page += &format!("\n{RULE}\n{crates}\n\n{}\n", text.trim_end());
    }
    if !without.is_empty() {
        page += &format!(
            "\n{RULE}\nThese came without the text of their licence; it follows.\n\n{}\n",
            without.join("\n")
        );
        for (name, file) in OWN {
            let text = fs::read_to_string(root().join(file))?;
            page += &format!("\n{RULE}\n{name}\n\n{}\n", text.trim_end());
        }
    }
    Ok(page)
}

/// The texts in a crate's source.
fn of_a_crate(one: &Crate) -> Result<Vec<String>> {
    let folder = one.folder()?;
    let mut files: BTreeSet<PathBuf> = one
        .licence_file()
        .map(|file| folder.join(file))
        .into_iter()
        .collect();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if NAMES.iter().any(|begins| name.starts_with(begins)) {
            files.insert(entry.path());
        }
    }
    let mut texts = Vec::new();
    for file in files {
        let about = fs::metadata(&file).with_context(|| format!("{}", file.display()))?;
        if about.is_file() && about.len() <= MAX_BYTES {
            let text = String::from_utf8_lossy(&fs::read(&file)?).replace("\r\n", "\n");
            texts.push(text);
        }
    }
    Ok(texts)
}

/// A crate without a text, and who wrote it.
fn by_name(one: &Crate) -> Result<String> {
    let licence = one.licence().unwrap_or_default();
    let known = |word: &str| OWN.iter().any(|(name, _)| *name == word);
    ensure!(
        licence.split_whitespace().any(known),
        "the source of {} has no text of its licence ({licence}): add the text to xtask's licences.rs",
        one.label()
    );
    let repository = one.repository.as_deref().unwrap_or_default();
    let authors = one.authors.join(", ");
    Ok(format!(
        "{}: {licence}; {authors} {repository}",
        one.label()
    ))
}
