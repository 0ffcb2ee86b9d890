//! The contents of a state by name: the index that the companion plugin writes into it, and the lists
//! of running instances.
//!
//! An index comes from another machine. It is bounded in bytes, count and lengths; names keep every odd
//! character that a resource may have, so whoever prints one has to make it printable.

mod compare;
mod fetch;
mod licensed;
mod plan;

use std::{collections::BTreeMap, fmt};

use podsync_core::bounded::at_most;
use serde::Deserialize;

use crate::{
    printable::{MAX_MESSAGE_CHARS, printable},
    service::Service,
};

pub use compare::{Change, Difference, compare, forecast};
pub use plan::Plan;

/// Where a state has its index.
pub const INDEX_ENTRY: &str = "podsync/index.json";

/// The most bytes of an index: [`MAX_RESOURCES`] with names of some hundred characters. Real ones have
/// a few KiB.
pub const MAX_INDEX_LEN: u64 = 64 << 20;

/// The most resources of an index, as docs/state-index.md says.
pub(crate) const MAX_RESOURCES: usize = 50_000;

/// The format that this podsync reads.
const FORMAT_VERSION: u64 = 1;

/// The most characters of a name or label.
const MAX_NAME_CHARS: usize = 1024;

/// The most characters of a type, a region, or the name of a count.
const MAX_WORD_CHARS: usize = 64;

/// The most counts of a resource; the plugin's have at most four.
const MAX_COUNTS: usize = 16;

/// The resources of a state, sorted and each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub resources: Vec<Resource>,
    /// How many more there are if a limit was reached.
    pub left_out: u64,
}

/// One resource, or, without a name, the number of those of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub place: Place,
    /// What people call it where the name is an id.
    pub label: Option<String>,
    pub counts: BTreeMap<String, u64>,
    /// Two with the same place and digest are equal. None if unknown.
    pub digest: Option<String>,
}

/// The identity of a resource across states.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub service: Service,
    /// None for what all accounts share.
    pub account: Option<String>,
    /// None where the service has no regions.
    pub region: Option<String>,
    pub kind: String,
    pub name: Option<String>,
}

/// Bytes that are no index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("the index is of format {0}, and this podsync reads format {FORMAT_VERSION}")]
    Newer(u64),
    #[error("the index is larger than {MAX_INDEX_LEN} bytes")]
    TooLarge,
    #[error("the index is malformed ({0})")]
    Malformed(String),
}

impl IndexError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Newer(..) => "update podsync",
            Self::TooLarge => "look inside with `podsync export`",
            Self::Malformed(..) => "look inside with `podsync export`",
        })
    }
}

impl Contents {
    /// Reads an index of docs/state-index.md.
    pub fn parse(index: &[u8]) -> Result<Self, IndexError> {
        if index.len() as u64 > MAX_INDEX_LEN {
            return Err(IndexError::TooLarge);
        }
        let json = |error: serde_json::Error| malformed(&error.to_string());
        // Resources of another format need not look like these.
        let RawFormat { format_version } = serde_json::from_slice(index).map_err(json)?;
        if format_version != FORMAT_VERSION {
            return Err(IndexError::Newer(format_version));
        }
        let raw: RawIndex = serde_json::from_slice(index).map_err(json)?;
        let resources = raw.resources.into_iter().map(Resource::try_from);
        Ok(Self::new(
            resources.collect::<Result<_, _>>()?,
            raw.left_out,
        ))
    }

    fn new(mut resources: Vec<Resource>, left_out: u64) -> Self {
        resources.sort_by(|left, right| left.place.cmp(&right.place));
        resources.dedup_by(|left, right| left.place == right.place);
        Self {
            resources,
            left_out,
        }
    }

    /// Only what belongs to `services`; all where there are none.
    pub fn of(mut self, services: &[Service]) -> Self {
        if !services.is_empty() {
            self.resources
                .retain(|resource| services.contains(&resource.place.service));
        }
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.service,
            printable(&self.kind, MAX_WORD_CHARS)
        )?;
        match &self.name {
            Some(name) => write!(f, " {}", printable(name, MAX_NAME_CHARS)),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct RawFormat {
    format_version: u64,
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(deserialize_with = "at_most::<_, _, MAX_RESOURCES>")]
    resources: Vec<RawResource>,
    #[serde(default)]
    left_out: u64,
}

#[derive(Deserialize)]
struct RawResource {
    service: Service,
    account: Option<String>,
    region: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    label: Option<String>,
    #[serde(default)]
    counts: BTreeMap<String, u64>,
    digest: Option<String>,
}

impl TryFrom<RawResource> for Resource {
    type Error = IndexError;

    fn try_from(raw: RawResource) -> Result<Self, IndexError> {
        let short = |text: &str, max| !text.is_empty() && text.chars().nth(max).is_none();
        let optional =
            |text: &Option<String>, max| text.as_ref().is_none_or(|text| short(text, max));
        let hex =
            |text: &String| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let account =
            |text: &String| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        let sound = [
            (raw.account.as_ref().is_none_or(account), "an account"),
            (optional(&raw.region, MAX_WORD_CHARS), "a region"),
            (short(&raw.kind, MAX_WORD_CHARS), "a type"),
            (optional(&raw.name, MAX_NAME_CHARS), "a name"),
            (optional(&raw.label, MAX_NAME_CHARS), "a label"),
            (raw.counts.len() <= MAX_COUNTS, "a number of counts"),
            (
                raw.counts.keys().all(|word| short(word, MAX_WORD_CHARS)),
                "a count",
            ),
            (raw.digest.as_ref().is_none_or(hex), "a digest"),
        ];
        if let Some((_, what)) = sound.iter().find(|(sound, _)| !sound) {
            return Err(malformed(&format!("{what} of {} is none", raw.service)));
        }
        Ok(Self {
            place: Place {
                service: raw.service,
                account: raw.account,
                region: raw.region,
                kind: raw.kind,
                name: raw.name,
            },
            label: raw.label,
            counts: raw.counts,
            digest: raw.digest,
        })
    }
}

fn malformed(what: &str) -> IndexError {
    IndexError::Malformed(printable(what, MAX_MESSAGE_CHARS))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A queue with a digest, in one line.
    pub(crate) fn queue(name: &str, region: &str, digest: char) -> Resource {
        Resource {
            place: Place {
                service: Service::new("sqs").unwrap(),
                account: Some("000000000000".to_owned()),
                region: Some(region.to_owned()),
                kind: "queue".to_owned(),
                name: Some(name.to_owned()),
            },
            label: None,
            counts: BTreeMap::new(),
            digest: Some(digest.to_string().repeat(16)),
        }
    }

    fn one(resource: &str) -> Result<Contents, IndexError> {
        Contents::parse(format!(r#"{{"format_version":1,"resources":[{resource}]}}"#).as_bytes())
    }

    #[test]
    fn an_index_is_sorted_and_names_keep_their_characters() {
        let index = br#"{"format_version":1,"left_out":3,"new":[],"resources":[
            {"service":"sqs","account":"000000000000","region":"us-east-1","type":"queue","name":"b\u001b[2J",
             "counts":{"messages":2},"digest":"0123456789abcdef","later":1},
            {"service":"iam","type":"role","name":"r"},
            {"service":"iam","type":"role","name":"r"}]}"#;
        let contents = Contents::parse(index).unwrap();
        assert_eq!(contents.left_out, 3);
        let names: Vec<_> = contents
            .resources
            .iter()
            .map(|r| r.place.name.as_deref())
            .collect();
        assert_eq!(names, [Some("r"), Some("b\u{1b}[2J")]);
        assert_eq!(
            contents.resources[1].place.to_string(),
            "sqs queue b\u{fffd}[2J"
        );
        let only = contents.of(&[Service::new("iam").unwrap()]);
        assert_eq!(only.resources.len(), 1);
    }

    #[test]
    fn hostile_indexes_are_refused() {
        let long = "x".repeat(MAX_NAME_CHARS + 1);
        for resource in [
            r#"{"type":"queue"}"#.to_owned(),
            r#"{"service":"../x","type":"t"}"#.to_owned(),
            r#"{"service":"s3","type":""}"#.to_owned(),
            r#"{"service":"s3","type":"t","account":"root"}"#.to_owned(),
            r#"{"service":"s3","type":"t","digest":"xyz"}"#.to_owned(),
            r#"{"service":"s3","type":"t","counts":{"n":-1}}"#.to_owned(),
            format!(r#"{{"service":"s3","type":"t","name":"{long}"}}"#),
            format!(r#"{{"service":"s3","type":"t","region":"{long}"}}"#),
        ] {
            assert!(
                matches!(one(&resource), Err(IndexError::Malformed(_))),
                "{resource}"
            );
        }
        let many = vec![r#"{"service":"s3","type":"t"}"#; MAX_RESOURCES + 1].join(",");
        assert!(matches!(one(&many), Err(IndexError::Malformed(_))));
        for text in ["", "[]", "{}", r#"{"resources":[]}"#, "\u{0}"] {
            assert!(Contents::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        let newer = br#"{"format_version":2,"resources":"otherwise"}"#;
        assert_eq!(Contents::parse(newer), Err(IndexError::Newer(2)));
        let deep = format!(r#"{{"format_version":1,"x":{}"#, "[".repeat(1 << 20));
        assert!(Contents::parse(deep.as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            drop(Contents::parse(&bytes));
        }
    }
}
