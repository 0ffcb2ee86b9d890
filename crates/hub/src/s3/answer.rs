//! What a server's refusal means, and whether asking again can help.

use std::fmt;

use super::{Reply, xml};
use crate::storage::StorageError;

/// An answer, or none, that isn't what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    words: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The same request may succeed later.
    Busy,
    /// It won't until an operator has changed something.
    ForGood,
    /// The bucket is in another region: this one, if the server says so.
    Elsewhere(Option<String>),
    Full,
    Garbled,
}

impl Refusal {
    pub(super) fn busy(words: impl Into<String>) -> Self {
        Self::new(Kind::Busy, words)
    }

    pub(super) fn for_good(words: impl Into<String>) -> Self {
        Self::new(Kind::ForGood, words)
    }

    pub(super) fn garbled(words: impl ToString) -> Self {
        Self::new(Kind::Garbled, words.to_string())
    }

    fn new(kind: Kind, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { kind, words }
    }

    pub(super) fn from_reply(reply: &Reply) -> Self {
        let status = reply.status.as_u16();
        let said = xml::error(&reply.body).unwrap_or_default();
        let words = match (said.code.as_str(), said.message.as_str()) {
            ("", _) => format!("status {status}"),
            (code, "") => format!("status {status}, {code}"),
            (code, message) => format!("status {status}, {code}: {message}"),
        };
        let region = || said.region.clone().or_else(|| reply.region.clone());
        let kind = match (status, said.code.as_str()) {
            (301 | 307 | 308, _) => Kind::Elsewhere(region()),
            (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                Kind::Elsewhere(region())
            }
            // A HEAD has no words, but a region that isn't ours tells.
            (400, "") if reply.region.is_some() => Kind::Elsewhere(region()),
            (507, _) | (_, "QuotaExceeded" | "StorageFull" | "XMinioStorageFull") => Kind::Full,
            (
                _,
                "SlowDown" | "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict",
            ) => Kind::Busy,
            (501, _) => Kind::ForGood,
            (429 | 500..=599, _) => Kind::Busy,
            (400 | 401 | 403 | 404 | 409, _) => Kind::ForGood,
            _ => Kind::Garbled,
        };
        let words = match said.code.as_str() {
            "RequestTimeTooSkewed" => format!("{words}; set the hub's clock"),
            "ExpiredToken" | "TokenRefreshRequired" => {
                format!("{words}; the hub's credentials have expired")
            }
            _ => words,
        };
        Self::new(kind, words)
    }

    pub(super) fn may_pass(&self) -> bool {
        self.kind == Kind::Busy
    }

    pub(super) fn into_error(self, bucket: &str, region: &str) -> StorageError {
        let words = self.words;
        match self.kind {
            Kind::Busy => StorageError::Unavailable(words),
            Kind::ForGood => StorageError::Refused(format!("bucket {bucket}: {words}")),
            Kind::Elsewhere(Some(right)) if right != region => StorageError::Refused(format!(
                "bucket {bucket} is in region {right}, not in {region}: set `region = \"{right}\"` ({words})"
            )),
            Kind::Elsewhere(_) => StorageError::Refused(format!(
                "bucket {bucket} is not in region {region}: set the region and endpoint that it is in ({words})"
            )),
            Kind::Full => StorageError::Full(words),
            Kind::Garbled => StorageError::Garbled(words),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn meaning(status: u16, code: &str, region: Option<&str>) -> StorageError {
        let body = match code {
            "" => String::new(),
            code => format!("<Error><Code>{code}</Code><Message>words</Message></Error>"),
        };
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            content_length: None,
            region: region.map(str::to_owned),
            body: Bytes::from(body),
        };
        Refusal::from_reply(&reply).into_error("team", "us-east-1")
    }

    #[test]
    fn another_region_is_named() {
        for (status, code) in [
            (301, "PermanentRedirect"),
            (400, "AuthorizationHeaderMalformed"),
            (400, ""),
        ] {
            let error = meaning(status, code, Some("eu-west-1"));
            let StorageError::Refused(words) = &error else {
                panic!("{error}");
            };
            assert!(words.contains("region = \"eu-west-1\""), "{words}");
        }
    }

    #[test]
    fn what_may_pass_and_what_an_operator_has_to_mend() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, ""),
            (429, ""),
            (400, "RequestTimeout"),
            (409, "OperationAborted"),
        ] {
            let error = meaning(status, code, None);
            assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
        }
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "InvalidAccessKeyId"),
            (403, "RequestTimeTooSkewed"),
            (400, "ExpiredToken"),
            (404, "NoSuchBucket"),
            (409, "BucketAlreadyExists"),
        ] {
            let error = meaning(status, code, None);
            assert!(matches!(error, StorageError::Refused(_)), "{error}");
        }
        assert!(matches!(meaning(507, "", None), StorageError::Full(_)));
        assert!(matches!(meaning(206, "", None), StorageError::Garbled(_)));
    }
}
