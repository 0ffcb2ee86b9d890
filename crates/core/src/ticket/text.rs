//! Secrets as text: a prefix, base32, check bytes; and how one is found in what somebody pasted.
//!
//! Mail programs, chats and terminals break lines, add quotes and labels, and change dashes and case. The check bytes
//! tell where the secret ends: it is read up to each gap in turn until they are right.

use zeroize::Zeroizing;

pub(super) const TICKET: Text = Text {
    what: "ticket",
    family: "podsync",
    versions: 2,
    max_len: 4096,
};
pub(super) const RECOVERY: Text = Text {
    what: "recovery key",
    family: "podsync-recovery",
    versions: 1,
    max_len: 128,
};
const CHECK_LEN: usize = 4;

/// What a ticket's text has room for behind its prefix: 5 bits a letter.
pub(super) const MAX_TICKET_BYTES: usize =
    (super::MAX_TEXT_LEN - "podsync2-".len()) * 5 / 8 - CHECK_LEN;

/// A robot's token has the whole URL of its hub in it: nobody types it, and its runners find the team by it alone.
pub(super) const MAX_TOKEN_BYTES: usize = 700;

/// More than anybody pastes with a secret in it.
const MAX_PASTED_LEN: usize = 16 << 10;
/// How many that seem to begin in it are read.
const MAX_BEGUN: usize = 16;
/// Gaps at which a secret is thought to end, at most: one of the first form has some 80 lines of 60 letters.
const MAX_GAPS: usize = 128;

/// Why a text is no ticket (or recovery key). It never repeats the text: that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("this is not a podsync {what}: one begins with `{prefix}`")]
    NotOne { what: &'static str, prefix: String },
    #[error("this {what} was made by a newer podsync")]
    Newer { what: &'static str },
    #[error("this {what} has a mistyped, missing or extra character")]
    Typo { what: &'static str },
    #[error("this is a recovery key, not a ticket")]
    RecoveryKey,
}

impl TicketError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotOne { .. } => "copy the whole line",
            Self::Newer { .. } => "update this one, then try again",
            Self::Typo { .. } => "copy the whole line again",
            Self::RecoveryKey => "keep it offline, and ask an admin for a ticket",
        })
    }
}

/// How one kind of secret is written: a prefix with its version, then base32 of the bytes and their check.
pub(super) struct Text {
    what: &'static str,
    family: &'static str,
    /// The newest version that is known here, and the one that is written.
    versions: u8,
    /// The most letters behind the prefix.
    max_len: usize,
}

impl Text {
    /// The text of these bytes, which begin with their version.
    pub(super) fn write(&self, bytes: &[u8]) -> Zeroizing<String> {
        let prefix = self.prefix(bytes.first().copied().unwrap_or(self.versions));
        let checked = Zeroizing::new([bytes, &check(&prefix, bytes)].concat());
        let mut text = Zeroizing::new(prefix);
        let letters = Zeroizing::new(
            data_encoding::BASE32_NOPAD
                .encode(&checked)
                .to_ascii_lowercase(),
        );
        text.push_str(&letters);
        text
    }

    /// The bytes of the first secret of this kind in `pasted`.
    pub(super) fn find(&self, pasted: &str) -> Result<Zeroizing<Vec<u8>>, TicketError> {
        let pasted = Pasted::new(pasted);
        let mut error = None;
        let begun = pasted.letters.match_indices(self.family);
        let begun = begun.filter_map(|(at, _)| pasted.version(at + self.family.len()));
        for (version, start) in begun.take(MAX_BEGUN) {
            if version == 0 || version > self.versions.into() {
                let newer = TicketError::Newer { what: self.what };
                error.get_or_insert(newer);
                continue;
            }
            let prefix = self.prefix(version as u8);
            let found = pasted
                .ends(start)
                .take_while(|end| end - start <= self.max_len)
                .find_map(|end| read(&prefix, &pasted.letters[start..end]));
            match found {
                // The version is said twice; the check bytes vouch for both.
                Some(bytes) if bytes.first().copied().map(u32::from) == Some(version) => {
                    return Ok(bytes);
                }
                Some(_) => error = Some(TicketError::Newer { what: self.what }),
                None => error = Some(self.damaged()),
            }
        }
        Err(error.unwrap_or_else(|| self.refusal(&pasted)))
    }

    pub(super) fn damaged(&self) -> TicketError {
        TicketError::Typo { what: self.what }
    }

    fn refusal(&self, pasted: &Pasted) -> TicketError {
        if self.what == TICKET.what && pasted.letters.contains(RECOVERY.family) {
            return TicketError::RecoveryKey;
        }
        TicketError::NotOne {
            what: self.what,
            prefix: self.prefix(self.versions),
        }
    }

    fn prefix(&self, version: u8) -> String {
        format!("{}{version}-", self.family)
    }
}

/// What was pasted: its letters, digits and dashes, and where others lay between them.
struct Pasted {
    letters: Zeroizing<String>,
    /// Ascending; the last is the end.
    gaps: Vec<usize>,
}

impl Pasted {
    fn new(text: &str) -> Self {
        let mut letters = Zeroizing::new(String::with_capacity(text.len().min(MAX_PASTED_LEN)));
        let mut gaps = Vec::new();
        for c in text.chars() {
            if letters.len() >= MAX_PASTED_LEN {
                break;
            }
            match c {
                c if c.is_ascii_alphanumeric() => letters.push(c.to_ascii_lowercase()),
                // Programs that write letters make dashes out of hyphens.
                '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' => letters.push('-'),
                _ if gaps.last() == Some(&letters.len()) => {}
                _ => gaps.push(letters.len()),
            }
        }
        gaps.push(letters.len());
        Self { letters, gaps }
    }

    /// The version that stands at `at`, before a dash, and where that ends.
    fn version(&self, at: usize) -> Option<(u32, usize)> {
        let (version, _) = self.letters[at..].split_once('-')?;
        if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = version.parse().unwrap_or(u32::MAX);
        Some((number, at + version.len() + 1))
    }

    /// Where what begins at `start` may end.
    fn ends(&self, start: usize) -> impl Iterator<Item = usize> {
        let gaps = self.gaps.iter().copied();
        gaps.filter(move |end| *end > start).take(MAX_GAPS)
    }
}

fn read(prefix: &str, letters: &str) -> Option<Zeroizing<Vec<u8>>> {
    let letters = Zeroizing::new(letters.to_ascii_uppercase());
    let mut bytes = data_encoding::BASE32_NOPAD
        .decode(letters.as_bytes())
        .map(Zeroizing::new)
        .ok()?;
    let body = bytes.len().checked_sub(CHECK_LEN)?;
    if bytes[body..] != check(prefix, &bytes[..body]) {
        return None;
    }
    bytes.truncate(body);
    Some(bytes)
}

fn check(prefix: &str, bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(prefix.as_bytes()).update(bytes);
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    check
}
