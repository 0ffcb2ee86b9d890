//! The same adapter on community LocalStack with podsync's companion plugin.

use std::io::Read;

use bytes::Bytes;
use futures::stream;
use podsync_instance::{Error, Instance, Limits, Merge, SavedState, Secret, Service};
use podsync_tests::kit::{LocalStack, localstack_python};

use crate::{
    hostile::connect,
    load::{load, state},
};

/// A zip without a member.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn a_state_moves_from_one_localstack_to_another() {
    let Some(python) = localstack_python() else {
        return;
    };
    let source = LocalStack::start(&python).unwrap();
    source.fill().unwrap();
    let target = LocalStack::start(&python).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (from, to) = runtime.block_on(async { (attach(&source).await, attach(&target).await) });

    runtime.block_on(async {
        let saved = save(&from).await;
        assert_eq!(saved.emulator.to_string(), "localstack 4.14.0");
        assert_eq!(saved.failed, []);
        assert!(saved.quiesced);
        let report = load_all(&to, saved, Merge::Overwrite).await;
        assert_eq!(report, SERVICES);
    });
    let (before, after) = (source.dump().unwrap(), target.dump().unwrap());
    assert!(before == after, "before:\n{before}\nafter:\n{after}");

    runtime.block_on(async {
        identities_differ_and_last(&from, &to).await;
        refusals_leave_it_as_it_was(&to).await;
    });
    assert!(
        target.dump().unwrap() == after,
        "a refused state changed the instance"
    );

    runtime.block_on(to.reset(Some(&service("sqs")))).unwrap();
    assert!(target.dump().unwrap() != after, "a reset changed nothing");
}

/// What the kit fills.
const SERVICES: [&str; 5] = ["iam", "s3", "secretsmanager", "sqs", "ssm"];

async fn attach(localstack: &LocalStack) -> Instance {
    // The community edition has no use for a token, and no quarrel with one.
    let token = Secret::new("ls-unused").unwrap();
    let endpoint = localstack.endpoint().parse().unwrap();
    connect(endpoint, Some(token), Limits::default())
        .await
        .unwrap()
}

async fn save(instance: &Instance) -> SavedState {
    let folder = tempfile::tempdir().unwrap();
    let wanted = SERVICES.map(service);
    let saved = instance
        .save(&wanted, folder.path(), |_, _| {})
        .await
        .unwrap();
    assert_eq!(saved.services, wanted);
    saved
}

/// The services loaded; fails where one was not.
async fn load_all(instance: &Instance, mut saved: SavedState, merge: Merge) -> Vec<String> {
    let mut bytes = Vec::new();
    saved.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, saved.len);
    let pieces: Vec<_> = bytes
        .chunks(100_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let report = load(instance, stream::iter(pieces), saved.len, merge)
        .await
        .unwrap();
    assert_eq!(report.failed, []);
    report.applied.iter().map(ToString::to_string).collect()
}

async fn identities_differ_and_last(one: &Instance, other: &Instance) {
    let first = one
        .identity()
        .await
        .unwrap()
        .expect("LocalStack has a session id");
    assert_eq!(one.identity().await.unwrap(), Some(first.clone()));
    assert_ne!(other.identity().await.unwrap(), Some(first));
    let health = one.health().await.unwrap();
    assert_eq!((&*health.edition, &*health.version), ("", "4.14.0"));
    assert_eq!(health.services[&service("s3")], "running");
}

async fn refusals_leave_it_as_it_was(instance: &Instance) {
    let len = EMPTY_ZIP.len() as u64;
    let error = load(instance, state(&[EMPTY_ZIP]), len, Merge::Overwrite)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    let error = load(instance, state(&[b"PK\x03\x04 cut"]), 8, Merge::Overwrite)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Failed { status: 400, .. }),
        "{error:?}"
    );
    let error = instance
        .reset(Some(&service("no-such-service")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UnknownService { .. }), "{error:?}");
}

fn service(name: &str) -> Service {
    Service::new(name).unwrap()
}
