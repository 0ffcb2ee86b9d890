//! Recipes that fetch files of the release by their hashes: a Homebrew formula, and the hub's image.

use super::{Release, hash};

/// A file that a recipe fetches.
pub(crate) struct Download {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    url: String,
}

impl Download {
    pub(crate) fn new(release: &Release, name: String, bytes: Vec<u8>) -> Self {
        let releases = concat!(env!("CARGO_PKG_REPOSITORY"), "/releases/download");
        let url = format!("{releases}/v{}/{name}", release.version);
        Self { name, bytes, url }
    }
}

/// For Linux alone: no program for macOS is made here.
pub(crate) fn formula(release: &Release, archive: &Download) -> String {
    include_str!("podsync.rb")
        .replace("{version}", &release.version)
        .replace("{on_machine}", release.machine.homebrew())
        .replace("{url}", &archive.url)
        .replace("{sha256}", &hash(&archive.bytes))
}

pub(crate) fn containerfile(release: &Release, hub: &Download) -> String {
    include_str!("Containerfile")
        .replace("{version}", &release.version)
        .replace("{platform}", &format!("linux/{}", release.machine.deb()))
        .replace("{url}", &hub.url)
        .replace("{sha256}", &hash(&hub.bytes))
}
