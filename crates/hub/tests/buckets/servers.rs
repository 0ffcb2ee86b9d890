//! The servers that the suite runs on, and in what they differ from AWS.

pub(crate) mod described;
pub(crate) mod embedded;
pub(crate) mod garage;
pub(crate) mod localstack;

use std::{
    any::Any,
    net::{Ipv4Addr, TcpListener},
    process::Child,
    sync::Once,
    time::{Duration, Instant},
};

use podsync_hub::{
    abilities::Ability,
    s3::{Addressing, Credentials, S3Bucket, S3Settings},
};

/// A loaded machine gets more than the seconds that a start takes.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// A server with two buckets.
pub(crate) struct Server {
    pub(crate) settings: S3Settings,
    pub(crate) other_bucket: String,
    pub(crate) known: Known,
    /// Ends the server.
    pub(crate) _running: Box<dyn Any + Send>,
}

/// What a server is known to do otherwise than AWS. An expectation, not an excuse: the suite fails when a
/// server does as AWS after all.
pub(crate) struct Known {
    /// What an expired URL gets.
    pub(crate) expired: u16,
    /// `If-None-Match: *` keeps an object as it is.
    pub(crate) only_new: bool,
    /// What a request without a signature gets.
    pub(crate) anonymous: u16,
    /// A signature in a header is checked, and not only one in a URL.
    pub(crate) header_checked: bool,
    /// A request that is signed for another region is refused.
    pub(crate) region_checked: bool,
    /// Other bytes than those of a signed hash are refused.
    pub(crate) binds_bytes: bool,
    /// What a part of an object is answered with.
    pub(crate) ranged: u16,
    /// What a try of the server finds; `None` if nobody recorded it.
    pub(crate) lacking: Option<&'static [Ability]>,
    /// An object over which it refused other bytes keeps its head and loses its bytes.
    pub(crate) refusal_empties: bool,
}

impl Server {
    pub(crate) fn bucket(&self) -> S3Bucket {
        S3Bucket::new(self.settings.clone()).unwrap()
    }
}

/// In every test before the first client is made.
pub(crate) fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn settings(port: u16, region: &str, bucket: &str, keys: (&str, &str)) -> S3Settings {
    S3Settings {
        endpoint: Some(format!("http://127.0.0.1:{port}").parse().unwrap()),
        public_endpoint: None,
        region: region.to_owned(),
        bucket: bucket.to_owned(),
        addressing: Addressing::Path,
        known: false,
        credentials: Credentials::Static {
            access_key: keys.0.to_owned(),
            secret_key: keys.1.to_owned(),
        },
    }
}

/// Given back at once: the server binds it itself.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

struct Running {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the server answers HTTP at all.
async fn wait_until_up(running: &mut Running, url: &str) {
    let client = reqwest::Client::new();
    let started = Instant::now();
    while started.elapsed() < START_PATIENCE {
        if let Some(status) = running.child.try_wait().unwrap() {
            panic!("the server ended at its start: {status}");
        }
        if client.get(url).send().await.is_ok() {
            return;
        }
        // A process that doesn't listen yet offers nothing to wait for.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server doesn't answer");
}
