//! The little XML that is spoken with an S3 server.

use bytes::Bytes;
use reqsign::time::Timestamp;
use serde::Deserialize;

use super::PAGE_KEYS;
use crate::storage::{Listed, Page};

/// The region for which AWS wants no location constraint.
const DEFAULT_REGION: &str = "us-east-1";

/// Which kinds of public access are blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AccessBlock {
    /// Refuses what sets an ACL that is public. Ceph's RGW 16 takes every write for that.
    pub(super) acls: bool,
    /// The rest: ACLs and policies that are public count for nothing.
    pub(super) rest: bool,
}

impl AccessBlock {
    pub(super) const ALL: Self = Self {
        acls: true,
        rest: true,
    };
    pub(super) const ALL_BUT_ACLS: Self = Self {
        acls: false,
        rest: true,
    };
    pub(super) const NONE: Self = Self {
        acls: false,
        rest: false,
    };

    pub(super) fn xml(self) -> Bytes {
        let Self { acls, rest } = self;
        Bytes::from(format!(
            r#"<PublicAccessBlockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><BlockPublicAcls>{acls}</BlockPublicAcls><IgnorePublicAcls>{rest}</IgnorePublicAcls><BlockPublicPolicy>{rest}</BlockPublicPolicy><RestrictPublicBuckets>{rest}</RestrictPublicBuckets></PublicAccessBlockConfiguration>"#
        ))
    }

    /// `None` if the body is something else: a server without this feature may send another answer.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Configuration {
            block_public_acls: bool,
            ignore_public_acls: bool,
            block_public_policy: bool,
            restrict_public_buckets: bool,
        }
        let text = std::str::from_utf8(body).ok()?;
        let read: Configuration = quick_xml::de::from_str(text).ok()?;
        Some(Self {
            acls: read.block_public_acls,
            rest: read.ignore_public_acls
                && read.block_public_policy
                && read.restrict_public_buckets,
        })
    }
}

/// `region` is of letters, digits and dashes.
pub(super) fn create_bucket(region: &str) -> Bytes {
    if region == DEFAULT_REGION {
        return Bytes::new();
    }
    Bytes::from(format!(
        r#"<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"#
    ))
}

/// A server's error message.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct S3Error {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) region: Option<String>,
}

/// The error that a body holds, if it holds one.
pub(super) fn error(body: &[u8]) -> Option<S3Error> {
    let text = std::str::from_utf8(body).ok()?;
    let error: S3Error = quick_xml::de::from_str(text).ok()?;
    (!error.code.is_empty()).then_some(error)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    is_truncated: bool,
    #[serde(default)]
    contents: Vec<Contents>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: String,
}

/// A page of a listing; its order and its promise to go on are checked, since paging relies on them.
pub(super) fn page(body: &[u8], prefix: &str, after: Option<&str>) -> Result<Page, String> {
    let text = std::str::from_utf8(body).map_err(|_| "a listing that isn't UTF-8")?;
    let result: ListBucketResult =
        quick_xml::de::from_str(text).map_err(|error| format!("a listing: {error}"))?;
    let objects = result
        .contents
        .into_iter()
        .map(listed)
        .collect::<Result<Vec<_>, _>>()?;
    let mut last = after.unwrap_or_default();
    for object in &objects {
        if !object.key.starts_with(prefix) || object.key.as_str() <= last {
            return Err("a listing out of order".to_owned());
        }
        last = &object.key;
    }
    if objects.len() > PAGE_KEYS as usize || (result.is_truncated && objects.is_empty()) {
        return Err("a listing with more keys than were asked for, or without an end".to_owned());
    }
    Ok(Page {
        objects,
        more: result.is_truncated,
    })
}

fn listed(contents: Contents) -> Result<Listed, String> {
    let modified: Timestamp = contents
        .last_modified
        .parse()
        .map_err(|_| "a listing with a time that is none")?;
    Ok(Listed {
        key: contents.key,
        len: contents.size,
        modified: modified.as_system_time(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const LISTING: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>team</Name><Prefix>a</Prefix>
<MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated><KeyCount>2</KeyCount>
<Contents><Key>a&amp;1</Key><LastModified>2026-11-25T18:50:22.250Z</LastModified><ETag>&quot;x&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>a2</Key><LastModified>2026-11-25T18:50:23Z</LastModified><Size>0</Size></Contents>
<NextContinuationToken>t</NextContinuationToken></ListBucketResult>"#;

    #[test]
    fn a_listing_is_read_and_its_order_checked() {
        let page = page(LISTING.as_bytes(), "a", None).unwrap();
        assert!(page.more);
        let first = &page.objects[0];
        assert_eq!((first.key.as_str(), first.len), ("a&1", 7));
        let since = first
            .modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(since.as_millis(), 1_795_632_622_250);
        for (prefix, after) in [("b", None), ("a", Some("a&1")), ("a", Some("b"))] {
            assert!(super::page(LISTING.as_bytes(), prefix, after).is_err());
        }
    }

    #[test]
    fn listings_that_make_no_sense() {
        let endless = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
        for wrong in [
            "",
            "<x/>",
            "{}",
            endless,
            &LISTING.replace("<Size>7</Size>", "<Size>-7</Size>"),
            &LISTING.replace("2026-11-25T18:50:22.250Z", "today"),
        ] {
            assert!(page(wrong.as_bytes(), "a", None).is_err(), "{wrong}");
        }
        assert!(page(b"\xff", "", None).is_err());
    }

    #[test]
    fn what_is_blocked_is_read_back() {
        for block in [
            AccessBlock::ALL,
            AccessBlock::ALL_BUT_ACLS,
            AccessBlock::NONE,
        ] {
            assert_eq!(AccessBlock::read(&block.xml()), Some(block));
        }
        for other in [&b""[..], LISTING.as_bytes(), b"\xff"] {
            assert_eq!(AccessBlock::read(other), None);
        }
    }

    #[test]
    fn errors_are_read_where_there_are_some() {
        let text = "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-west-1</Region><HostId/></Error>";
        let read = error(text.as_bytes()).unwrap();
        assert_eq!(read.region.as_deref(), Some("eu-west-1"));
        for none in ["", "<html><body>502</body></html>", "nonsense"] {
            assert!(error(none.as_bytes()).is_none(), "{none}");
        }
    }
}
