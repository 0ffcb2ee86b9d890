//! An S3 server that checks no signature and can refuse listings, and what the hub finds out about it.

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
use podsync_hub::{
    abilities::table,
    s3::{Addressing, Credentials, S3Bucket, S3Settings},
    storage::Storage,
};

use crate::kit::client;

#[derive(Clone, Default)]
struct Fake {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    unlisted: Arc<AtomicBool>,
}

impl Fake {
    /// Serves it; how the hub reaches its bucket.
    async fn serve(&self) -> S3Settings {
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
            return StatusCode::BAD_REQUEST.into_response();
        }
        if query.contains_key("list-type") {
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

    fn list(&self, query: &HashMap<String, String>) -> Response {
        if self.unlisted.load(Ordering::SeqCst) {
            let denied = "<Error><Code>AccessDenied</Code><Message>made up</Message></Error>";
            return (StatusCode::FORBIDDEN, denied).into_response();
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
