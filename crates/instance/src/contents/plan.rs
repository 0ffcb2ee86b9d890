//! What a load would change, by the instance's own answer: computed from the objects that it would
//! place.
//!
//! It is a separate request, so that an instance which doesn't know it can't mistake it for a load.

use std::io;

use bytes::Bytes;
use futures::Stream;
use podsync_core::{bounded::at_most, manifest::MAX_SERVICES};
use reqwest::StatusCode;
use serde::Deserialize;

use super::{
    Change, Difference, IndexError, MAX_RESOURCES, RawFormat, RawResource, Resource, malformed,
};
use crate::{
    error::Error, instance::Instance, load::LoadRequest, printable::MAX_MESSAGE_CHARS,
    printable::printable, service::Service,
};

/// The format that this podsync reads.
const FORMAT_VERSION: u64 = 1;

/// The path under which an instance plans; one that can't answers 404.
const PATH: &str = "/_localstack/pods/plan";

/// What a load would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of places.
    pub changes: Vec<Change>,
    /// How many more there are, where a limit was reached.
    pub left_out: u64,
    /// Services that can't be loaded and would stay as they are, and why.
    pub failed: Vec<(Service, String)>,
}

impl Plan {
    fn parse(answer: &[u8]) -> Result<Self, IndexError> {
        let json = |error: serde_json::Error| malformed(&error.to_string());
        let RawFormat { format_version } = serde_json::from_slice(answer).map_err(json)?;
        if format_version != FORMAT_VERSION {
            return Err(IndexError::Newer(format_version));
        }
        let raw: RawPlan = serde_json::from_slice(answer).map_err(json)?;
        let mut changes = raw
            .changes
            .into_iter()
            .map(|raw| {
                Ok(Change {
                    difference: raw.change.into(),
                    resource: Resource::try_from(raw.resource)?,
                })
            })
            .collect::<Result<Vec<_>, IndexError>>()?;
        changes.sort_by(|left, right| left.resource.place.cmp(&right.resource.place));
        let failed = raw.failed.into_iter();
        Ok(Self {
            changes,
            left_out: raw.left_out,
            failed: failed
                .map(|failed| {
                    let message = printable(&failed.message, MAX_MESSAGE_CHARS);
                    (failed.service, message)
                })
                .collect(),
        })
    }

    /// Only what belongs to `services`; all where there are none.
    pub fn of(mut self, services: &[Service]) -> Self {
        if !services.is_empty() {
            self.failed
                .retain(|(service, _)| services.contains(service));
        }
        self
    }
}

impl Instance {
    /// What loading a zip would change. The zip must be without what is under `assets/`: bodies change
    /// nothing of the answer. `None` where this instance can't say.
    pub async fn plan<S>(&self, state: S, request: LoadRequest<'_>) -> Result<Option<Plan>, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let environment = self.environment().await?;
        let mut url = self.endpoint().at(PATH);
        url.query_pairs_mut().append_pair("assets", "omitted");
        let response = self.post_state(url, state, &request).await?;
        match response.status() {
            StatusCode::OK => {
                let answer = self.collect(response).await?;
                Plan::parse(&answer)
                    .map(Some)
                    .map_err(|error| self.unreadable(&error))
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => Err(self
                .load_refused(response, &environment, request.saved_by)
                .await),
        }
    }
}

#[derive(Deserialize)]
struct RawPlan {
    #[serde(deserialize_with = "at_most::<_, _, MAX_RESOURCES>")]
    changes: Vec<RawChange>,
    #[serde(default)]
    left_out: u64,
    #[serde(default, deserialize_with = "at_most::<_, _, MAX_SERVICES>")]
    failed: Vec<RawFailed>,
}

#[derive(Deserialize)]
struct RawChange {
    change: RawDifference,
    #[serde(flatten)]
    resource: RawResource,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawDifference {
    Added,
    Changed,
    Removed,
}

impl From<RawDifference> for Difference {
    fn from(raw: RawDifference) -> Self {
        match raw {
            RawDifference::Added => Self::Added,
            RawDifference::Changed => Self::Changed,
            RawDifference::Removed => Self::Removed,
        }
    }
}

#[derive(Deserialize)]
struct RawFailed {
    service: Service,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::{super::MAX_INDEX_LEN, *};

    #[test]
    fn a_plan_is_in_the_order_of_places() {
        let answer = br#"{"format_version":1,"left_out":2,"later":[],
            "failed":[{"service":"s3","message":"no \u001b[2J"}],
            "changes":[
                {"change":"added","service":"sqs","type":"queue","name":"b","counts":{"messages":1}},
                {"change":"removed","service":"iam","type":"role","name":"r"}]}"#;
        let plan = Plan::parse(answer).unwrap();
        let told: Vec<_> = plan
            .changes
            .iter()
            .map(|change| (change.difference, change.resource.place.to_string()))
            .collect();
        assert_eq!(
            told,
            [
                (Difference::Removed, "iam role r".to_owned()),
                (Difference::Added, "sqs queue b".to_owned())
            ]
        );
        assert_eq!(plan.left_out, 2);
        assert_eq!(plan.failed[0].1, "no \u{fffd}[2J");
        assert!(plan.of(&[Service::new("sqs").unwrap()]).failed.is_empty());
    }

    #[test]
    fn hostile_plans_are_refused() {
        for text in [
            "",
            "[]",
            r#"{"changes":[]}"#,
            r#"{"format_version":1}"#,
            r#"{"format_version":1,"changes":[{"service":"sqs","type":"queue"}]}"#,
            r#"{"format_version":1,"changes":[{"change":"eaten","service":"sqs","type":"queue"}]}"#,
            r#"{"format_version":1,"changes":[{"change":"added","service":"../x","type":"queue"}]}"#,
        ] {
            assert!(Plan::parse(text.as_bytes()).is_err(), "{text}");
        }
        let newer = br#"{"format_version":2,"changes":"otherwise"}"#;
        assert_eq!(Plan::parse(newer), Err(IndexError::Newer(2)));
        let one = r#"{"change":"added","service":"sqs","type":"queue"}"#;
        let many = vec![one; MAX_RESOURCES + 1].join(",");
        let many = format!(r#"{{"format_version":1,"changes":[{many}]}}"#);
        assert!(many.len() as u64 <= MAX_INDEX_LEN);
        assert!(Plan::parse(many.as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            drop(Plan::parse(&bytes));
        }
    }
}
