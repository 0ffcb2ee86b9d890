//! Secrets appear in no log and no error.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use podsync_api::hub::ObjectKind;
use tracing_subscriber::{filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt};

use crate::{
    fake::{Fake, SECRET, hang, status},
    kit::{MIB, Taken, bytes, device, hasty, location, nobody, pack, want},
};

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Tape {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Transfers that go well and wrong, and what their errors say.
async fn a_bad_day() -> String {
    let fake = Fake::start().await;
    let hub = fake.patient(podsync_bucket::Patience {
        stalled: std::time::Duration::from_millis(30),
        ..hasty()
    });
    let pack_bytes = bytes(1, MIB);
    let mut told = format!("{hub:?} {:?}", hub.clone());
    let odd = [500, 503, 403, 404, 302, 412, 418];
    for code in odd {
        fake.bucket((0..6).map(|_| status(code)));
        let result = hub.upload(&[pack(&pack_bytes)], nobody).await;
        told += &format!("{result:?}");
        if let Err(error) = result {
            told += &error.to_string();
        }
    }
    while fake.count("PUT") == 0 || hub.upload(&[pack(&pack_bytes)], nobody).await.is_err() {}
    for code in odd {
        fake.bucket((0..6).map(|_| status(code)));
        fake.bucket([hang()]);
        let want = want(&pack_bytes, &[0..MIB]);
        let result = hub
            .download(&want, &mut Taken::of(&pack_bytes), |_| ())
            .await;
        told += &format!("{result:?}");
        if let Err(error) = result {
            told += &error.to_string();
        }
    }
    // Nothing listens at the URLs' address.
    fake.bucket_at("127.0.0.1:1".parse().unwrap());
    let other = bytes(2, 9);
    let error = hub.upload(&[pack(&other)], nobody).await.unwrap_err();
    told += &format!("{error} {error:?}");
    let manifest = location(&pack_bytes, ObjectKind::Pack);
    let error = fake.client().download_small(&manifest).await.unwrap_err();
    told + &format!("{error} {error:?}")
}

#[test]
fn no_log_and_no_error_has_a_url_a_signature_or_a_key() {
    let tape = Tape::default();
    // All logs, except those that a program has to filter.
    let quiet = filter_fn(|log| {
        !podsync_bucket::is_talkative(log.target()) || *log.level() <= tracing::Level::WARN
    });
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(tape.clone())
        .finish()
        .with(quiet);
    let told = tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(a_bad_day())
    });
    let logged = String::from_utf8(tape.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("asking the bucket again"), "{logged}");
    let key = data_encoding::HEXLOWER.encode(&device(1).expose_seed()[..]);
    for text in [&told, &logged] {
        for secret in [SECRET, "signature=", &key] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}
