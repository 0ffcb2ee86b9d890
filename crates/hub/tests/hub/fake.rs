//! An S3 server that checks no signature and refuses what a test has it refuse, and what the hub finds out about
//! it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Query, Request},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use podsync_core::codec::Format;
use podsync_hub::{
    abilities::{Abilities, RECORD, table},
    s3::{Addressing, Credentials, S3Bucket, S3Settings},
    storage::Storage,
};

use crate::{kit::client, secrets::Tape};

/// The listing, as a rule sees it.
const LISTING: &str = "?";

/// How a request is refused, by its method and key: the status and the server's own code.
type Rule = Box<dyn FnMut(&Method, &str) -> Option<(StatusCode, &'static str)> + Send>;

#[derive(Clone, Default)]
pub(crate) struct Fake {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    unlisted: Arc<AtomicBool>,
    /// Blocks public access, and then takes every write for one that sets a public ACL, as Ceph's RGW 16 does.
    as_rgw: Arc<AtomicBool>,
    /// What is blocked, as it was sent.
    block: Arc<Mutex<String>>,
    rule: Arc<Mutex<Option<Rule>>>,
}

impl Fake {
    /// From now on what this says is refused.
    pub(crate) fn refuse(
        &self,
        rule: impl FnMut(&Method, &str) -> Option<(StatusCode, &'static str)> + Send + 'static,
    ) {
        *self.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Serves it; how the hub reaches its bucket.
    pub(crate) async fn serve(&self) -> S3Settings {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let fake = self.clone();
        let app = Router::new().fallback(move |request: Request| {
            let fake = fake.clone();
            async move { fake.answer(request).await }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        S3Settings {
            endpoint: Some(endpoint.parse().unwrap()),
            public_endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: "payments".to_owned(),
            addressing: Addressing::Path,
            credentials: Credentials::Static {
                access_key: "key".to_owned(),
                secret_key: "secret".to_owned(),
            },
            known: false,
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path().trim_start_matches("/payments");
        let key = path.trim_start_matches('/').to_owned();
        let query = Query::<HashMap<String, String>>::try_from_uri(request.uri());
        let Query(query) = query.unwrap();
        let method = request.method().clone();
        let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
        if query.contains_key("publicAccessBlock") {
            return self.block(&method, &body);
        }
        let closed = method == Method::PUT && !key.is_empty() && self.refuses_writes();
        if closed {
            return (StatusCode::FORBIDDEN, refusal("AccessDenied")).into_response();
        }
        let is_listing = query.contains_key("list-type");
        let seen = if is_listing { LISTING } else { key.as_str() };
        let mut rule = self.rule.lock().unwrap();
        if let Some((status, code)) = rule.as_mut().and_then(|rule| rule(&method, seen)) {
            return (status, refusal(code)).into_response();
        }
        if is_listing {
            return self.list(&query);
        }
        let mut objects = self.objects.lock().unwrap();
        if method == Method::PUT {
            objects.insert(key, body);
            return StatusCode::OK.into_response();
        }
        if method == Method::DELETE {
            objects.remove(&key);
            return StatusCode::NO_CONTENT.into_response();
        }
        let found = objects.get(&key).cloned();
        match found.or_else(|| key.is_empty().then(Bytes::new)) {
            None => StatusCode::NOT_FOUND.into_response(),
            Some(bytes) if method == Method::HEAD => {
                let len = bytes.len().to_string();
                ([(header::CONTENT_LENGTH, len)], Body::empty()).into_response()
            }
            Some(bytes) => bytes.into_response(),
        }
    }

    fn block(&self, method: &Method, body: &Bytes) -> Response {
        if !self.as_rgw.load(Ordering::SeqCst) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let mut block = self.block.lock().unwrap();
        if method == Method::PUT {
            *block = String::from_utf8_lossy(body).into_owned();
        }
        block.clone().into_response()
    }

    fn refuses_writes(&self) -> bool {
        let block = self.block.lock().unwrap();
        block.contains("<BlockPublicAcls>true<")
    }

    fn list(&self, query: &HashMap<String, String>) -> Response {
        if self.unlisted.load(Ordering::SeqCst) {
            return (StatusCode::FORBIDDEN, refusal("AccessDenied")).into_response();
        }
        let prefix = query.get("prefix").cloned().unwrap_or_default();
        let after = query.get("start-after").cloned().unwrap_or_default();
        let objects = self.objects.lock().unwrap();
        let listed = objects.iter();
        let listed = listed.filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let mut text = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        for (key, bytes) in listed {
            let len = bytes.len();
            write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>2026-11-25T18:50:23Z</LastModified><Size>{len}</Size></Contents>"
            )
            .unwrap();
        }
        text.push_str("</ListBucketResult>");
        text.into_response()
    }
}

fn refusal(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>made up</Message></Error>")
}

#[tokio::test]
async fn each_lack_is_told_once_by_the_log_and_by_the_check() {
    client(); // Installs a TLS provider.
    let log = Tape::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(log.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let told = || log.text().matches("the bucket's server: ").count();
    let fake = Fake::default();
    let settings = fake.serve().await;
    // Who checks prints the table.
    let checked = S3Bucket::new(settings.clone()).unwrap();
    let lacking = checked.probe().await.unwrap().lacking().count();
    assert!(lacking > 3, "{lacking}");
    assert_eq!(told(), 0);
    let serving = S3Bucket::new(settings).unwrap();
    for _ in 0..2 {
        serving.ensure().await.unwrap();
        assert_eq!(told(), lacking);
    }
}

#[tokio::test]
async fn a_policy_without_deletions_is_told_and_the_team_is_served() {
    client(); // Installs a TLS provider.
    let fake = Fake::default();
    let settings = fake.serve().await;
    fake.refuse(|method, _| {
        let denied = (StatusCode::FORBIDDEN, "AccessDenied");
        (method == Method::DELETE).then_some(denied)
    });
    let bucket = S3Bucket::new(settings).unwrap();
    bucket.ensure().await.unwrap();
    let seen = bucket.probe().await.unwrap();
    let text = table(&seen);
    let row = text.lines().find(|row| row.starts_with("delete "));
    let told = row.is_some_and(|row| row.contains("missing") && row.contains("403 AccessDenied"));
    assert!(told && seen.suffice(), "{text}");
    assert!(text.contains("write and read               ok"), "{text}");
}

#[tokio::test]
async fn a_block_after_which_no_write_is_taken_is_taken_back_and_told() {
    client(); // Installs a TLS provider.
    let fake = Fake::default();
    fake.as_rgw.store(true, Ordering::SeqCst);
    let bucket = S3Bucket::new(fake.serve().await).unwrap();
    let seen = bucket.probe().await.unwrap();
    let text = table(&seen);
    let row = text
        .lines()
        .find(|row| row.starts_with("public access blocked"));
    let told =
        row.is_some_and(|row| row.contains("worked around") && row.contains("403 AccessDenied"));
    assert!(told && seen.suffice(), "{text}");
    // Only what stops writes is open again.
    let block = fake.block.lock().unwrap().clone();
    assert!(!fake.refuses_writes(), "{block}");
    assert!(block.contains("<BlockPublicPolicy>true<"), "{block}");
    // Nothing stays of what it was tried with.
    let left = fake.objects.lock().unwrap();
    let left: Vec<_> = left
        .keys()
        .filter(|key| key.starts_with("probe/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_new_bucket_may_be_busy_for_a_while() {
    client(); // Installs a TLS provider.
    for (status, code) in [
        (StatusCode::CONFLICT, "OperationAborted"),
        (StatusCode::BAD_REQUEST, "InvalidRequest"),
    ] {
        let fake = Fake::default();
        let settings = fake.serve().await;
        let (mut made, mut refusals) = (false, 0);
        fake.refuse(move |method, key| {
            made |= method == Method::PUT && key.is_empty();
            if method == Method::HEAD && key.is_empty() && !made {
                return Some((StatusCode::NOT_FOUND, "NoSuchBucket"));
            }
            // More than one call is tried.
            let is_new = key == LISTING && refusals < 7;
            refusals += usize::from(is_new);
            is_new.then_some((status, code))
        });
        let bucket = S3Bucket::new(settings).unwrap();
        assert!(bucket.probe().await.unwrap().suffice());
    }
}

#[tokio::test]
async fn while_only_writes_fail_an_old_record_counts() {
    client(); // Installs a TLS provider.
    let fake = Fake::default();
    let settings = fake.serve().await;
    let bucket = S3Bucket::new(settings.clone()).unwrap();
    bucket.ensure().await.unwrap();
    let record = fake.objects.lock().unwrap()[RECORD].clone();
    let mut old = Abilities::decode(&record).unwrap();
    old.probed_ms = 0;
    let planted = Bytes::from(old.encode());
    fake.objects
        .lock()
        .unwrap()
        .insert(RECORD.to_owned(), planted);
    fake.refuse(|method, _| {
        let busy = (StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        (method == Method::PUT).then_some(busy)
    });
    let bucket = S3Bucket::new(settings).unwrap();
    bucket.ensure().await.unwrap();
    assert_eq!(bucket.abilities().as_deref(), Some(&old));
}

#[tokio::test]
async fn a_refused_listing_is_told_with_its_code_and_is_not_kept_once_it_works() {
    client(); // Installs a TLS provider.
    let fake = Fake::default();
    let settings = fake.serve().await;
    fake.unlisted.store(true, Ordering::SeqCst);
    let bucket = S3Bucket::new(settings.clone()).unwrap();
    bucket.ensure().await.unwrap();
    let seen = bucket.abilities().unwrap();
    let text = table(&seen);
    assert!(!seen.suffice(), "{text}");
    assert!(
        text.contains("the server refuses listings") && text.contains("(403 AccessDenied)"),
        "{text}"
    );
    // The record of that lies in the bucket, and the next hub tries again all the same.
    fake.unlisted.store(false, Ordering::SeqCst);
    let bucket = S3Bucket::new(settings).unwrap();
    bucket.ensure().await.unwrap();
    let seen = bucket.abilities().unwrap();
    assert!(seen.suffice(), "{}", table(&seen));
}

#[tokio::test]
async fn a_scheme_that_does_not_fit_the_server_is_told() {
    client(); // Installs a TLS provider.
    let fake = Fake::default();
    let mut settings = fake.serve().await;
    let plain = settings.endpoint.as_ref().unwrap().to_string();
    let tls = plain.replace("http://", "https://");
    settings.endpoint = Some(tls.parse().unwrap());
    let wrong = S3Bucket::new(settings.clone()).unwrap();
    let said = wrong.list("", None).await.unwrap_err().to_string();
    assert!(said.contains("may have to begin with http://"), "{said}");
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = listener.await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // As servers that speak TLS answer to who doesn't.
    let refusing = Router::new().fallback(async || {
        let words = "The plain HTTP request was sent to HTTPS port";
        (StatusCode::BAD_REQUEST, words)
    });
    tokio::spawn(async move { axum::serve(listener, refusing).await });
    settings.endpoint = Some(endpoint.parse().unwrap());
    let wrong = S3Bucket::new(settings).unwrap();
    let said = wrong.list("", None).await.unwrap_err().to_string();
    assert!(said.contains("has to begin with https://"), "{said}");
}
