//! The licensed edition's list of resources: a line of JSON for each CloudFormation type.
//!
//! It has no digests, so nothing of it tells whether a resource changed.

use std::collections::BTreeMap;

use podsync_core::bounded::at_most;
use serde::Deserialize;

use super::{Contents, IndexError, MAX_RESOURCES, RawResource, Resource, malformed};
use crate::service::Service;

/// Services whose name in CloudFormation is not LocalStack's in small letters.
const RENAMED: [(&str, &str); 3] = [
    ("certificatemanager", "acm"),
    ("elasticloadbalancingv2", "elbv2"),
    ("kinesisfirehose", "firehose"),
];

#[derive(Deserialize)]
struct Listed {
    region_name: Option<String>,
    account_id: Option<String>,
    id: String,
}

#[derive(Deserialize)]
struct Listing(#[serde(deserialize_with = "at_most::<_, _, MAX_RESOURCES>")] Vec<Listed>);

impl Contents {
    /// Reads what `/_localstack/resources` answers.
    pub(super) fn parse_listing(text: &[u8]) -> Result<Self, IndexError> {
        let mut resources = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let types: BTreeMap<String, Listing> =
                serde_json::from_slice(line).map_err(|error| malformed(&error.to_string()))?;
            for (kind, Listing(listed)) in types {
                let (service, kind) = names(&kind)?;
                for one in listed {
                    if resources.len() == MAX_RESOURCES {
                        return Err(malformed("it has more resources than podsync reads"));
                    }
                    resources.push(resource(service.clone(), kind.clone(), one)?);
                }
            }
        }
        Ok(Self::new(resources, 0))
    }
}

/// `AWS::S3::Bucket` as the index has it: `s3` and `bucket`.
fn names(kind: &str) -> Result<(Service, String), IndexError> {
    let bad = || malformed("a type of a resource is none");
    let mut parts = kind.split("::").skip(1);
    let (service, kind) = (parts.next().ok_or_else(bad)?, parts.next().ok_or_else(bad)?);
    let service = service.to_ascii_lowercase();
    let renamed = RENAMED.iter().find(|(theirs, _)| *theirs == service);
    let service = renamed.map_or(service.as_str(), |(_, ours)| *ours);
    let mut dashed = String::with_capacity(kind.len() + 4);
    let mut after_small = false;
    for letter in kind.chars() {
        if letter.is_ascii_uppercase() && after_small {
            dashed.push('-');
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        dashed.push(letter.to_ascii_lowercase());
    }
    Ok((Service::new(service).map_err(|_| bad())?, dashed))
}

fn resource(service: Service, kind: String, listed: Listed) -> Result<Resource, IndexError> {
    RawResource {
        service,
        account: listed.account_id,
        // What the listing calls the region of services that have none.
        region: listed
            .region_name
            .filter(|region| !matches!(region.as_str(), "" | "global" | "aws-global")),
        kind,
        name: Some(listed.id),
        label: None,
        counts: BTreeMap::new(),
        digest: None,
    }
    .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_become_services_and_kinds() {
        let text = br#"{"AWS::S3::Bucket": [{"region_name": "global", "account_id": "000000000000", "id": "orders"}]}

{"AWS::CertificateManager::Certificate": [{"region_name": "eu-west-1", "account_id": "000000000000", "id": "c"}],
 "AWS::StepFunctions::StateMachine": []}"#;
        // A line is one object: what is broken over two is none.
        assert!(Contents::parse_listing(text).is_err());
        let text = String::from_utf8_lossy(text).replace(",\n", ",");
        let contents = Contents::parse_listing(text.as_bytes()).unwrap();
        let places: Vec<_> = contents
            .resources
            .iter()
            .map(|r| r.place.to_string())
            .collect();
        assert_eq!(places, ["acm certificate c", "s3 bucket orders"]);
        assert_eq!(contents.resources[1].place.region, None);
        assert_eq!(
            names("AWS::StepFunctions::StateMachine").unwrap().1,
            "state-machine"
        );
        assert_eq!(names("AWS::EC2::VPCEndpoint").unwrap().1, "vpcendpoint");
    }

    #[test]
    fn hostile_listings_are_refused() {
        for text in [
            "[]",
            r#"{"AWS::S3": []}"#,
            r#"{"x": []}"#,
            r#"{"AWS::../..::Bucket": []}"#,
            r#"{"AWS::S3::Bucket": [{"id": 1}]}"#,
            r#"{"AWS::S3::Bucket": [{"id": ""}]}"#,
            r#"{"AWS::S3::Bucket": [{"id": "a", "account_id": "root"}]}"#,
        ] {
            assert!(Contents::parse_listing(text.as_bytes()).is_err(), "{text}");
        }
        let line = format!(
            "{}\n",
            serde_json::json!({"AWS::S3::Bucket": vec![serde_json::json!({"id": "b"}); 1000]})
        );
        assert!(Contents::parse_listing(line.repeat(51).as_bytes()).is_err());
        assert_eq!(
            Contents::parse_listing(b"\n\n").unwrap(),
            Contents::default()
        );
    }
}
