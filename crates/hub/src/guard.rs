//! Who may see `/metrics` and `/health/teams`: they name teams and buckets.

use std::{fmt, io, path::Path};

use axum::http::{HeaderMap, header};

use crate::regular;

/// The most bytes of a token's file.
const MAX_TOKEN_LEN: u64 = 4096;
/// Shorter ones can be guessed.
const MIN_TOKEN_LEN: usize = 16;

#[derive(Default)]
pub enum Guard {
    /// Anyone: the hub is a trial on one machine.
    Open,
    /// Anyone who sends `authorization: Bearer` with the token that has this BLAKE3.
    Token(blake3::Hash),
    /// Nobody.
    #[default]
    Closed,
}

impl Guard {
    /// With the token in a file, without the line's end.
    pub fn from_file(file: &Path) -> io::Result<Self> {
        let told = |error: io::Error| {
            let words = format!(
                "{}: {error}; `openssl rand -hex 32` makes one",
                file.display()
            );
            io::Error::new(error.kind(), words)
        };
        let token = regular::read_text(file, MAX_TOKEN_LEN).map_err(told)?;
        let token = token.trim();
        if token.len() < MIN_TOKEN_LEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(io::Error::other(format!(
                "{} is not a token file: it has fewer than 16 letters, or odd ones; `openssl rand -hex 32` makes one",
                file.display()
            )));
        }
        Ok(Self::Token(blake3::hash(token.as_bytes())))
    }

    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Open => true,
            Self::Closed => false,
            Self::Token(token) => {
                let sent = headers.get(header::AUTHORIZATION);
                let sent = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
                // Hashes are compared in constant time.
                sent.is_some_and(|sent| blake3::hash(sent.trim().as_bytes()) == *token)
            }
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Token(_) => "Token(hidden)",
            Self::Closed => "Closed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_the_token_opens() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = "0123456789abcdef";
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let guard = Guard::from_file(&file).unwrap();
        assert!(guard.admits(&sent(&format!("Bearer {token}"))));
        for wrong in ["", "Bearer ", "Bearer 0123456789abcdeg", token] {
            assert!(!guard.admits(&sent(wrong)), "{wrong}");
        }
        assert!(!guard.admits(&HeaderMap::new()));
        assert!(Guard::Open.admits(&HeaderMap::new()));
        assert!(!Guard::Closed.admits(&sent(&format!("Bearer {token}"))));
        assert!(!format!("{guard:?}").contains(token));
        for wrong in ["short", "", "0123456789 abcdef", &"x".repeat(5000)] {
            std::fs::write(&file, wrong).unwrap();
            assert!(Guard::from_file(&file).is_err(), "{wrong}");
        }
        assert!(Guard::from_file(Path::new("/dev/zero")).is_err());
    }
}
