//! What a bucket's server can do of all that an S3 server should. The hub tries it, and never goes by the
//! server's name.
//!
//! Until it has tried a server, the hub assumes that it can do all that AWS can. If the server lacks a
//! feature, the hub works around it or leaves it out of what it signs. The record lies in the bucket, for all
//! replicas.

mod table;

use std::{fmt, time::Duration};

use podsync_core::{bounded::Bounded, codec::Format};
use serde::{Deserialize, Serialize};

pub(crate) use self::table::meaning;
pub use self::table::table;

/// The object that the record lies in.
pub const RECORD: &str = "abilities";
/// Where the hub writes the objects with which it tries a server. It removes them afterwards.
pub const PROBES: &str = "probe/";
/// How long a record is valid: after an update a server may do more, or less.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The most bytes of a record.
pub const MAX_RECORD_LEN: usize = 4 << 10;
/// The most bytes of a server's own code in a record.
const MAX_CODE_LEN: usize = 64;

/// Something that the hub would have a server do. The order is that of the table, and of the record: a new one
/// comes last. A hub that doesn't know it yet can't read a record with it, and tries the server anew; one that
/// knows it reads the older records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ability {
    /// Objects are written, read and overwritten with the hub's own credentials.
    Objects,
    /// Keys are listed in order, from any key on.
    Listing,
    /// A presigned URL takes an object.
    PresignedPut,
    /// A presigned URL gives it back.
    PresignedGet,
    /// A part of an object is given as a part.
    Ranges,
    /// A PUT that names another length than was signed is refused.
    BindsLength,
    /// A PUT of other bytes than those of the signed SHA-256 is refused, and nothing of it stays.
    BindsBytes,
    /// A HEAD gives the SHA-256 of the stored bytes, not of the announced ones.
    TellsChecksum,
    /// `If-None-Match: *` leaves an object that is there as it is.
    OnlyNew,
    /// A URL ends when it says so.
    Expiry,
    /// A URL for one key opens no other.
    BindsKey,
    /// The server refuses requests without a signature.
    Private,
    /// Public access can be blocked for good.
    Hardened,
    /// Objects are deleted with the hub's own credentials.
    Deletion,
}

impl Ability {
    pub const ALL: [Self; 14] = [
        Self::Objects,
        Self::Listing,
        Self::PresignedPut,
        Self::PresignedGet,
        Self::Ranges,
        Self::BindsLength,
        Self::BindsBytes,
        Self::TellsChecksum,
        Self::OnlyNew,
        Self::Expiry,
        Self::BindsKey,
        Self::Private,
        Self::Hardened,
        Self::Deletion,
    ];

    /// Without it a team can't share by this bucket.
    pub fn is_needed(self) -> bool {
        matches!(
            self,
            Self::Objects | Self::Listing | Self::PresignedPut | Self::PresignedGet
        )
    }
}

/// How far a server has an ability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grade {
    /// As AWS.
    Ok,
    /// Differs from AWS, and the hub or the members make up for it.
    WorkedAround,
    Missing,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::WorkedAround => "worked around",
            Self::Missing => "missing",
        })
    }
}

/// What the hub found out about an ability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub ability: Ability,
    pub grade: Grade,
    /// HTTP's, of the answer that decided it.
    pub status: u16,
    /// The server's own code in that answer.
    code: Bounded<u8, MAX_CODE_LEN>,
}

impl Finding {
    /// `code` is cut if it is too long.
    pub fn new(ability: Ability, grade: Grade, status: u16, code: &str) -> Self {
        Self {
            ability,
            grade,
            status,
            code: Bounded::first(code.bytes()),
        }
    }

    /// The same answer, as evidence for another ability.
    #[must_use]
    pub fn told_of(&self, ability: Ability, grade: Grade) -> Self {
        Self {
            ability,
            grade,
            ..self.clone()
        }
    }

    /// Such as `501 NotImplemented`.
    pub fn answer(&self) -> String {
        let shown = self.code.iter().filter(|byte| byte.is_ascii_graphic());
        let code: String = shown.map(|byte| char::from(*byte)).collect();
        format!("{} {code}", self.status).trim_end().to_owned()
    }
}

/// What the hub found out about a bucket's server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Unix milliseconds.
    pub probed_ms: u64,
    /// BLAKE3 of where the bucket was: a bucket that was copied to another server has other abilities there.
    pub place: [u8; 32],
    pub findings: Bounded<Finding, { Ability::ALL.len() }>,
}

impl Format for Abilities {
    const NAME: &'static str = "bucket's abilities";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_RECORD_LEN;
}

impl Abilities {
    /// `None` if it wasn't tried: then the hub assumes that the server does as AWS.
    pub fn of(&self, ability: Ability) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.ability == ability)
    }

    /// Whether it can be relied on.
    pub fn has(&self, ability: Ability) -> bool {
        self.of(ability)
            .is_none_or(|finding| finding.grade == Grade::Ok)
    }

    /// The abilities that differ from AWS.
    pub fn lacking(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.grade != Grade::Ok)
    }

    /// Whether a team can share by this bucket.
    pub fn suffice(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.grade != Grade::Missing || !finding.ability.is_needed())
    }

    /// Whether this still counts at `place`.
    pub fn hold(&self, place: &[u8; 32], now_ms: u64) -> bool {
        let lifetime = u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
        // One from the future was written by a clock that is wrong.
        let age = now_ms.checked_sub(self.probed_ms);
        self.place == *place && age.is_some_and(|age| age < lifetime)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn abilities() -> Abilities {
        Abilities {
            probed_ms: 1_795_632_622_250,
            place: [7; 32],
            findings: Bounded::first([
                Finding::new(Ability::Objects, Grade::Ok, 200, ""),
                Finding::new(Ability::OnlyNew, Grade::WorkedAround, 501, "NotImplemented"),
                Finding::new(Ability::BindsBytes, Grade::Missing, 200, ""),
            ]),
        }
    }

    #[test]
    fn the_record_keeps_its_bytes() {
        let hex = HEXLOWER.encode(&abilities().encode());
        let place = "07".repeat(32);
        let code = HEXLOWER.encode(b"NotImplemented");
        assert_eq!(
            hex,
            format!("01aad5ada0a134{place}03 0000c80100 0801f5030e{code} 0602c80100")
                .replace(' ', "")
        );
        assert_eq!(Abilities::decode(&abilities().encode()), Ok(abilities()));
    }

    #[test]
    fn a_record_counts_for_a_day_and_for_one_place() {
        let seen = abilities();
        let day = 24 * 3600 * 1000;
        assert!(seen.hold(&[7; 32], seen.probed_ms));
        assert!(seen.hold(&[7; 32], seen.probed_ms + day - 1));
        assert!(!seen.hold(&[7; 32], seen.probed_ms + day));
        assert!(!seen.hold(&[7; 32], seen.probed_ms - 1));
        assert!(!seen.hold(&[8; 32], seen.probed_ms));
    }

    #[test]
    fn what_was_not_tried_is_taken_as_awss() {
        let seen = abilities();
        assert!(seen.has(Ability::Objects) && seen.has(Ability::Ranges));
        assert!(!seen.has(Ability::OnlyNew) && !seen.has(Ability::BindsBytes));
        assert!(seen.suffice());
        let lacks = |ability| Abilities {
            findings: Bounded::first([Finding::new(ability, Grade::Missing, 403, "AccessDenied")]),
            ..abilities()
        };
        for ability in Ability::ALL {
            assert_eq!(
                lacks(ability).suffice(),
                !ability.is_needed(),
                "{ability:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_are_the_record(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = Abilities::decode(&bytes) {
                prop_assert_eq!(Abilities::decode(&read.encode()), Ok(read));
            }
        }

        #[test]
        fn every_beginning_of_a_record_is_refused(cut in 0usize..60) {
            let bytes = abilities().encode();
            prop_assert!(Abilities::decode(&bytes[..cut.min(bytes.len() - 1)]).is_err());
        }
    }
}
