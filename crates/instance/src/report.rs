//! An instance's report of a save, in its answer's headers.
//!
//! The lists come from outside: each is bounded, and text in them is made printable.

use std::fmt;

use podsync_core::manifest::MAX_SERVICES;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::{
    printable::{MAX_MESSAGE_CHARS, printable},
    service::Service,
};

/// The most failures that an answer may list; the plugin keeps the list under 4 KiB.
const MAX_FAILURES: usize = 1000;

/// The most kinds of work that an answer may list; LocalStack has less than one a service.
const MAX_KINDS_UNDER_WAY: usize = 100;

/// One thing that an instance could not save.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SaveFailure {
    pub service: Service,
    /// The part of the service, with account and region if known. None for all of it.
    pub object: Option<String>,
    pub reason: String,
}

impl fmt::Display for SaveFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Work of one kind that an instance did while it was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnderWay {
    pub service: Service,
    /// The service's own word for one of it, such as `execution`.
    pub kind: String,
    pub count: u64,
}

pub(crate) struct Report {
    /// None where the instance doesn't say.
    pub(crate) services: Option<Vec<Service>>,
    pub(crate) failed: Vec<SaveFailure>,
    pub(crate) under_way: Vec<UnderWay>,
    pub(crate) quiesced: bool,
}

impl Report {
    /// Or what the instance sent instead.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, &'static str> {
        let services = headers
            .get("x-localstack-pod-services")
            .map(|header| parse_services(header).ok_or("a list of services that is none"))
            .transpose()?;
        let failed = headers
            .get("x-podsync-failed")
            .map_or(Some(Vec::new()), parse_failures)
            .ok_or("a list of failures that is none")?;
        let under_way = headers
            .get("x-podsync-under-way")
            .map_or(Some(Vec::new()), parse_under_way)
            .ok_or("a list of work under way that is none")?;
        let quiesced = headers
            .get("x-podsync-quiesced")
            .is_none_or(|value| value != "false");
        Ok(Self {
            services,
            failed,
            under_way,
            quiesced,
        })
    }
}

fn parse_services(header: &HeaderValue) -> Option<Vec<Service>> {
    let names = header
        .to_str()
        .ok()?
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let mut services: Vec<Service> = names
        .take(MAX_SERVICES + 1)
        .map(Service::new)
        .collect::<Result<_, _>>()
        .ok()?;
    if services.len() > MAX_SERVICES {
        return None;
    }
    services.sort();
    services.dedup();
    Some(services)
}

#[derive(Deserialize)]
struct RawFailure {
    service: Service,
    reason: String,
    account: Option<String>,
    region: Option<String>,
    object: Option<String>,
}

fn parse_failures(header: &HeaderValue) -> Option<Vec<SaveFailure>> {
    let raw: Vec<RawFailure> = serde_json::from_slice(header.as_bytes()).ok()?;
    (raw.len() <= MAX_FAILURES).then(|| raw.into_iter().map(SaveFailure::from).collect())
}

#[derive(Deserialize)]
struct RawUnderWay {
    service: Service,
    kind: String,
    count: u64,
}

fn parse_under_way(header: &HeaderValue) -> Option<Vec<UnderWay>> {
    let raw: Vec<RawUnderWay> = serde_json::from_slice(header.as_bytes()).ok()?;
    let read = |raw: RawUnderWay| UnderWay {
        service: raw.service,
        kind: printable(&raw.kind, MAX_MESSAGE_CHARS),
        count: raw.count,
    };
    (raw.len() <= MAX_KINDS_UNDER_WAY).then(|| raw.into_iter().map(read).collect())
}

impl From<RawFailure> for SaveFailure {
    fn from(raw: RawFailure) -> Self {
        let place: Vec<_> = [raw.account, raw.region, raw.object]
            .into_iter()
            .flatten()
            .collect();
        Self {
            service: raw.service,
            object: (!place.is_empty()).then(|| printable(&place.join("/"), MAX_MESSAGE_CHARS)),
            reason: printable(&raw.reason, MAX_MESSAGE_CHARS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_sorted_and_hostile_lists_refused() {
        let parse = |text: &'static str| parse_services(&HeaderValue::from_static(text));
        let names = |text| {
            parse(text)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("sqs, s3,,sqs"), ["s3", "sqs"]);
        assert!(names("").is_empty());
        assert!(parse("s3,../x").is_none());
        let long = HeaderValue::from_str(&"s3,".repeat(MAX_SERVICES + 1)).unwrap();
        assert!(parse_services(&long).is_none());
    }

    #[test]
    fn work_under_way_is_read_as_the_plugin_writes_it() {
        let parse = |text: &str| parse_under_way(&HeaderValue::from_str(text).unwrap());
        let one = r#"{"service": "stepfunctions", "kind": "execution", "count": 2}"#;
        let read = parse(&format!("[{one}]")).unwrap();
        assert_eq!(read[0].service.as_str(), "stepfunctions");
        assert_eq!((read[0].kind.as_str(), read[0].count), ("execution", 2));
        let negative = one.replace('2', "-2");
        let many = vec![one; MAX_KINDS_UNDER_WAY + 1].join(",");
        for bad in [
            "{}",
            "[{}]",
            "no",
            &format!("[{negative}]"),
            &format!("[{many}]"),
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn failures_are_read_as_the_plugin_writes_them() {
        let parse = |text: &'static str| parse_failures(&HeaderValue::from_static(text));
        let failed = parse(concat!(
            r#"[{"service":"s3","reason":"gone\u001b[2J"},"#,
            r#"{"service":"sqs","account":"1","region":"eu","object":"q","reason":"r"}]"#,
        ));
        let shown: Vec<_> = failed.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["s3: gone\u{fffd}[2J", "sqs 1/eu/q: r"]);
        for bad in ["{}", "[{}]", "no", r#"[{"service":"../x","reason":"r"}]"#] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
