//! Secrets as text: a prefix, base32, check bytes; and how to find one in pasted text.
//!
//! Mail programs, chats and terminals break lines, add quotes and labels, and change dashes and case. The check bytes
//! show where the secret ends: each gap is tried as the end until they match.

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

/// The bytes that fit after the prefix of a ticket: 5 bits a letter.
pub(super) const MAX_TICKET_BYTES: usize =
    (super::MAX_TEXT_LEN - "podsync2-".len()) * 5 / 8 - CHECK_LEN;

/// A robot's token holds the whole URL of its hub. Nobody types it, and its runners have only it to find the team.
pub(super) const MAX_TOKEN_BYTES: usize = 700;

/// More than anyone pastes around a secret.
const MAX_PASTED_LEN: usize = 16 << 10;
/// The most apparent beginnings of a secret that are tried.
const MAX_BEGUN: usize = 16;
/// The most gaps that are tried as its end: one of the first form has some 80 lines of 60 letters.
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

/// The text form of one kind of secret: a prefix with its version, then base32 of the bytes and their
/// check.
pub(super) struct Text {
    what: &'static str,
    family: &'static str,
    /// The newest known version, which is also the one written.
    versions: u8,
    /// The most letters behind the prefix.
    max_len: usize,
}

impl Text {
    /// The text of these bytes. They begin with their version.
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
                // The version is in the prefix and in the bytes. The check bytes cover both.
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

/// Pasted text: its letters, digits and dashes, and the gaps where other characters lay between
/// them.
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
                // Word processors turn hyphens into dashes.
                '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' => letters.push('-'),
                _ if gaps.last() == Some(&letters.len()) => {}
                _ => gaps.push(letters.len()),
            }
        }
        gaps.push(letters.len());
        Self { letters, gaps }
    }

    /// The version at `at`, before a dash, and where it ends.
    fn version(&self, at: usize) -> Option<(u32, usize)> {
        let (version, _) = self.letters[at..].split_once('-')?;
        if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = version.parse().unwrap_or(u32::MAX);
        Some((number, at + version.len() + 1))
    }

    /// The possible ends of a secret that begins at `start`.
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
