//! The suite. Each case has keys of its own, so all of them run on one server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use podsync_api::hub::{Action, Sha256};
use podsync_hub::{
    abilities::{PROBES, table},
    s3::{Credentials, S3Bucket, S3Settings},
    storage::{Storage, StorageError},
};
use reqwest::{Method, Response};
use sha2::Digest as _;

use crate::servers::Server;

const QUARTER: Duration = Duration::from_secs(900);
/// Long enough to tell that no more will come.
const SILENCE: Duration = Duration::from_secs(3);
/// The most that podsync puts at once.
const PACK: usize = 64 << 20;

pub(crate) async fn run(server: Server) {
    let bucket = server.bucket();
    bucket.ensure().await.unwrap();
    bucket.ensure().await.unwrap();
    if let Some(seen) = bucket.abilities() {
        eprint!("{}", table(&seen));
        let lacking: Vec<_> = seen.lacking().map(|finding| finding.ability).collect();
        if let Some(known) = server.known.lacking {
            assert_eq!(lacking, known, "{}", table(&seen));
        }
        assert!(seen.suffice());
        // Another replica believes the record, and what was tried with is gone.
        let other = server.bucket();
        other.ensure().await.unwrap();
        assert_eq!(other.abilities(), Some(seen));
        assert_eq!(bucket.list(PROBES, None).await.unwrap().objects, []);
    }
    let case = Case {
        server: &server,
        bucket: &bucket,
        client: reqwest::Client::new(),
    };
    case.small_objects_come_and_go().await;
    case.what_is_put_by_url_is_got_by_url().await;
    case.a_second_put_changes_nothing().await;
    case.other_bytes_or_headers_are_refused().await;
    case.only_the_right_bytes_replace_what_is_there().await;
    case.a_put_that_breaks_off_leaves_nothing().await;
    case.a_url_is_for_one_key_of_one_bucket().await;
    case.a_url_ends().await;
    case.who_has_no_signature_is_refused().await;
    case.listings_are_in_order_and_page().await;
    case.a_whole_pack().await;
    case.one_key_put_by_many_at_once().await;
    case.wrong_credentials_and_regions_are_told().await;
}

struct Case<'a> {
    server: &'a Server,
    bucket: &'a S3Bucket,
    client: reqwest::Client,
}

impl Case<'_> {
    async fn small_objects_come_and_go(&self) {
        let bucket = self.bucket;
        assert_eq!(bucket.get("a/none", 10).await.unwrap(), None);
        assert_eq!(bucket.len("a/none").await.unwrap(), None);
        bucket.delete("a/none").await.unwrap();
        for body in ["first", "", "another"] {
            bucket.put("a/one", body.into()).await.unwrap();
            assert_eq!(bucket.get("a/one", 7).await.unwrap(), Some(body.into()));
            assert_eq!(bucket.len("a/one").await.unwrap(), Some(body.len() as u64));
        }
        let too_long = bucket.get("a/one", 6).await;
        assert!(
            matches!(too_long, Err(StorageError::Garbled(_))),
            "{too_long:?}"
        );
        bucket.delete("a/one").await.unwrap();
        bucket.delete("a/one").await.unwrap();
        assert_eq!(bucket.get("a/one", 7).await.unwrap(), None);
    }

    async fn what_is_put_by_url_is_got_by_url(&self) {
        let body = bytes(300_000, 1);
        let put = self.put_action("b/object", &body).await;
        assert_eq!(self.put(&put, &body).await.status(), 200);
        let get = self.bucket.presign_get("b/object", QUARTER).await.unwrap();
        assert_eq!(get.expires_in, 900);
        let whole = self.client.get(&get.href).send().await.unwrap();
        assert_eq!(whole.status(), 200);
        assert_eq!(whole.bytes().await.unwrap(), body);
        let last = body.len() - 1;
        for (range, wanted) in [
            ("bytes=0-0", 0..1),
            ("bytes=100-65635", 100..65_636),
            ("bytes=299000-999999999", 299_000..body.len()),
            ("bytes=299999-", last..body.len()),
        ] {
            let part = self.client.get(&get.href).header("range", range);
            let part = part.send().await.unwrap();
            assert_eq!(part.status(), self.server.known.ranged, "{range}");
            let told = format!("bytes {}-{}/{}", wanted.start, wanted.end - 1, body.len());
            assert_eq!(part.headers()["content-range"], told);
            assert_eq!(part.bytes().await.unwrap(), body.slice(wanted), "{range}");
        }
        let beyond = self.client.get(&get.href).header("range", "bytes=300000-");
        assert_eq!(beyond.send().await.unwrap().status(), 416);
        let none = self.bucket.presign_get("b/none", QUARTER).await.unwrap();
        assert_eq!(
            self.client.get(&none.href).send().await.unwrap().status(),
            404
        );
    }

    async fn a_second_put_changes_nothing(&self) {
        let body = bytes(1000, 2);
        let put = self.put_action("c/object", &body).await;
        assert_eq!(self.put(&put, &body).await.status(), 200);
        let expected = if self.server.known.only_new { 412 } else { 200 };
        assert_eq!(self.put(&put, &body).await.status(), expected);
        let again = self.put_action("c/object", &body).await;
        assert_eq!(self.put(&again, &body).await.status(), expected);
        self.holds("c/object", &body).await;
    }

    async fn other_bytes_or_headers_are_refused(&self) {
        let body = bytes(5000, 3);
        let action = self.put_action("d/object", &body).await;
        let wrong = self.put(&action, &bytes(5000, 4)).await;
        if self.server.known.binds_bytes {
            refused("other bytes", wrong.status().as_u16());
        } else {
            assert_eq!(wrong.status(), 200, "other bytes");
            self.bucket.delete("d/object").await.unwrap();
        }
        for len in [0, 4999, 5001] {
            let other = bytes(len, 3);
            let mut action = action.clone();
            let header = action.header.get_mut("content-length").unwrap();
            *header = len.to_string();
            let status = self.put(&action, &other).await.status();
            refused("another length", status.as_u16());
        }
        for name in ["x-amz-checksum-sha256", "if-none-match"] {
            let mut without = action.clone();
            if without.header.remove(name).is_some() {
                let status = self.put(&without, &body).await.status();
                refused("an omitted header", status.as_u16());
            }
        }
        // The right checksum of other bytes, but not the one that was signed.
        let other = bytes(5000, 4);
        if self.server.known.binds_bytes {
            let mut swapped = action.clone();
            let sum = self.put_action("d/object", &other).await.header;
            swapped.header.extend(sum);
            let status = self.put(&swapped, &other).await.status();
            refused("a swapped checksum", status.as_u16());
        }
        let mut etag = action.clone();
        if let Some(condition) = etag.header.get_mut("if-none-match") {
            *condition = "\"x\"".to_owned();
            let status = self.put(&etag, &body).await.status();
            refused("another condition", status.as_u16());
        }
        self.is_absent("d/object").await;
        // The URL was good all the time.
        assert_eq!(self.put(&action, &body).await.status(), 200);
        self.holds("d/object", &body).await;
    }

    async fn only_the_right_bytes_replace_what_is_there(&self) {
        let (body, wrong) = (bytes(5000, 11), bytes(5000, 12));
        if !self.server.known.binds_bytes {
            // Nothing is refused: the hub hashes what a commit names.
        } else if self.server.known.refusal_empties {
            self.a_refusal_empties_what_is_there(&body, &wrong).await;
        } else {
            self.other_bytes_replace_nothing(&body, &wrong).await;
        }
        let replace = self.replace_action("l/object", &body).await;
        self.bucket.put("l/object", wrong.clone()).await.unwrap();
        // A right one over a right one changes nothing, on any server.
        for _ in 0..2 {
            assert_eq!(self.put(&replace, &body).await.status(), 200);
            self.holds("l/object", &body).await;
        }
    }

    async fn a_refusal_empties_what_is_there(&self, body: &Bytes, wrong: &Bytes) {
        self.bucket.put("k/object", wrong.clone()).await.unwrap();
        let replace = self.replace_action("k/object", body).await;
        let status = self.put(&replace, wrong).await.status();
        refused("other bytes", status.as_u16());
        let get = self.bucket.presign_get("k/object", QUARTER).await.unwrap();
        let head = self.client.get(&get.href).timeout(SILENCE).send().await;
        assert!(head.unwrap().bytes().await.is_err(), "its bytes are there");
    }

    async fn other_bytes_replace_nothing(&self, body: &Bytes, wrong: &Bytes) {
        self.bucket.put("k/object", wrong.clone()).await.unwrap();
        let replace = self.replace_action("k/object", body).await;
        for other in [wrong, &bytes(5000, 13)] {
            let status = self.put(&replace, other).await.status();
            refused("other bytes", status.as_u16());
            self.holds("k/object", wrong).await;
        }
        for name in ["x-amz-checksum-sha256", "content-length"] {
            let mut without = replace.clone();
            without.header.remove(name).unwrap();
            without
                .header
                .extend((name == "content-length").then(|| (name.to_owned(), "4999".to_owned())));
            let part = if name == "content-length" {
                body.slice(..4999)
            } else {
                body.clone()
            };
            let status = self.put(&without, &part).await.status();
            refused("another header", status.as_u16());
        }
        self.holds("k/object", wrong).await;
    }

    async fn a_put_that_breaks_off_leaves_nothing(&self) {
        let body = bytes(200_000, 5);
        let action = self.put_action("e/object", &body).await;
        let half = body.slice(..100_000);
        let cut = stream::iter([Ok(half), Err(std::io::Error::other("cut"))]);
        let sent = self
            .request(Method::PUT, &action)
            .body(reqwest::Body::wrap_stream(cut))
            .send()
            .await;
        assert!(
            sent.is_err() || !sent.unwrap().status().is_success(),
            "half a body was taken"
        );
        self.is_absent("e/object").await;
        assert_eq!(self.put(&action, &body).await.status(), 200);
        self.holds("e/object", &body).await;
    }

    async fn a_url_is_for_one_key_of_one_bucket(&self) {
        let body = bytes(100, 6);
        let put = self.put_action("f/object", &body).await;
        assert_eq!(self.put(&put, &body).await.status(), 200);
        let get = self.bucket.presign_get("f/object", QUARTER).await.unwrap();
        let own = format!("/{}/", self.server.settings.bucket);
        let other = format!("/{}/", self.server.other_bucket);
        for (from, to) in [
            ("f/object", "f/objecu"),
            ("f/object", "a/one"),
            (&*own, &*other),
        ] {
            let mut put = put.clone();
            put.href = put.href.replacen(from, to, 1);
            assert_eq!(self.put(&put, &body).await.status(), 403, "PUT {to}");
            let href = get.href.replacen(from, to, 1);
            let status = self.client.get(&href).send().await.unwrap().status();
            assert_eq!(status, 403, "GET {to}");
        }
        // Neither another method nor a longer life.
        let status = self.client.delete(&get.href).send().await.unwrap().status();
        assert_eq!(status, 403, "DELETE");
        let longer = get.href.replace("X-Amz-Expires=900", "X-Amz-Expires=9000");
        assert_ne!(longer, get.href);
        assert_eq!(self.client.get(&longer).send().await.unwrap().status(), 403);
        let mut overwrite = get.clone();
        overwrite.header = put.header.clone();
        let status = self.put(&overwrite, &body).await.status();
        refused("a PUT to a URL for a GET", status.as_u16());
        self.holds("f/object", &body).await;
    }

    async fn a_url_ends(&self) {
        let body = bytes(100, 7);
        self.bucket.put("g/object", body.clone()).await.unwrap();
        let second = Duration::from_secs(1);
        let get = self.bucket.presign_get("g/object", second).await.unwrap();
        let put = self
            .bucket
            .presign_put("g/late", &hash(&body), 100, second)
            .await
            .unwrap();
        let started = Instant::now();
        loop {
            let status = self.client.get(&get.href).send().await.unwrap().status();
            if status == self.server.known.expired {
                break;
            }
            assert_eq!(status, 200);
            assert!(started.elapsed() < Duration::from_secs(30), "it never ends");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let status = self.put(&put, &body).await.status();
        assert_eq!(status, self.server.known.expired);
        self.is_absent("g/late").await;
    }

    async fn who_has_no_signature_is_refused(&self) {
        self.bucket.put("h/object", bytes(10, 8)).await.unwrap();
        let get = self.bucket.presign_get("h/object", QUARTER).await.unwrap();
        let bare = get.href.split('?').next().unwrap();
        let status = self.client.get(bare).send().await.unwrap().status();
        assert_eq!(status, self.server.known.anonymous, "without a signature");
        let (signed, _) = get.href.split_at(get.href.len() - 4);
        for forged in [format!("{signed}0000"), signed.to_owned()] {
            let status = self.client.get(&forged).send().await.unwrap().status();
            refused("a wrong signature", status.as_u16());
        }
    }

    async fn listings_are_in_order_and_page(&self) {
        let keys: Vec<String> = (0..1005)
            .map(|n| format!("list/{:04x}.{n}", n * 7))
            .collect();
        stream::iter(&keys)
            .map(|key| self.bucket.put(key, Bytes::from_static(b"x")))
            .buffer_unordered(16)
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        self.bucket.put("list-other", Bytes::new()).await.unwrap();
        let first = self.bucket.list("list/", None).await.unwrap();
        assert!(first.more);
        let names = |page: &podsync_hub::storage::Page| -> Vec<String> {
            page.objects
                .iter()
                .map(|object| object.key.clone())
                .collect()
        };
        assert_eq!(names(&first), keys[..1000]);
        let second = self.bucket.list("list/", Some(&keys[999])).await.unwrap();
        assert!(!second.more);
        assert_eq!(names(&second), keys[1000..]);
        assert!(second.objects.iter().all(|object| object.len == 1));
        let age = second.objects[0].modified.elapsed().unwrap_or_default();
        assert!(age < Duration::from_secs(300), "{age:?}");
        let some = self.bucket.list("list/000", None).await.unwrap();
        assert_eq!(names(&some), keys[..3]);
        let between = self.bucket.list("list", Some("list/zzz")).await.unwrap();
        assert_eq!(between.objects.len(), 0, "`-` sorts before `/`");
        let both = self.bucket.list("list", None).await.unwrap();
        assert_eq!(both.objects[0].key, "list-other");
        assert_eq!(self.bucket.list("none/", None).await.unwrap().objects, []);
    }

    async fn a_whole_pack(&self) {
        let body = bytes(PACK, 9);
        let put = self.put_action("i/pack", &body).await;
        assert_eq!(self.put(&put, &body).await.status(), 200);
        assert_eq!(self.bucket.len("i/pack").await.unwrap(), Some(PACK as u64));
        let get = self.bucket.presign_get("i/pack", QUARTER).await.unwrap();
        let got = self.client.get(&get.href).send().await.unwrap();
        assert!(
            got.bytes().await.unwrap() == body,
            "a pack changed on its way"
        );
    }

    async fn one_key_put_by_many_at_once(&self) {
        let body = bytes(500_000, 10);
        let action = self.put_action("j/object", &body).await;
        let puts = (0..8).map(|_| self.put(&action, &body));
        let statuses: Vec<u16> = futures::future::join_all(puts)
            .await
            .iter()
            .map(|response| response.status().as_u16())
            .collect();
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        if self.server.known.only_new {
            assert_eq!(count(200), 1, "{statuses:?}");
            // AWS may also say that another was just at it.
            assert_eq!(count(412) + count(409), 7, "{statuses:?}");
        } else {
            assert_eq!(count(200), 8, "{statuses:?}");
        }
        self.holds("j/object", &body).await;
    }

    async fn wrong_credentials_and_regions_are_told(&self) {
        let settings = &self.server.settings;
        let wrong_keys = S3Settings {
            credentials: match &settings.credentials {
                Credentials::Static { access_key, .. } => Credentials::Static {
                    access_key: access_key.clone(),
                    secret_key: "0".repeat(64),
                },
                chain => chain.clone(),
            },
            ..settings.clone()
        };
        let answer = S3Bucket::new(wrong_keys).unwrap().get("a", 1).await;
        let is_refused = matches!(answer, Err(StorageError::Refused(_)));
        assert_eq!(is_refused, self.server.known.header_checked, "{answer:?}");
        let elsewhere = S3Settings {
            region: "eu-south-9".to_owned(),
            ..settings.clone()
        };
        let answer = S3Bucket::new(elsewhere).unwrap().get("a", 1).await;
        if self.server.known.region_checked {
            let right = format!("region = \"{}\"", settings.region);
            let told =
                matches!(&answer, Err(StorageError::Refused(why)) if why.words.contains(&right));
            assert!(told, "{answer:?}");
        } else {
            assert_eq!(answer.unwrap(), None);
        }
    }

    async fn put_action(&self, key: &str, body: &Bytes) -> Action {
        self.bucket
            .presign_put(key, &hash(body), body.len() as u64, QUARTER)
            .await
            .unwrap()
    }

    async fn replace_action(&self, key: &str, body: &Bytes) -> Action {
        self.bucket
            .presign_replace(key, &hash(body), body.len() as u64, QUARTER)
            .await
            .unwrap()
    }

    fn request(&self, method: Method, action: &Action) -> reqwest::RequestBuilder {
        let request = self.client.request(method, &action.href);
        action
            .header
            .iter()
            .fold(request, |request, (name, value)| {
                request.header(name, value)
            })
    }

    async fn put(&self, action: &Action, body: &Bytes) -> Response {
        let request = self.request(Method::PUT, action).body(body.clone());
        request.send().await.unwrap()
    }

    async fn holds(&self, key: &str, body: &Bytes) {
        let held = self.bucket.get(key, body.len() as u64).await.unwrap();
        assert!(held.as_ref() == Some(body), "{key} holds other bytes");
    }

    async fn is_absent(&self, key: &str) {
        assert_eq!(self.bucket.len(key).await.unwrap(), None, "{key} is there");
        let page = self.bucket.list(key, None).await.unwrap();
        assert_eq!(page.objects, [], "{key} is listed");
    }
}

/// Servers disagree on which of these it is.
fn refused(what: &str, status: u16) {
    assert!((400..=403).contains(&status), "{what}: {status}");
}

fn hash(body: &[u8]) -> Sha256 {
    Sha256::from_bytes(sha2::Sha256::digest(body).into())
}

/// Bytes that no other seed gives.
fn bytes(len: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes.into()
}
