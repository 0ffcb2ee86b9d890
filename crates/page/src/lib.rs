//! The page's files as Vite built them from `web`, inside the program.
//!
//! `dist` is committed, so that building podsync needs no Node. A test fails if it is older than its sources.

use std::borrow::Cow;

use rust_embed::RustEmbed;

/// The file with the hash of the sources that `dist` was built from. Only the test reads it; it is never served.
const SOURCES: &str = "sources.sha256";

#[derive(RustEmbed)]
#[folder = "dist"]
struct Dist;

/// A file of the page.
pub struct Asset {
    pub bytes: Cow<'static, [u8]>,
    pub content_type: &'static str,
}

/// The file at a URL's path; the page itself at `/`.
pub fn asset(path: &str) -> Option<Asset> {
    let name = match path.strip_prefix('/')? {
        "" => "index.html",
        name => name,
    };
    if name == SOURCES {
        return None;
    }
    let file = Dist::get(name)?;
    let content_type = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    Some(Asset {
        bytes: file.data,
        content_type,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path};

    use flate2::{Compression, write::GzEncoder};
    use sha2::{Digest, Sha256};

    use super::*;

    /// As `web/vite.config.ts` computes it.
    fn hash_of_sources(web: &Path) -> String {
        let mut files = Vec::new();
        let walk = walkdir::WalkDir::new(web)
            .into_iter()
            .filter_entry(|entry| entry.file_name() != "node_modules");
        for entry in walk {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(web).unwrap().to_str().unwrap();
                let hash = Sha256::digest(fs::read(entry.path()).unwrap());
                let hash = data_encoding::HEXLOWER.encode(&hash);
                files.push(format!("{name} {hash}\n"));
            }
        }
        files.sort();
        let hash = Sha256::digest(files.concat());
        data_encoding::HEXLOWER.encode(&hash)
    }

    #[test]
    fn what_is_embedded_was_built_from_the_sources() {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let built = Dist::get(SOURCES).unwrap().data;
        assert_eq!(
            String::from_utf8_lossy(&built).trim(),
            hash_of_sources(&web),
            "crates/page/dist is old: run `npm ci && npm run build` in crates/page/web"
        );
    }

    /// Bytes, gzipped.
    const MAX_LEN: usize = 90_000;

    #[test]
    fn all_files_together_are_small() {
        let gzipped = |name: Cow<'static, str>| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(&Dist::get(&name).unwrap().data).unwrap();
            gzip.finish().unwrap().len()
        };
        let len: usize = Dist::iter().map(gzipped).sum();
        assert!(len <= MAX_LEN, "{len} bytes");
    }

    #[test]
    fn only_the_pages_own_files_are_there() {
        let page = asset("/").unwrap();
        assert!(page.content_type.starts_with("text/html"));
        let text = String::from_utf8(page.bytes.into_owned()).unwrap();
        assert!(!text.contains("<style"), "no inline style");
        assert!(!text.contains("<script>"), "no inline script");
        for name in text
            .split(['"', '\''])
            .filter(|part| part.starts_with("/assets/"))
        {
            assert!(asset(name).is_some(), "{name} isn't there");
        }
        for path in [
            "/sources.sha256",
            "/../Cargo.toml",
            "/nothing",
            "",
            "index.html",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
    }
}
