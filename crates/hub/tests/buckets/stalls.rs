//! What the embedded server does with clients that stall, and what it leaves on its disk.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use podsync_api::hub::{Action, Sha256};
use podsync_hub::{embedded::Embedded, s3::S3Bucket, storage::Storage};
use sha2::Digest as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::servers::install_tls;

const SILENCE: Duration = Duration::from_millis(300);

async fn start(folder: &Path) -> (Embedded, S3Bucket) {
    install_tls();
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let embedded = Embedded::start_with(folder, listen, SILENCE).await.unwrap();
    let bucket = S3Bucket::new(embedded.bucket("team-one")).unwrap();
    bucket.ensure().await.unwrap();
    (embedded, bucket)
}

async fn action(bucket: &S3Bucket, body: &[u8]) -> Action {
    let sha256 = Sha256::from_bytes(sha2::Sha256::digest(body).into());
    let quarter = Duration::from_secs(900);
    bucket
        .presign_put("packs/x", &sha256, body.len() as u64, quarter)
        .await
        .unwrap()
}

fn put(action: &Action, body: &'static [u8]) -> reqwest::RequestBuilder {
    let request = reqwest::Client::new().put(&action.href).body(body);
    action
        .header
        .iter()
        .fold(request, |request, (name, value)| {
            request.header(name, value)
        })
}

fn files(folder: &Path, what: &str) -> usize {
    std::fs::read_dir(folder.join(what)).unwrap().count()
}

#[tokio::test]
async fn who_stalls_in_a_put_holds_up_nobody_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, bucket) = start(folder.path()).await;
    let body = b"ten bytes!";
    let action = action(&bucket, body).await;
    let mut stalled = TcpStream::connect(embedded.address()).await.unwrap();
    let path = action.href.split_once(&embedded.address().to_string());
    let mut head = format!(
        "PUT {} HTTP/1.1\r\nhost: {}\r\n",
        path.unwrap().1,
        embedded.address()
    );
    for (name, value) in &action.header {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stalled
        .write_all(format!("{head}\r\nten ").as_bytes())
        .await
        .unwrap();
    // The same key, while the other is half way.
    let answer = put(&action, body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let started = Instant::now();
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest).await; // Closed or reset, as it comes.
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "it was let wait"
    );
    assert_eq!(
        bucket.get("packs/x", 10).await.unwrap().as_deref(),
        Some(&body[..])
    );
    embedded.stop().await;
    assert_eq!(files(folder.path(), "unfinished"), 0);
}

#[tokio::test]
async fn what_was_taken_is_there_after_a_restart_and_the_keys_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, bucket) = start(folder.path()).await;
    let body = b"ten bytes!";
    let taken = put(&action(&bucket, body).await, body)
        .send()
        .await
        .unwrap();
    assert_eq!(taken.status(), 200);
    let refused = put(&action(&bucket, b"ten other!").await, body);
    assert_eq!(refused.send().await.unwrap().status(), 412);
    embedded.stop().await;
    let (embedded, bucket) = start(folder.path()).await;
    assert_eq!(bucket.len("packs/x").await.unwrap(), Some(10));
    embedded.stop().await;
}

#[tokio::test]
async fn keys_of_one_bucket_open_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, one) = start(folder.path()).await;
    let two = S3Bucket::new(embedded.bucket("team-two")).unwrap();
    two.ensure().await.unwrap();
    two.put("secret", "x".into()).await.unwrap();
    let mut mixed = embedded.bucket("team-one");
    mixed.bucket = "team-two".to_owned();
    let mixed = S3Bucket::new(mixed).unwrap();
    assert!(mixed.get("secret", 10).await.is_err());
    assert!(mixed.list("", None).await.is_err());
    assert!(mixed.put("secret", "y".into()).await.is_err());
    assert_eq!(one.get("secret", 10).await.unwrap(), None);
    embedded.stop().await;
}
