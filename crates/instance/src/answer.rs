//! Reads bounded answers, and the messages of refusals.
//!
//! An error answer is read up to a bound. A body that is too long or cut off still yields the
//! message of its status.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    endpoint::Endpoint,
    error::Error,
    printable::{MAX_MESSAGE_CHARS, printable},
};

/// The most bytes of an answer that is held in memory. `/_localstack/health` has some 2 KiB.
pub(crate) const MAX_ANSWER_LEN: usize = 256 << 10;

/// Reads a whole JSON answer.
pub(crate) async fn json<T: DeserializeOwned>(
    response: Response,
    endpoint: &Endpoint,
    doing: &'static str,
    idle: Duration,
) -> Result<T, Error> {
    let unintelligible = |what: String| Error::Unintelligible {
        endpoint: endpoint.clone(),
        doing,
        what: printable(&what, MAX_MESSAGE_CHARS),
    };
    let bytes = match read(response, idle).await {
        Ok(bytes) => bytes,
        Err(Unread::TooLong) => {
            let limit = MAX_ANSWER_LEN as u64;
            return Err(Error::TooLarge {
                endpoint: endpoint.clone(),
                what: "an answer",
                limit,
            });
        }
        Err(Unread::Silent) => {
            return Err(Error::Stalled {
                endpoint: endpoint.clone(),
                doing,
                after: idle,
            });
        }
        Err(Unread::Broken(_)) => return Err(unintelligible("half an answer".to_owned())),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| unintelligible(format!("JSON that it should not be ({error})")))
}

/// The error for an unsuccessful answer.
pub(crate) async fn refusal(
    response: Response,
    endpoint: &Endpoint,
    doing: &'static str,
    idle: Duration,
) -> Error {
    let (endpoint, status) = (endpoint.clone(), response.status());
    let message = message(response, idle).await;
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Refused {
            endpoint,
            doing,
            status: status.as_u16(),
            message,
        },
        _ => Error::Failed {
            endpoint,
            doing,
            status: status.as_u16(),
            message,
        },
    }
}

/// An answer's message for users, printable. Empty if there is none.
pub(crate) async fn message(response: Response, idle: Duration) -> String {
    let (Ok(bytes) | Err(Unread::Broken(bytes))) = read(response, idle).await else {
        return String::new();
    };
    let text = match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) => [
            &value["error"]["message"],
            &value["message"],
            &value["error"],
        ]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or_default()
        .to_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    // A page or an AWS error document is of no use in one line.
    if text.trim_start().starts_with('<') {
        return String::new();
    }
    printable(&text, MAX_MESSAGE_CHARS)
}

enum Unread {
    TooLong,
    Silent,
    /// The connection ended early, after these bytes.
    Broken(Vec<u8>),
}

async fn read(mut response: Response, idle: Duration) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    loop {
        match timeout(idle, response.chunk()).await {
            Err(_) => return Err(Unread::Silent),
            Ok(Err(_)) => return Err(Unread::Broken(bytes)),
            Ok(Ok(None)) => return Ok(bytes),
            Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() > MAX_ANSWER_LEN => {
                return Err(Unread::TooLong);
            }
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
        }
    }
}
