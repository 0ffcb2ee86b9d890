//! Numbers of bytes, and of bytes a second, as people write them.

use podsync_net::MIN_RATE;
use serde::{Deserialize, Serialize};

/// A number of bytes as people write it: `20GB`, `512MiB`, `0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct ByteSize(pub u64);

/// The environment gives bare numbers too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

/// Units by their lower-case names. No unit means bytes.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size; write it as 20GB, 512MiB or 0");
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let bytes = number.parse::<u64>().ok().ok_or_else(wrong)?;
        bytes.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<Written> for ByteSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

/// Writes the number in the largest unit that is exact.
impl From<ByteSize> for String {
    fn from(ByteSize(bytes): ByteSize) -> Self {
        const LARGEST_FIRST: [(&str, u64); 6] = [
            ("TB", 1_000_000_000_000),
            ("GiB", 1 << 30),
            ("GB", 1_000_000_000),
            ("MiB", 1 << 20),
            ("MB", 1_000_000),
            ("KiB", 1 << 10),
        ];
        let fits = LARGEST_FIRST
            .iter()
            .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
        match fits {
            Some((name, unit)) => format!("{}{name}", bytes / unit),
            None => bytes.to_string(),
        }
    }
}

/// Bytes a second: `5MB/s`; `0` for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Rate(pub u64);

impl TryFrom<Written> for Rate {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let bytes = match &written {
            Written::Number(bytes) => *bytes,
            Written::Text(text) => {
                let size = text.strip_suffix("/s").unwrap_or(text).parse::<ByteSize>();
                let wrong = |_| format!("`{text}` is not a rate; write it as 5MB/s, 512KiB/s or 0");
                size.map_err(wrong)?.0
            }
        };
        if (1..MIN_RATE).contains(&bytes) {
            let least = MIN_RATE / 1000;
            return Err(match written {
                Written::Number(number) => {
                    format!("`{number}` is too little: at least {least}KB/s, or 0 for no limit")
                }
                Written::Text(text) => {
                    format!("`{text}` is too little: at least {least}KB/s, or 0 for no limit")
                }
            });
        }
        Ok(Self(bytes))
    }
}

impl From<Rate> for String {
    fn from(Rate(bytes): Rate) -> Self {
        match bytes {
            0 => "0".to_owned(),
            bytes => format!("{}/s", Self::from(ByteSize(bytes))),
        }
    }
}
