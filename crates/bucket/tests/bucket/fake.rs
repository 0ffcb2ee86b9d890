//! A fake hub and bucket in one server. Tests choose answers; the default is the correct one.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use data_encoding::BASE64;
use futures::future::BoxFuture;
use podsync_api::hub::{
    Action, Actions, BatchOperation, BatchRequest, BatchResponse, BatchedObject, HubError,
    HubErrorCode, ObjectError, ObjectRef,
};
use podsync_bucket::{Hub, Patience};
use podsync_core::TeamId;
use sha2::Digest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::kit::{client, hasty};

/// Part of every presigned URL and of one header. It must appear nowhere else.
pub(crate) const SECRET: &str = "SECRET-SIGNATURE";

/// An answer other than the usual one.
pub(crate) type Odd = Box<dyn FnOnce(Request) -> BoxFuture<'static, Response> + Send>;

pub(crate) fn odd<F: Future<Output = Response> + Send + 'static>(
    answer: impl FnOnce(Request) -> F + Send + 'static,
) -> Odd {
    Box::new(|request| Box::pin(answer(request)))
}

/// It reads the request whole first: where bytes are left unread, the connection may be reset before the answer is read.
pub(crate) fn status(code: u16) -> Odd {
    odd(async move |request: Request| {
        let _ = to_bytes(request.into_body(), usize::MAX).await;
        StatusCode::from_u16(code).unwrap().into_response()
    })
}

pub(crate) fn answer(response: Response) -> Odd {
    odd(async move |_| response)
}

pub(crate) fn hang() -> Odd {
    odd(async |_| std::future::pending().await)
}

/// A body of pieces, after which it hangs or breaks.
pub(crate) fn pieces(pieces: Vec<Bytes>, hangs: bool) -> Body {
    use futures::StreamExt;
    let pieces = futures::stream::iter(pieces.into_iter().map(Ok));
    let end = futures::stream::once(async move {
        if hangs {
            std::future::pending::<()>().await;
        }
        // The server sends what it has when there is no more for the moment.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        Err(std::io::Error::other("cut"))
    });
    Body::from_stream(pieces.chain(end))
}

#[derive(Default)]
struct State {
    /// By the hex of their SHA-256.
    objects: Mutex<HashMap<String, Bytes>>,
    hub: Mutex<VecDeque<Odd>>,
    bucket: Mutex<VecDeque<Odd>>,
    /// Where URLs lead.
    bucket_at: Mutex<String>,
    seen: Mutex<Vec<(String, HeaderMap)>>,
}

pub(crate) struct Fake {
    state: Arc<State>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        *state.bucket_at.lock().unwrap() = format!("http://{address}");
        let served = state.clone();
        let app = Router::new().fallback(move |request: Request| serve(served.clone(), request));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            state,
            address,
            server,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> Hub {
        self.patient(hasty())
    }

    pub(crate) fn patient(&self, patience: Patience) -> Hub {
        let url = format!("http://{}", self.address);
        client(&url, TeamId::from_bytes([1; 32]), 1, patience)
    }

    /// The next answers of the hub.
    pub(crate) fn hub(&self, odd: impl IntoIterator<Item = Odd>) {
        self.state.hub.lock().unwrap().extend(odd);
    }

    /// The next answers of the bucket.
    pub(crate) fn bucket(&self, odd: impl IntoIterator<Item = Odd>) {
        self.state.bucket.lock().unwrap().extend(odd);
    }

    pub(crate) fn bucket_at(&self, address: SocketAddr) {
        *self.state.bucket_at.lock().unwrap() = format!("http://{address}");
    }

    /// Puts `bytes` where those of `of` belong.
    pub(crate) fn plant(&self, of: &[u8], bytes: impl Into<Bytes>) {
        let name = hex(of);
        self.state
            .objects
            .lock()
            .unwrap()
            .insert(name, bytes.into());
    }

    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        let objects = self.state.objects.lock().unwrap();
        objects.get(&hex(bytes)).is_some_and(|there| there == bytes)
    }

    /// How often this was asked: a method at the bucket, or a path's end at the hub.
    pub(crate) fn count(&self, what: &str) -> usize {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|(name, _)| name == what).count()
    }

    /// The headers of the requests so far.
    pub(crate) fn headers(&self, what: &str) -> Vec<HeaderMap> {
        let seen = self.state.seen.lock().unwrap();
        let matching = seen.iter().filter(|(name, _)| name == what);
        matching.map(|(_, headers)| headers.clone()).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

async fn serve(state: Arc<State>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let bucket = path.strip_prefix("/bucket/");
    let name = match bucket {
        Some(_) => request.method().to_string(),
        None => path.rsplit('/').next().unwrap().to_owned(),
    };
    let headers = request.headers().clone();
    state.seen.lock().unwrap().push((name.clone(), headers));
    let script = if bucket.is_some() {
        &state.bucket
    } else {
        &state.hub
    };
    let next = script.lock().unwrap().pop_front();
    if let Some(odd) = next {
        return odd(request).await;
    }
    match bucket {
        Some(key) => object(&state, key, request).await,
        None if name == "batch" => batch(&state, request).await,
        None => {
            let error = HubError::new(HubErrorCode::NotFound, "no such path");
            json(StatusCode::NOT_FOUND, &error)
        }
    }
}

pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    (status, serde_json::to_vec(value).unwrap()).into_response()
}

async fn batch(state: &State, request: Request) -> Response {
    let body = to_bytes(request.into_body(), 8 << 20).await.unwrap();
    let request: BatchRequest = serde_json::from_slice(&body).unwrap();
    let objects = state.objects.lock().unwrap();
    let base = state.bucket_at.lock().unwrap().clone();
    let answer = |batched: &podsync_api::hub::BatchedId| {
        let id = batched.id;
        let name = id.sha256.to_string();
        let there = objects.contains_key(&name);
        let mut header = std::collections::BTreeMap::new();
        header.insert("x-signed".to_owned(), SECRET.to_owned());
        let mut action = Action {
            href: format!("{base}/bucket/{name}?signature={SECRET}"),
            header,
            expires_in: 600,
        };
        let mut answer = BatchedObject {
            object: ObjectRef { id, generation: 3 },
            actions: None,
            error: None,
        };
        match request.operation {
            BatchOperation::Upload if there => {}
            BatchOperation::Upload | BatchOperation::Replace => {
                let sum = BASE64.encode(id.sha256.as_bytes());
                action
                    .header
                    .insert("content-length".to_owned(), id.size.to_string());
                if request.operation == BatchOperation::Upload {
                    action
                        .header
                        .insert("if-none-match".to_owned(), "*".to_owned());
                }
                action
                    .header
                    .insert("x-amz-checksum-sha256".to_owned(), sum);
                answer.actions = Some(Actions::Upload(action));
            }
            BatchOperation::Download if there => answer.actions = Some(Actions::Download(action)),
            BatchOperation::Download => {
                answer.error = Some(ObjectError {
                    code: HubErrorCode::NotFound,
                    message: "the bucket doesn't have it".to_owned(),
                });
            }
        }
        answer
    };
    let objects = request.objects.iter().map(answer).collect();
    json(StatusCode::OK, &BatchResponse { objects })
}

async fn object(state: &State, key: &str, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let signed = request
        .headers()
        .get("x-signed")
        .is_some_and(|value| value == SECRET);
    if query != format!("signature={SECRET}") || !signed {
        return StatusCode::FORBIDDEN.into_response();
    }
    if request.method() == Method::PUT {
        if request.headers().get(header::CONTENT_LENGTH).is_none() {
            return StatusCode::LENGTH_REQUIRED.into_response();
        }
        let only_new = request.headers().get(header::IF_NONE_MATCH).cloned();
        let Ok(body) = to_bytes(request.into_body(), 64 << 20).await else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        if hex(&body) != key {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let only_new = only_new.is_some();
        let mut objects = state.objects.lock().unwrap();
        if objects.insert(key.to_owned(), body).is_some() && only_new {
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        return StatusCode::OK.into_response();
    }
    let Some(bytes) = state.objects.lock().unwrap().get(key).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match asked(request.headers()) {
        None => bytes.into_response(),
        Some(range) => part(range.clone(), bytes.slice(range), bytes.len()),
    }
}

/// The range that a request asks for.
pub(crate) fn asked(headers: &HeaderMap) -> Option<std::ops::Range<usize>> {
    let range = headers.get(header::RANGE)?.to_str().unwrap();
    let (from, to) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    Some(from.parse().unwrap()..to.parse::<usize>().unwrap() + 1)
}

/// A 206 that says it is `range` of `whole`.
pub(crate) fn part(range: std::ops::Range<usize>, body: impl Into<Body>, whole: usize) -> Response {
    let value = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
    let headers = [(header::CONTENT_RANGE, value)];
    (StatusCode::PARTIAL_CONTENT, headers, body.into()).into_response()
}

/// A proxy to `to` that cuts its first connections after so many bytes from the client.
pub(crate) async fn cutter(to: SocketAddr, cuts: Vec<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut cuts = cuts.into_iter();
        while let Ok((client, _)) = listener.accept().await {
            let cut = cuts.next().unwrap_or(usize::MAX);
            tokio::spawn(forward(client, to, cut));
        }
    });
    address
}

async fn forward(mut client: TcpStream, to: SocketAddr, mut left: usize) {
    let mut server = TcpStream::connect(to).await.unwrap();
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    while left > 0 {
        let most = left.min(up.len());
        tokio::select! {
            count = client.read(&mut up[..most]) => {
                let Ok(count @ 1..) = count else { return };
                left -= count;
                if server.write_all(&up[..count]).await.is_err() {
                    return;
                }
            }
            count = server.read(&mut down) => {
                let Ok(count @ 1..) = count else { return };
                if client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
