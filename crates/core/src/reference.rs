//! References: how people name a version.
//!
//! A leading `pod:` is always taken off, as LocalStack's own tools do; a pod that is itself called
//! `pod` is therefore written `pod:pod:3`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::name::{MemberName, NameError, PodName, TagName};

/// The fewest hex digits that name a version by its hash.
pub const MIN_HASH_PREFIX: usize = 6;
/// The longest path that is read as a reference.
pub const MAX_PATH_LEN: usize = 4096;

/// A parsed reference that is not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reference {
    /// `orders`: its newest version.
    Pod(PodName),
    /// `orders:3`, or `orders:3@alice` if two people each made a version 3.
    Number {
        pod: PodName,
        number: u64,
        author: Option<MemberName>,
    },
    /// `orders@0f3a91`: the version whose id begins so.
    Hash { pod: PodName, prefix: HashPrefix },
    /// `orders:baseline`.
    Tag { pod: PodName, tag: TagName },
    /// `orders:+1`: saved here, not shared yet.
    Private { pod: PodName, number: u64 },
    /// `./x.snapshot`: a file or folder, no pod at all.
    Path(String),
}

impl Reference {
    /// The pod. None for a path.
    pub fn pod(&self) -> Option<&PodName> {
        match self {
            Self::Pod(pod)
            | Self::Number { pod, .. }
            | Self::Hash { pod, .. }
            | Self::Tag { pod, .. }
            | Self::Private { pod, .. } => Some(pod),
            Self::Path(_) => None,
        }
    }
}

/// The first digits of a version id: 6 to 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HashPrefix(String);

impl HashPrefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex && (MIN_HASH_PREFIX..=64).contains(&text.len())).then(|| Self(text.to_owned()))
    }
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("`{0}` is not a version number")]
    Number(String),
    #[error("`@{0}` is not the beginning of a version id")]
    Hash(String),
    #[error("a path has at most {MAX_PATH_LEN} bytes and no NUL")]
    Path,
}

impl ReferenceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Name(_) => {
                "a reference looks like orders, orders:3, orders:3@alice, orders:baseline or orders:+1"
            }
            Self::Number(_) => "numbers count from 1, and private ones as +1",
            Self::Hash(_) => {
                "give 6 to 64 hex digits, or a number and a member as in orders:3@alice"
            }
            Self::Path => return None,
        })
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if ["./", "../", "/", "~/"]
            .iter()
            .any(|lead| text.starts_with(lead))
        {
            if text.len() > MAX_PATH_LEN || text.contains('\0') {
                return Err(ReferenceError::Path);
            }
            return Ok(Self::Path(text.to_owned()));
        }
        let text = text.strip_prefix("pod:").unwrap_or(text);
        if let Some((pod, selector)) = text.split_once(':') {
            return parse_selector(PodName::new(pod)?, selector);
        }
        let Some((pod, prefix)) = text.split_once('@') else {
            return Ok(Self::Pod(PodName::new(text)?));
        };
        let pod = PodName::new(pod)?;
        let prefix =
            HashPrefix::parse(prefix).ok_or_else(|| ReferenceError::Hash(shown(prefix)))?;
        Ok(Self::Hash { pod, prefix })
    }
}

/// Parses the part after `orders:`.
fn parse_selector(pod: PodName, selector: &str) -> Result<Reference, ReferenceError> {
    if let Some(number) = selector.strip_prefix('+') {
        return Ok(Reference::Private {
            pod,
            number: parse_number(number)?,
        });
    }
    if !selector.starts_with(|c: char| c.is_ascii_digit()) || TagName::new(selector).is_ok() {
        return Ok(Reference::Tag {
            pod,
            tag: TagName::new(selector)?,
        });
    }
    let (number, author) = match selector.split_once('@') {
        Some((number, author)) => (number, Some(MemberName::new(author)?)),
        None => (selector, None),
    };
    Ok(Reference::Number {
        pod,
        number: parse_number(number)?,
        author,
    })
}

fn parse_number(text: &str) -> Result<u64, ReferenceError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number > 0 && !text.starts_with('0') => Ok(number),
        _ => Err(ReferenceError::Number(shown(text))),
    }
}

/// The part of the input that an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lead = match self {
            Self::Pod(_) | Self::Hash { .. } | Self::Path(_) => "",
            _ if self.pod().is_some_and(|pod| pod.as_str() == "pod") => "pod:",
            _ => "",
        };
        f.write_str(lead)?;
        match self {
            Self::Pod(pod) => write!(f, "{pod}"),
            Self::Number {
                pod,
                number,
                author: None,
            } => write!(f, "{pod}:{number}"),
            Self::Number {
                pod,
                number,
                author: Some(author),
            } => write!(f, "{pod}:{number}@{author}"),
            Self::Hash { pod, prefix } => write!(f, "{pod}@{}", prefix.0),
            Self::Tag { pod, tag } => write!(f, "{pod}:{tag}"),
            Self::Private { pod, number } => write!(f, "{pod}:+{number}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(name: &str) -> PodName {
        PodName::new(name).unwrap()
    }

    #[test]
    fn every_form_is_read() {
        let orders = || pod("orders");
        let number = |number, author: Option<&str>| Reference::Number {
            pod: orders(),
            number,
            author: author.map(|name| MemberName::new(name).unwrap()),
        };
        let tag = |tag| Reference::Tag {
            pod: orders(),
            tag: TagName::new(tag).unwrap(),
        };
        for (text, wanted) in [
            ("orders", Reference::Pod(orders())),
            ("pod:orders", Reference::Pod(orders())),
            ("orders:3", number(3, None)),
            ("pod:orders:3", number(3, None)),
            ("orders:3@alice", number(3, Some("alice"))),
            ("orders:baseline", tag("baseline")),
            ("orders:2024-06", tag("2024-06")),
            (
                "orders:+1",
                Reference::Private {
                    pod: orders(),
                    number: 1,
                },
            ),
            (
                "orders@0f3a91",
                Reference::Hash {
                    pod: orders(),
                    prefix: HashPrefix("0f3a91".to_owned()),
                },
            ),
            ("./x.snapshot", Reference::Path("./x.snapshot".to_owned())),
            (
                "pod:pod:3",
                Reference::Number {
                    pod: pod("pod"),
                    number: 3,
                    author: None,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_hint() {
        for text in [
            "",
            ":",
            "orders:",
            "orders:0",
            "orders:03@alice",
            "orders:+0",
            "orders:+-1",
            "orders:99999999999999999999",
            "orders@abc",
            "orders@ABCDEF",
            "orders@",
            "a/b",
            "..",
            "orders:3@",
            "orders:a@b",
            "a\0b",
            "./a\0b",
        ] {
            let error = text.parse::<Reference>().expect_err(text).to_string();
            assert!(error.len() > 20, "{text}: {error}");
        }
        assert!("x".repeat(300).parse::<Reference>().is_err());
    }

    proptest! {
        #[test]
        fn display_round_trips(text in "(pod|orders|x[a-z0-9.]{0,8})(:[1-9][0-9]{0,6}(@[a-z]{1,5})?|:[a-z][a-z0-9.-]{0,8}|:\\+[1-9][0-9]{0,3}|@[0-9a-f]{6,64})?") {
            // `pod:x` is the pod x, so a bare lead before a selector is written out.
            let text = if text.starts_with("pod:") { format!("pod:{text}") } else { text };
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(reference.to_string(), text);
        }
    }
}
