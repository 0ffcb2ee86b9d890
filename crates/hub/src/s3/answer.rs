//! What a server's refusal means, and whether asking again can help.

use std::fmt;

use super::{call::Reply, xml};
use crate::storage::{StorageError, Trouble};

/// An answer, or none, that isn't what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    /// Status and the server's own code; empty if there was no answer.
    code: String,
    words: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The same request may succeed later.
    Busy,
    /// It won't until an operator has changed something.
    ForGood,
    /// There is no such bucket.
    Gone,
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
        Self {
            kind,
            code: String::new(),
            words: words.into(),
        }
    }

    pub(super) fn from_reply(reply: &Reply) -> Self {
        let status = reply.status.as_u16();
        let said = xml::error(&reply.body).unwrap_or_default();
        let code = reply.code();
        let region = || {
            said.region
                .clone()
                .or_else(|| reply.word("x-amz-bucket-region"))
        };
        let kind = match (status, said.code.as_str()) {
            (301 | 307 | 308, _) => Kind::Elsewhere(region()),
            (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                Kind::Elsewhere(region())
            }
            // A HEAD has no body with a message, but a wrong region gives it away.
            (400, "") if region().is_some() => Kind::Elsewhere(region()),
            (507, _) | (_, "QuotaExceeded" | "StorageFull" | "XMinioStorageFull") => Kind::Full,
            (
                _,
                "SlowDown" | "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict",
            ) => Kind::Busy,
            (404, "NoSuchBucket") => Kind::Gone,
            // If a server lacks a feature, trying again doesn't help.
            (501 | 505, _) | (_, "NotImplemented") => Kind::ForGood,
            (429 | 500..=599, _) => Kind::Busy,
            (400 | 401 | 403 | 404 | 405 | 409 | 411 | 412 | 413 | 416, _) => Kind::ForGood,
            _ => Kind::Garbled,
        };
        let message = said.message;
        let words = match said.code.as_str() {
            "RequestTimeTooSkewed" => format!("{message}; set the hub's clock"),
            "ExpiredToken" | "TokenRefreshRequired" => {
                format!("{message}; the hub's credentials have expired")
            }
            _ => message,
        };
        Self { kind, code, words }
    }

    /// A server that speaks TLS answers so to who doesn't, in words that are no S3 server's.
    pub(super) fn told_over_http(mut self) -> Self {
        if self.kind == Kind::ForGood && self.code == "400" {
            "if the server speaks TLS, its endpoint has to begin with https://"
                .clone_into(&mut self.words);
        }
        self
    }

    pub(super) fn may_pass(&self) -> bool {
        self.kind == Kind::Busy
    }

    pub(super) fn into_error(self, bucket: &str, region: &str) -> StorageError {
        let trouble = |words: String| Trouble {
            bucket: bucket.to_owned(),
            code: self.code.clone(),
            words,
        };
        let words = self.words.clone();
        let said = if words.is_empty() {
            String::new()
        } else {
            format!(" ({words})")
        };
        match &self.kind {
            Kind::Busy => StorageError::Unavailable(trouble(words)),
            Kind::ForGood => StorageError::Refused(trouble(words)),
            Kind::Gone => StorageError::Gone(trouble(words)),
            Kind::Elsewhere(Some(right)) if right != region => {
                StorageError::Refused(trouble(format!(
                    "it is in region {right}, not in {region}: set `region = \"{right}\"`{said}"
                )))
            }
            Kind::Elsewhere(_) => StorageError::Refused(trouble(format!(
                "it is not in region {region}: set the region and endpoint that it is in{said}"
            ))),
            Kind::Full => StorageError::Full(trouble(words)),
            Kind::Garbled => StorageError::Garbled(trouble(words)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.words.as_str()) {
            ("", words) => f.write_str(words),
            (code, "") => f.write_str(code),
            (code, words) => write!(f, "{code}: {words}"),
        }
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
        let mut headers = http::HeaderMap::new();
        if let Some(region) = region {
            headers.insert("x-amz-bucket-region", region.parse().unwrap());
        }
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from(body),
            sha256: None,
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
            assert!(error.to_string().contains("bucket team: "), "{words}");
            assert!(words.words.contains("region = \"eu-west-1\""), "{words}");
        }
        let StorageError::Refused(trouble) = meaning(301, "", None) else {
            panic!("a redirect that names no region");
        };
        assert!(trouble.words.ends_with("that it is in"), "{trouble}");
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
            (409, "BucketAlreadyExists"),
            (501, "NotImplemented"),
            (501, ""),
            (405, "MethodNotAllowed"),
        ] {
            let error = meaning(status, code, None);
            assert!(matches!(error, StorageError::Refused(_)), "{error}");
        }
        let gone = meaning(404, "NoSuchBucket", None);
        assert!(matches!(gone, StorageError::Gone(_)), "{gone}");
        assert_eq!(gone.trouble().code, "404 NoSuchBucket");
        assert!(matches!(meaning(507, "", None), StorageError::Full(_)));
        assert!(matches!(meaning(206, "", None), StorageError::Garbled(_)));
    }
}
