//! Refuses content that must never enter a version: a podsync home, and podsync's own secrets in
//! clear text.
//!
//! The list is short on purpose: these would compromise a team, and they are recognised reliably, by the file
//! names of a home, the check bytes of a secret, and the name and form of a key. The owner judges everything else.
//! Of what a file compresses only a zip's members are looked into, if the zip is saved by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use memchr::memchr2_iter;
use podsync_core::ticket::{RecoveryKey, Ticket, TicketKind};

use super::SourceError;

/// Files that every home has. Two of them together are no coincidence.
const HOME_MARKS: [&str; 6] = [
    "identity",
    "machine",
    "packs.location",
    "log.redb",
    "held.redb",
    "format",
];

const IS_HOME: &str = "is a podsync home, and its keys must not leave this machine";
const IN_HOME: &str = "lies in a podsync home, and its keys must not leave this machine";

/// Whether a folder with files of these names is a home.
pub(super) fn make_a_home<'n>(names: impl IntoIterator<Item = &'n str>) -> bool {
    let marks = names.into_iter().filter(|name| HOME_MARKS.contains(name));
    marks.take(2).count() == 2
}

/// Refuses the inside of a home.
pub(super) fn refuse_inside_of_home(path: &Path) -> Result<(), SourceError> {
    let Ok(path) = path.canonicalize() else {
        return Ok(());
    };
    let is_home = |folder: &&Path| {
        let marks = HOME_MARKS.iter();
        make_a_home(marks.filter(|name| folder.join(name).is_file()).copied())
    };
    match path.ancestors().skip(1).find(is_home) {
        None => Ok(()),
        Some(_) => Err(SourceError::Refused {
            path,
            reason: IN_HOME,
        }),
    }
}

pub(super) fn refuse_home<'n>(
    path: &Path,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), SourceError> {
    if !make_a_home(names) {
        return Ok(());
    }
    Err(SourceError::Refused {
        path: path.to_owned(),
        reason: IS_HOME,
    })
}

/// Refuses a zip with a home in it, by the names of its members.
pub(super) fn refuse_home_among<'n>(
    members: impl IntoIterator<Item = &'n str>,
) -> Result<(), SourceError> {
    let mut marks: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for member in members {
        let (folder, name) = member.rsplit_once('/').unwrap_or(("", member));
        if HOME_MARKS.contains(&name) {
            marks.entry(folder).or_default().insert(name);
        }
    }
    let found = marks.into_iter().find(|(_, names)| names.len() >= 2);
    match found {
        None => Ok(()),
        Some((folder, _)) => Err(SourceError::Refused {
            path: Path::new(if folder.is_empty() { "." } else { folder }).to_owned(),
            reason: IS_HOME,
        }),
    }
}

/// The beginning of every podsync secret, in lower case.
const FAMILY: &[u8] = b"podsync";
/// What comes between the family and the version of a recovery key.
const RECOVERY: &[u8] = b"-recovery";
/// The most letters of a secret, an old ticket's.
const MAX_LETTERS: usize = 4096;
/// The most bytes that a secret may take, with what lies between its letters.
const MAX_SECRET_LEN: usize = 3 * MAX_LETTERS;
/// The most bytes between two letters of a secret: a line break, quotes, an indentation.
const MAX_GAP: usize = 64;
/// The longest file that may be a key by itself: 64 hex digits and a line break.
const MAX_KEY_FILE_LEN: u64 = 66;

/// The kind of secret in a text, such as a message or a file's name.
pub fn secret_in(text: &str) -> Option<&'static str> {
    let mut scanner = Scanner::new();
    let found = scanner.take(text.as_bytes());
    found.or_else(|| scanner.end())
}

/// A name without the secrets in it, for a message.
pub(super) fn without_secrets(name: &str) -> String {
    let part = |part: &str| secret_in(part).map_or_else(|| part.to_owned(), |_| "...".to_owned());
    let parts: Vec<_> = name.split('/').map(part).collect();
    let shown = parts.join("/");
    secret_in(&shown).map_or(shown, |_| "...".to_owned())
}

/// Searches a stream for secrets, piece by piece. It finds what the parser of tickets and keys takes: in any case,
/// broken into lines, in quotes, and in UTF-16.
#[derive(Default)]
pub(super) struct Scanner {
    /// The last bytes so far, in which a secret may have begun.
    carried: Vec<u8>,
    /// The file, if its name and length are those of a key, and its bytes so far.
    key_file: Option<(KeyFile, Vec<u8>)>,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A file begins. A secret never spans two files.
    pub(super) fn begin(&mut self, name: &[u8], len: u64) {
        self.carried.clear();
        self.key_file = KeyFile::of(name, len).map(|kind| (kind, Vec::new()));
    }

    /// Scans the next piece, and returns the kind of secret that it completes or holds. [`Self::end`] finds one
    /// at the very end.
    pub(super) fn take(&mut self, piece: &[u8]) -> Option<&'static str> {
        if let Some((_, bytes)) = &mut self.key_file {
            bytes.extend_from_slice(piece);
        }
        if !self.carried.is_empty() {
            let more = piece.len().min(MAX_SECRET_LEN);
            let before = self.carried.len();
            self.carried.extend_from_slice(&piece[..more]);
            let joined = std::mem::take(&mut self.carried);
            let (found, open) = search(&joined, more < piece.len());
            if found.is_some() {
                return found;
            }
            if more == piece.len() {
                self.carried = joined[open..].to_vec();
                return None;
            }
            debug_assert!(open >= before, "a secret is no longer than what is joined");
        }
        let (found, open) = search(piece, false);
        self.carried.extend_from_slice(&piece[open..]);
        found
    }

    /// The file is over.
    pub(super) fn end(&mut self) -> Option<&'static str> {
        let carried = std::mem::take(&mut self.carried);
        let key_file = self.key_file.take();
        let key = key_file.and_then(|(kind, bytes)| kind.is_one(&bytes));
        key.or_else(|| search(&carried, true).0)
    }
}

/// A key that fills a file and has no check bytes. Its name and its form tell it.
#[derive(Debug, Clone, Copy)]
enum KeyFile {
    /// A device's, in a home.
    Device,
    /// A hub's: its witness key, or the secret of its own bucket.
    Hub,
}

impl KeyFile {
    fn of(name: &[u8], len: u64) -> Option<Self> {
        let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        match name {
            b"identity" if len == 32 => Some(Self::Device),
            b"witness.key" | b"secret" if len <= MAX_KEY_FILE_LEN => Some(Self::Hub),
            _ => None,
        }
    }

    fn is_one(self, bytes: &[u8]) -> Option<&'static str> {
        let bytes = match self {
            Self::Device => return Some("a device's key"),
            Self::Hub => bytes.trim_ascii(),
        };
        (bytes.len() == 64 && bytes.iter().all(u8::is_ascii_hexdigit)).then_some("a hub's key")
    }
}

/// The kind of secret that is complete in these bytes, and the offset at which another may begin that continues
/// after them. With `is_all` nothing follows.
fn search(bytes: &[u8], is_all: bool) -> (Option<&'static str>, usize) {
    for at in memchr2_iter(b'p', b'P', bytes) {
        let rest = &bytes[at..bytes.len().min(at + MAX_SECRET_LEN)];
        let Some(len) = length(rest) else {
            continue;
        };
        if at + len == bytes.len() && len < MAX_SECRET_LEN && !is_all {
            return (None, at);
        }
        if let Some(what) = secret(&rest[..len]) {
            return (Some(what), at);
        }
    }
    (None, bytes.len())
}

/// The length of what may be a secret that begins here, as far as visible, with what lies between its letters. None
/// if none begins here.
fn length(rest: &[u8]) -> Option<usize> {
    let mut letters = Letters { rest, at: 0 };
    for wanted in FAMILY {
        match letters.read() {
            None => return letters.is_open().then_some(rest.len()),
            Some(letter) if letter == *wanted => {}
            Some(_) => return None,
        }
    }
    let mut version = letters;
    for wanted in RECOVERY {
        match version.read() {
            None if version.is_open() => return Some(rest.len()),
            Some(letter) if letter == *wanted => {}
            _ => {
                version = letters;
                break;
            }
        }
    }
    let mut has_digit = false;
    loop {
        match version.read() {
            None => return version.is_open().then_some(rest.len()),
            Some(b'-') if has_digit => break,
            Some(letter) if letter.is_ascii_digit() => has_digit = true,
            Some(_) => return None,
        }
    }
    let is_base32 = |letter: u8| letter.is_ascii_lowercase() || matches!(letter, b'2'..=b'7');
    let mut end = version;
    while let Some(letter) = version.read() {
        if !is_base32(letter) {
            return Some(end.at);
        }
        end = version;
    }
    Some(if version.is_open() {
        rest.len()
    } else {
        end.at
    })
}

/// The letters, digits and dashes of a text in lower case, as the parser of tickets reads them.
#[derive(Clone, Copy)]
struct Letters<'b> {
    rest: &'b [u8],
    /// Behind the last letter.
    at: usize,
}

impl Letters<'_> {
    /// Whether the text ends before it is known whether another letter comes.
    fn is_open(&self) -> bool {
        self.rest.len() - self.at <= MAX_GAP
    }

    /// The next letter. None at the end, or if too much lies before it.
    fn read(&mut self) -> Option<u8> {
        let mut at = self.at;
        while at < self.rest.len() && at - self.at <= MAX_GAP {
            let byte = self.rest[at];
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                self.at = at + 1;
                return Some(byte.to_ascii_lowercase());
            }
            if let Some(len) = dash(&self.rest[at..]) {
                self.at = at + len;
                return Some(b'-');
            }
            at += 1;
        }
        None
    }
}

/// The length of a dash that a word processor put in place of a hyphen.
fn dash(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0xe2, 0x80, 0x90..=0x95, ..] | [0xe2, 0x88, 0x92, ..] => Some(3),
        _ => None,
    }
}

fn secret(text: &[u8]) -> Option<&'static str> {
    // UTF-16 has a zero beside each letter, and the parser tries only so many gaps as the end.
    let text: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&text);
    match Ticket::parse(&text) {
        Ok(ticket) if ticket.kind == TicketKind::Robot => Some("a robot's token"),
        Ok(_) => Some("a ticket"),
        Err(_) => RecoveryKey::parse(&text).ok().map(|_| "a recovery key"),
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::{
        OpId, TeamId,
        ticket::{TicketKind, TicketSecret},
    };

    use super::*;

    fn ticket(kind: TicketKind) -> String {
        let secret = TicketSecret::from_seed(&[7; 32]);
        let (team, op) = (TeamId::of(b"team"), OpId::of(b"op"));
        let ticket = Ticket::new(kind, secret, team, &op, None, &[]);
        ticket.expose_text().to_string()
    }

    fn scan<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Option<&'static str> {
        let mut scanner = Scanner::new();
        scanner.begin(b"notes", 0);
        let found = pieces.into_iter().find_map(|piece| scanner.take(piece));
        found.or_else(|| scanner.end())
    }

    #[test]
    fn secrets_are_found_wherever_the_pieces_end() {
        let recovery = RecoveryKey::from_seed([7; 32]).expose_text().to_string();
        for (text, what) in [
            (ticket(TicketKind::Invite), "a ticket"),
            (ticket(TicketKind::Robot), "a robot's token"),
            (recovery, "a recovery key"),
        ] {
            for around in [("", ""), ("{\"t\": \"", "\"}\n"), ("podsync podsync", "=")] {
                let all = format!("{}{text}{}", around.0, around.1).into_bytes();
                for at in 0..=all.len() {
                    let (before, after) = all.split_at(at);
                    assert_eq!(scan([before, after]), Some(what), "cut at {at}");
                }
                assert_eq!(scan(all.chunks(1)), Some(what));
                assert_eq!(scan(all.chunks(7)), Some(what));
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        let whole = ticket(TicketKind::Invite);
        let typo = whole.replacen("podsync2-a", "podsync2-b", 1);
        for text in [
            &whole[..whole.len() - 1],
            &typo,
            "podsync2-",
            "podsync",
            "pods",
        ] {
            assert_eq!(scan([text.as_bytes()]), None, "{text}");
        }
        for many in [
            &b"podsync"[..],
            b"podsync2",
            b"podsync2-",
            b"podsync-recovery",
        ] {
            let many = many.repeat(100_000);
            assert_eq!(scan(many.chunks(4096)), None);
        }
        let mut scanner = Scanner::new();
        assert_eq!(scanner.take(&whole.as_bytes()[..50]), None);
        scanner.begin(b"other", 0);
        assert_eq!(scanner.take(&whole.as_bytes()[50..]), None, "of two files");
        let apart = format!(
            "{}{}{}",
            &whole[..60],
            " ".repeat(MAX_GAP + 1),
            &whole[60..]
        );
        assert_eq!(scan([apart.as_bytes()]), None, "too much between");
    }

    /// Whatever the parser takes, the scanner finds.
    #[test]
    fn secrets_are_found_in_every_form_that_the_parser_takes() {
        let recovery = RecoveryKey::from_seed([7; 32]).expose_text().to_string();
        for (text, what) in [
            (ticket(TicketKind::Invite), "a ticket"),
            (ticket(TicketKind::Robot), "a robot's token"),
            (recovery, "a recovery key"),
        ] {
            let lines: Vec<_> = text.as_bytes().chunks(20).collect();
            let forms = [
                text.to_ascii_uppercase().into_bytes(),
                lines.join(&b"\r\n    "[..]),
                lines.join(&b"\" +\n\t\""[..]),
                text.replace('-', "\u{2013}").into_bytes(),
                text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            ];
            for form in forms {
                let all = [&b"note: "[..], &form, b"\nthe end.\n"].concat();
                let shown = String::from_utf8_lossy(&form);
                for at in 0..=all.len() {
                    let (before, after) = all.split_at(at);
                    assert_eq!(scan([before, after]), Some(what), "{shown} cut at {at}");
                }
                assert_eq!(scan(all.chunks(1)), Some(what), "{shown}");
                let deep = [&vec![b'p'; 100_000][..], &all, &vec![b' '; 100_000]].concat();
                assert_eq!(scan(deep.chunks(4096)), Some(what), "{shown}");
            }
        }
    }

    #[test]
    fn keys_are_told_by_name_and_form() {
        let scan = |name: &str, content: &[u8]| {
            let mut scanner = Scanner::new();
            scanner.begin(name.as_bytes(), content.len() as u64);
            content
                .chunks(5)
                .find_map(|piece| scanner.take(piece))
                .or_else(|| scanner.end())
        };
        let hex = "ab".repeat(32);
        let line = format!("{hex}\n");
        assert_eq!(scan("identity", &[7; 32]), Some("a device's key"));
        assert_eq!(scan("a/b/identity", &[7; 32]), Some("a device's key"));
        assert_eq!(scan("x/witness.key", line.as_bytes()), Some("a hub's key"));
        assert_eq!(scan("buckets/secret", hex.as_bytes()), Some("a hub's key"));
        assert_eq!(scan("identity", &[7; 33]), None);
        assert_eq!(scan("secret", b"a secret of somebody else"), None);
        assert_eq!(scan("identities", &[7; 32]), None);
    }

    #[test]
    fn a_name_is_shown_without_its_secret() {
        let ticket = ticket(TicketKind::Invite);
        assert_eq!(secret_in(&ticket), Some("a ticket"));
        assert_eq!(without_secrets(&format!("a/{ticket}/b.txt")), "a/.../b.txt");
        let halves = format!("a/{}/{}", &ticket[..50], &ticket[50..]);
        assert_eq!(without_secrets(&halves), "...");
        assert_eq!(without_secrets("a/b"), "a/b");
    }

    #[test]
    fn a_home_is_told_by_two_of_its_files() {
        assert!(make_a_home(["identity", "log.redb", "x"]));
        assert!(!make_a_home(["identity", "x"]));
        assert!(refuse_home_among(["a/identity", "b/log.redb"]).is_ok());
        assert!(refuse_home_among(["a/identity", "a/b/c", "a/log.redb"]).is_err());
        assert!(refuse_home_among(["identity", "log.redb"]).is_err());
    }
}
