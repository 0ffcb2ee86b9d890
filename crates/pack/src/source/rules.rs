//! Refuses content that must never enter a version: a podsync home, and podsync's own secrets in
//! clear text.
//!
//! The list is short on purpose: these two would compromise a team, and both are recognised reliably, by the
//! file names of a home and the check bytes of a secret. The owner judges everything else.

use std::{collections::BTreeMap, path::Path};

use memchr::memmem::Finder;
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
    let mut marks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in members {
        let (folder, name) = member.rsplit_once('/').unwrap_or(("", member));
        if HOME_MARKS.contains(&name) {
            marks.entry(folder).or_default().push(name);
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

/// The beginning of every podsync secret.
const FAMILY: &[u8] = b"podsync";
/// The longest text of a secret, an old ticket's, with its prefix.
const MAX_SECRET_LEN: usize = 4096 + 32;

/// Searches a stream for secrets, piece by piece.
pub(super) struct Scanner {
    family: Finder<'static>,
    /// The last bytes so far, in which a secret may have begun.
    carried: Vec<u8>,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self {
            family: Finder::new(FAMILY),
            carried: Vec::new(),
        }
    }

    /// A file begins. A secret never spans two files.
    pub(super) fn begin(&mut self) {
        self.carried.clear();
    }

    /// Scans the next piece, and returns the kind of secret that it completes or holds. [`Self::end`] finds one
    /// at the very end.
    pub(super) fn take(&mut self, piece: &[u8]) -> Option<&'static str> {
        if !self.carried.is_empty() {
            let more = piece.len().min(MAX_SECRET_LEN);
            let before = self.carried.len();
            self.carried.extend_from_slice(&piece[..more]);
            let joined = std::mem::take(&mut self.carried);
            let (found, open) = self.search(&joined, more < piece.len());
            if found.is_some() {
                return found;
            }
            if more == piece.len() {
                self.carried = joined[open..].to_vec();
                return None;
            }
            debug_assert!(open >= before, "a secret is no longer than what is joined");
        }
        let (found, open) = self.search(piece, false);
        self.carried.extend_from_slice(&piece[open..]);
        found
    }

    /// The file is over.
    pub(super) fn end(&mut self) -> Option<&'static str> {
        let carried = std::mem::take(&mut self.carried);
        self.search(&carried, true).0
    }

    /// The kind of secret that is complete in these bytes, and the offset at which another may begin that continues
    /// after them. With `is_all` nothing follows.
    fn search(&self, bytes: &[u8], is_all: bool) -> (Option<&'static str>, usize) {
        for at in self.family.find_iter(bytes) {
            let rest = &bytes[at..bytes.len().min(at + MAX_SECRET_LEN)];
            let Some(len) = length(rest) else {
                continue;
            };
            if at + len == bytes.len() && !is_all {
                return (None, at);
            }
            if let Some(what) = secret(&rest[..len]) {
                return (Some(what), at);
            }
        }
        // The last bytes may be the first letters of one.
        let begun = (1..FAMILY.len().min(bytes.len() + 1))
            .rev()
            .find(|len| bytes.ends_with(&FAMILY[..*len]));
        (None, bytes.len() - begun.unwrap_or(0))
    }
}

/// The length of a secret that begins here, as far as visible. None if none begins here. A secret's letters
/// contain no dash, so they are not rescanned for apparent beginnings inside it.
fn length(rest: &[u8]) -> Option<usize> {
    let mut at = FAMILY.len();
    for part in [&b"-recovery"[..], b""] {
        let there = rest[at..].iter().zip(part).take_while(|(a, b)| a == b);
        let there = there.count();
        if at + there == rest.len() {
            return Some(rest.len());
        }
        if there == part.len() {
            at += there;
            break;
        }
    }
    let run =
        |at: usize, has: fn(&u8) -> bool| at + rest[at..].iter().take_while(|c| has(c)).count();
    let version = run(at, u8::is_ascii_digit);
    match rest.get(version) {
        None => Some(version),
        Some(b'-') if version > at => Some(run(version + 1, |letter| {
            letter.is_ascii_lowercase() || matches!(letter, b'2'..=b'7')
        })),
        Some(_) => None,
    }
}

fn secret(text: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(text).ok()?;
    match Ticket::parse(text) {
        Ok(ticket) if ticket.kind == TicketKind::Robot => Some("a robot's token"),
        Ok(_) => Some("a ticket"),
        Err(_) => RecoveryKey::parse(text).ok().map(|_| "a recovery key"),
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
        scanner.begin();
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
        scanner.begin();
        assert_eq!(scanner.take(&whole.as_bytes()[50..]), None, "of two files");
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
