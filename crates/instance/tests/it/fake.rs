//! The fake keeps the contract that the adapter expects of LocalStack.

use std::io::Read;

use podsync_instance::{Error, Limits, Merge, Service, fake::FakeLocalStack};

use crate::{
    hostile::connect,
    load::{load, state},
};

#[tokio::test]
async fn the_fake_saves_loads_resets_and_restarts() {
    const ZIP: &[u8] = b"PK\x05\x06 and more";
    let fake = FakeLocalStack::start().await.unwrap();
    let instance = connect(fake.endpoint().clone(), None, Limits::default())
        .await
        .unwrap();
    let len = ZIP.len() as u64;
    let report = load(&instance, state(&[ZIP]), len, Merge::ServiceMerge)
        .await
        .unwrap();
    assert_eq!(
        report
            .applied
            .iter()
            .map(Service::as_str)
            .collect::<Vec<_>>(),
        FakeLocalStack::SERVICES
    );
    assert_eq!(fake.loads(), [Merge::ServiceMerge]);

    let folder = tempfile::tempdir().unwrap();
    let saver = instance.clone();
    // On another task, as a daemon does.
    let saving = tokio::spawn(async move { saver.save(&[], folder.path(), |_, _| {}).await });
    let mut saved = saving.await.unwrap().unwrap();
    let mut content = Vec::new();
    saved.file.read_to_end(&mut content).unwrap();
    assert_eq!(
        (content.as_slice(), &saved.services),
        (ZIP, &report.applied)
    );

    let error = load(&instance, state(&[b"text"]), 4, Merge::Overwrite)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Failed { status: 400, .. }),
        "{error:?}"
    );
    let error = instance
        .reset(Some(&Service::new("nope").unwrap()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UnknownService { .. }), "{error:?}");
    assert_eq!(fake.state(), ZIP);
    instance.reset(None).await.unwrap();
    assert_ne!(fake.state(), ZIP);

    let before = instance.identity().await.unwrap().unwrap();
    assert_eq!(instance.identity().await.unwrap().unwrap(), before);
    fake.restart();
    assert_ne!(instance.identity().await.unwrap().unwrap(), before);
}
