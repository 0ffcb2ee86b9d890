//! Reads an object at rising offsets, with one presigned URL and as few requests as planned.
//!
//! A request that is cut resumes where it stopped. Nothing from here is verified.

use std::{collections::VecDeque, ops::Range};

use bytes::{Bytes, BytesMut};
use podsync_api::hub::{BatchOperation, BatchedId, ObjectId};
use reqwest::{Response, StatusCode, Url, header};
use tokio::time::timeout;

use crate::{
    Hub, TransferError,
    bucket::{Grant, Presigned, Tries, Verdict, garbled, refused},
    hub::Patience,
    said::Said,
    wire,
};

/// The most requests for one object, against a server that cuts each after a few bytes.
const MAX_REQUESTS: u64 = 256;

/// 416: the object is shorter than the requested range.
const OUT_OF_RANGE: u16 = 416;

pub(crate) struct Reader<'a> {
    hub: &'a Hub,
    id: ObjectId,
    generation: Option<u32>,
    grant: Option<Box<Presigned>>,
    /// The planned ranges. Without one, a request covers only the bytes of the current read.
    spans: VecDeque<Range<u64>>,
    open: Option<Body>,
    tries: Tries,
    requests: u64,
}

/// A body that is being read.
struct Body {
    response: Response,
    /// Bytes that arrived and weren't read yet. The first is at `position`.
    buffer: Bytes,
    position: u64,
    /// The end of the body, from its headers.
    end: u64,
}

/// Why a body is missing or ended early.
enum Broken {
    Retry(String),
    Final(TransferError),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(hub: &'a Hub, id: ObjectId, generation: Option<u32>) -> Self {
        Self {
            hub,
            id,
            generation,
            grant: None,
            spans: VecDeque::new(),
            open: None,
            tries: Tries::new(hub.0.line.patience()),
            requests: 0,
        }
    }

    /// Announces the ranges that will be read, lowest first.
    pub(crate) fn plan(&mut self, spans: impl Iterator<Item = Range<u64>>) {
        self.spans = spans.collect();
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Reads exactly `len` bytes at `offset`, within the object. Offsets rise.
    pub(crate) async fn read(&mut self, offset: u64, len: u64) -> Result<Bytes, TransferError> {
        let wanted = offset..offset + len;
        let stalled = self.patience().stalled;
        loop {
            let mut body = match self.open.take() {
                Some(body) if body.position <= wanted.start && wanted.end <= body.end => body,
                _ => self.request(&wanted).await?,
            };
            match body.read(&wanted, stalled, self.id).await {
                Ok(bytes) => {
                    self.tries.moved();
                    self.open = (body.position < body.end).then_some(body);
                    return Ok(bytes);
                }
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Retry(reason)) => self.pause(reason, None).await?,
            }
        }
    }

    /// Sends requests until a body with the wanted bytes arrives.
    async fn request(&mut self, wanted: &Range<u64>) -> Result<Body, TransferError> {
        while self
            .spans
            .front()
            .is_some_and(|span| span.end <= wanted.start)
        {
            self.spans.pop_front();
        }
        let planned = self.spans.front().map_or(wanted.end, |span| span.end);
        let range = wanted.start..planned.max(wanted.end).min(self.id.size);
        loop {
            self.requests += 1;
            if self.requests > MAX_REQUESTS {
                return Err(TransferError::Unavailable {
                    object: self.id,
                    reason: format!("the bucket cut {MAX_REQUESTS} requests short"),
                });
            }
            let presigned = match self.grant.take() {
                Some(presigned) if !presigned.is_stale() => presigned,
                _ => self.ask().await?,
            };
            let sent = self.send(&presigned, &range).await;
            let url = presigned.url.clone();
            self.grant = Some(presigned);
            match sent {
                Ok(response) => match self.judge(response, &url, &range).await? {
                    Ok(body) if body.end >= wanted.end => return Ok(body),
                    Ok(_) => {
                        return Err(garbled(self.id, "the bucket sends less than was asked for"));
                    }
                    Err((reason, after)) => self.pause(reason, after).await?,
                },
                Err(reason) => self.pause(reason, None).await?,
            }
        }
    }

    async fn pause(
        &mut self,
        reason: String,
        after: Option<std::time::Duration>,
    ) -> Result<(), TransferError> {
        self.hub.0.line.not_served.note(&reason);
        self.tries.pause(&self.id, reason, after).await
    }

    async fn ask(&self) -> Result<Box<Presigned>, TransferError> {
        let batched = BatchedId {
            id: self.id,
            generation: self.generation,
        };
        match self.hub.grant(BatchOperation::Download, batched).await? {
            Grant::Send(presigned) => Ok(presigned),
            Grant::There(_) => Err(garbled(self.id, "the hub gives no URL for it")),
        }
    }

    async fn send(&self, presigned: &Presigned, range: &Range<u64>) -> Result<Response, String> {
        let mut request = self
            .hub
            .0
            .line
            .http()
            .get(presigned.url.clone())
            .headers(presigned.headers.clone());
        if *range != (0..self.id.size) {
            let range = format!("bytes={}-{}", range.start, range.end - 1);
            request = request.header(header::RANGE, range);
        }
        let stalled = self.patience().stalled;
        match timeout(stalled, request.send()).await {
            Ok(response) => response.map_err(|error| self.hub.0.line.why(error)),
            Err(_) => Err(format!("no answer in {} s", stalled.as_secs())),
        }
    }

    /// Returns a body, or how long to wait before the next attempt.
    async fn judge(
        &mut self,
        response: Response,
        url: &Url,
        range: &Range<u64>,
    ) -> Result<Result<Body, (String, Option<std::time::Duration>)>, TransferError> {
        let object = self.id;
        if response.status().is_success() {
            return self.body(response, range).map(Ok);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let said = Said::read(response, url, self.patience().stalled).await;
        match Verdict::of(said, status, &headers) {
            Verdict::Later(reason, after) => Ok(Err((reason, after))),
            Verdict::Declined(said) => {
                self.grant = None;
                if self.tries.may_renew() {
                    Ok(Err((said.to_string(), None)))
                } else {
                    Err(refused(object, said))
                }
            }
            Verdict::NotFound(said) => Err(TransferError::NotFound {
                object,
                message: said.to_string(),
            }),
            Verdict::Refused(said) if said.status == OUT_OF_RANGE => Err(self.other_length()),
            Verdict::Refused(said) => Err(refused(object, said)),
            Verdict::Fine | Verdict::There => Err(refused(object, Said::bare(status, url))),
        }
    }

    /// Determines the range of a body from its headers. A server may ignore `Range` and send everything, or
    /// send a part with status 200.
    fn body(&self, response: Response, range: &Range<u64>) -> Result<Body, TransferError> {
        let size = self.id.size;
        let content_range = response.headers().get(header::CONTENT_RANGE);
        let given = match response.status() {
            StatusCode::OK if content_range.is_none() => 0..size,
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                let parsed = content_range.and_then(|value| parse(value.to_str().ok()?));
                let Some((given, whole)) = parsed else {
                    return Err(garbled(
                        self.id,
                        "the bucket doesn't say which part it sends",
                    ));
                };
                if whole.is_some_and(|whole| whole != size) {
                    return Err(self.other_length());
                }
                given
            }
            _ => {
                return Err(garbled(
                    self.id,
                    "the bucket answers a GET with an unexpected status",
                ));
            }
        };
        if given.start > range.start || given.end > size {
            return Err(garbled(
                self.id,
                "the bucket sends another part than was asked for",
            ));
        }
        let len = given.end - given.start;
        if response.content_length().is_some_and(|found| found != len) {
            return Err(self.other_length());
        }
        Ok(Body {
            response,
            buffer: Bytes::new(),
            position: given.start,
            end: given.end,
        })
    }

    fn other_length(&self) -> TransferError {
        TransferError::Liar {
            object: self.id,
            what: "it has another length than was announced",
        }
    }

    fn patience(&self) -> &Patience {
        self.hub.0.line.patience()
    }
}

impl Body {
    /// Skips to `wanted`, and reads it.
    async fn read(
        &mut self,
        wanted: &Range<u64>,
        stalled: std::time::Duration,
        object: ObjectId,
    ) -> Result<Bytes, Broken> {
        // It is a piece of 16 KiB or a small object.
        let len = (wanted.end - wanted.start) as usize;
        while self.position < wanted.start {
            let passed = (wanted.start - self.position).min(self.buffer.len() as u64);
            // No more than the buffer has.
            let _ = self.buffer.split_to(passed as usize);
            self.position += passed;
            if self.position < wanted.start {
                self.fill(stalled, object).await?;
            }
        }
        let mut whole = BytesMut::new();
        loop {
            let piece = self
                .buffer
                .split_to(self.buffer.len().min(len - whole.len()));
            self.position += piece.len() as u64;
            if piece.len() == len {
                return Ok(piece);
            }
            whole.extend_from_slice(&piece);
            if whole.len() == len {
                return Ok(whole.freeze());
            }
            self.fill(stalled, object).await?;
        }
    }

    async fn fill(&mut self, stalled: std::time::Duration, object: ObjectId) -> Result<(), Broken> {
        loop {
            match wire::piece(&mut self.response, stalled).await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    if piece.len() as u64 > self.end - self.position {
                        return Err(Broken::Final(TransferError::Liar {
                            object,
                            what: "it has more bytes than were announced",
                        }));
                    }
                    self.buffer = piece;
                    return Ok(());
                }
                Ok(None) => return Err(Broken::Retry("its body ends too early".to_owned())),
                Err(reason) => return Err(Broken::Retry(reason)),
            }
        }
    }
}

/// `bytes FIRST-LAST/WHOLE`, where the last may be `*`.
fn parse(value: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let whole = match whole {
        "*" => None,
        whole => Some(whole.parse().ok()?),
    };
    let end = last.checked_add(1)?;
    (first < end).then_some((first..end, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse("bytes 0-0/1"), Some((0..1, Some(1))));
        assert_eq!(parse("bytes 5-9/*"), Some((5..10, None)));
        for odd in [
            "",
            "bytes",
            "bytes 5-4/9",
            "bytes */9",
            "bytes 0-18446744073709551615/9",
            "items 0-1/2",
            "bytes -1-2/3",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
