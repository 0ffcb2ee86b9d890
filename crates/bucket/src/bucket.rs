//! Presigned requests: requested from the hub, checked, and judged by the bucket's answer.
//!
//! Servers answer differently to an expired URL: on 400, 401 and 403 a new one is requested, once.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use podsync_api::hub::{
    Action, Actions, BatchOperation, BatchRequest, BatchedId, BatchedObject, HubErrorCode,
    ObjectId, ObjectRef,
};
use reqwest::{StatusCode, Url};

use crate::{Hub, TransferError, hub::Patience, said::Said, wire};

/// The most headers of a presigned request, and the most bytes of each.
const MAX_HEADERS: usize = 16;
const MAX_HEADER_LEN: usize = 4096;
const MAX_HREF_LEN: usize = 16 << 10;
/// Headers that would change a request's framing or destination. The hub may not set them.
const NOT_THE_HUBS: [&str; 7] = [
    "connection",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The hub's answer about one object.
pub(crate) enum Grant {
    /// The object is there: no upload is needed.
    There(ObjectRef),
    Send(Box<Presigned>),
}

/// A request to the bucket that may be sent. Its URL is a credential, so it has no `Debug`.
pub(crate) struct Presigned {
    pub(crate) object: ObjectRef,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// When it was requested, and how long it is valid from then.
    asked: Instant,
    good_for: Duration,
}

impl Presigned {
    pub(crate) fn is_stale(&self) -> bool {
        self.asked.elapsed() >= self.good_for
    }
}

/// How the bucket answered.
pub(crate) enum Verdict {
    Fine,
    /// The object is there already.
    There,
    /// A fresh URL may help.
    Declined(Said),
    NotFound(Said),
    /// It may work later.
    Later(String, Option<Duration>),
    Refused(Said),
}

impl Verdict {
    /// `said` is of the same answer.
    pub(crate) fn of(said: Said, status: StatusCode, headers: &HeaderMap) -> Self {
        match status {
            status if status.is_success() => Self::Fine,
            StatusCode::PRECONDITION_FAILED => Self::There,
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Self::Declined(said)
            }
            StatusCode::NOT_FOUND => Self::NotFound(said),
            // A conflict means that another upload of the same object is running.
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => {
                Self::Later(said.to_string(), wire::retry_after(headers))
            }
            // A lack of space or an unsupported request won't change later.
            StatusCode::INSUFFICIENT_STORAGE
            | StatusCode::NOT_IMPLEMENTED
            | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Self::Refused(said),
            status if status.is_server_error() => {
                Self::Later(said.to_string(), wire::retry_after(headers))
            }
            _ => Self::Refused(said),
        }
    }
}

/// The attempts of one transfer.
pub(crate) struct Tries {
    patience: Patience,
    pauses: backon::ExponentialBackoff,
    renewed: bool,
}

impl Tries {
    pub(crate) fn new(patience: &Patience) -> Self {
        Self {
            patience: *patience,
            pauses: patience.build_pauses(),
            renewed: false,
        }
    }

    /// Bytes moved: resets the pauses.
    pub(crate) fn moved(&mut self) {
        self.pauses = self.patience.build_pauses();
    }

    /// Whether a fresh URL is worth asking for: once.
    pub(crate) fn may_renew(&mut self) -> bool {
        !std::mem::replace(&mut self.renewed, true)
    }

    /// Waits before the next attempt. Returns the last failure if none is left.
    pub(crate) async fn pause(
        &mut self,
        object: &ObjectId,
        reason: String,
        after: Option<Duration>,
    ) -> Result<(), TransferError> {
        let after = after.unwrap_or_default();
        match self.pauses.next() {
            Some(pause) if after <= self.patience.longest_pause => {
                tracing::debug!(
                    object = %crate::error::Short(object),
                    reason,
                    "asking the bucket again"
                );
                tokio::time::sleep(pause.max(after)).await;
                Ok(())
            }
            _ => Err(TransferError::Unavailable {
                object: *object,
                reason,
            }),
        }
    }
}

impl Hub {
    /// Gets one request per object, in the same order.
    pub(crate) async fn grants(&self, request: BatchRequest) -> Result<Vec<Grant>, TransferError> {
        let (asked, operation) = (Instant::now(), request.operation);
        let response = self.batch_of(request).await?;
        let answers = response.objects.into_iter();
        answers
            .map(|answer| grant(operation, answer, asked))
            .collect()
    }

    pub(crate) async fn grant(
        &self,
        operation: BatchOperation,
        object: BatchedId,
    ) -> Result<Grant, TransferError> {
        let request = BatchRequest {
            operation,
            objects: vec![object],
            following: None,
        };
        let mut grants = self.grants(request).await?;
        grants.pop().ok_or(TransferError::Garbled {
            object: object.id,
            what: "the hub's answer does not mention it".to_owned(),
        })
    }
}

fn grant(
    operation: BatchOperation,
    answer: BatchedObject,
    asked: Instant,
) -> Result<Grant, TransferError> {
    let object = answer.object.id;
    if let Some(error) = answer.error {
        return Err(match error.code {
            HubErrorCode::NotFound => TransferError::NotFound {
                object,
                message: error.message.chars().take(200).collect(),
            },
            _ => TransferError::Declined { object, error },
        });
    }
    let action = match (operation, answer.actions) {
        (BatchOperation::Upload, None) => return Ok(Grant::There(answer.object)),
        (BatchOperation::Upload | BatchOperation::Replace, Some(Actions::Upload(action)))
        | (BatchOperation::Download, Some(Actions::Download(action))) => action,
        _ => return Err(garbled(object, "the hub gives no URL for it")),
    };
    let (url, headers) = checked(object, &action)?;
    Ok(Grant::Send(Box::new(Presigned {
        object: answer.object,
        url,
        headers,
        asked,
        good_for: Duration::from_secs(action.expires_in),
    })))
}

fn checked(object: ObjectId, action: &Action) -> Result<(Url, HeaderMap), TransferError> {
    if action.href.len() > MAX_HREF_LEN {
        return Err(garbled(object, "the hub's URL for it is too long"));
    }
    // A parser's error may quote the URL.
    let url =
        Url::parse(&action.href).map_err(|_| garbled(object, "the hub's URL for it is invalid"))?;
    // The bytes are sealed and verified, so a bucket may do without TLS where its operator says so.
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() {
        return Err(garbled(object, "the hub's URL for it is not an HTTP URL"));
    }
    if action.header.len() > MAX_HEADERS {
        return Err(garbled(object, "the hub names too many headers for it"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &action.header {
        let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
        let (Ok(name), Ok(mut value)) = pair else {
            return Err(garbled(object, "the hub names an invalid header for it"));
        };
        if value.len() > MAX_HEADER_LEN || NOT_THE_HUBS.contains(&name.as_str()) {
            return Err(garbled(
                object,
                "the hub names a header that it may not set",
            ));
        }
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok((url, headers))
}

/// Logs the server's words and the place of the request: the bucket's operator needs both.
pub(crate) fn refused(object: ObjectId, said: Said) -> TransferError {
    tracing::warn!(object = %crate::error::Short(&object), %said, "the bucket refuses");
    TransferError::Refused {
        object,
        said: Box::new(said),
    }
}

pub(crate) fn garbled(object: ObjectId, what: &str) -> TransferError {
    TransferError::Garbled {
        object,
        what: what.to_owned(),
    }
}
