//! Saving from an instance that behaves, and from those that don't.

use std::{
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use podsync_instance::{Error, Instance, Limits, SavedState, Service};

use crate::hostile::{Act, CHUNKED, Hostile, LAST_CHUNK, answer, chunk, impatient, raw};

const STATE: &str = "GET /_localstack/pods/state";
const ZIP: &[u8] = b"PK\x03\x04 the rest is opaque to it.";

async fn save(instance: &Instance) -> Result<SavedState, Error> {
    let folder = tempfile::tempdir().unwrap();
    let saved = instance.save(&[], folder.path(), |_, _| {}).await;
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "nothing stays behind in the folder");
    saved
}

async fn save_from(script: Vec<Act>, limits: Limits) -> Result<SavedState, Error> {
    let server = Hostile::start().await.on(STATE, script);
    save(&server.instance_with(limits).await).await
}

#[tokio::test]
async fn a_whole_state_is_kept_in_a_private_file() {
    let headers = concat!(
        "x-localstack-pod-services: sqs,s3\r\n",
        "x-localstack-pod-size: 30\r\n",
        "x-podsync-quiesced: false\r\n",
        "x-podsync-under-way: [{\"service\": \"sqs\", \"kind\": \"move\", \"count\": 3}]\r\n",
        "x-podsync-failed: [{\"service\": \"kms\", \"reason\": \"TypeError: no\"}]\r\n",
    );
    assert_eq!(ZIP.len(), 30);
    let server = Hostile::start()
        .await
        .on(STATE, vec![answer(200, headers, ZIP)]);
    let folder = tempfile::tempdir().unwrap();
    let seen = AtomicU64::new(0);
    let services = ["s3", "sqs", "kms"].map(|name| Service::new(name).unwrap());
    let mut saved = server
        .instance()
        .await
        .save(&services, folder.path(), |received, expected| {
            assert_eq!(expected, Some(30));
            seen.store(received, Ordering::Relaxed);
        })
        .await
        .unwrap();

    let mut content = Vec::new();
    saved.file.read_to_end(&mut content).unwrap();
    assert_eq!(content, ZIP);
    assert_eq!((saved.len, seen.into_inner()), (30, 30));
    assert_eq!(
        saved.services,
        ["s3", "sqs"].map(|name| Service::new(name).unwrap())
    );
    assert_eq!(saved.emulator.to_string(), "localstack 4.14.0");
    assert_eq!(saved.failed[0].to_string(), "kms: TypeError: no");
    let work = &saved.under_way[0];
    assert_eq!((work.kind.as_str(), work.count), ("move", 3));
    assert!(!saved.quiesced);

    let metadata = saved.file.metadata().unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o600, 0));
    let request = server.requests().pop().unwrap();
    assert_eq!(
        request.line,
        "GET /_localstack/pods/state?services=s3%2Csqs%2Ckms"
    );
    assert_eq!(request.headers["authorization"], "Basic OmxzLXRva2Vu");
}

#[tokio::test]
async fn a_chunked_state_is_kept_too() {
    let body = [chunk(&ZIP[..1]), chunk(&ZIP[1..]), LAST_CHUNK.to_vec()].concat();
    let saved = save_from(vec![raw(200, CHUNKED, &body)], Limits::default())
        .await
        .unwrap();
    assert_eq!(saved.len, 30);
    assert!(saved.quiesced && saved.services.is_empty() && saved.under_way.is_empty());
}

#[tokio::test]
async fn a_state_larger_than_all_buffers_arrives_whole() {
    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend((0..12_000_000_u32).map(|at| (at ^ (at >> 8)) as u8));
    let mut saved = save_from(vec![answer(200, "", &zip)], Limits::default())
        .await
        .unwrap();
    let mut content = Vec::new();
    saved.file.read_to_end(&mut content).unwrap();
    assert!(content == zip);
}

#[tokio::test]
async fn a_state_that_breaks_off_is_truncated() {
    let sized = "x-localstack-pod-size: 40\r\n";
    for (script, received, expected) in [
        (vec![raw(200, "Content-Length: 40\r\n", ZIP)], 30, Some(40)),
        (vec![raw(200, CHUNKED, &chunk(ZIP))], 30, None),
        (
            vec![raw(
                200,
                &format!("{sized}{CHUNKED}"),
                &[&chunk(ZIP), LAST_CHUNK].concat(),
            )],
            30,
            Some(40),
        ),
        // Closed instead of counted: only LocalStack's own header tells.
        (vec![raw(200, sized, ZIP)], 30, Some(40)),
        (vec![raw(200, "Content-Length: 40\r\n", b"")], 0, Some(40)),
    ] {
        let error = save_from(script, Limits::default()).await.unwrap_err();
        let Error::Truncated {
            received: r,
            expected: e,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*r, *e), (received, expected));
        assert!(error.hint().unwrap().contains("save again"), "{error}");
    }
}

#[tokio::test]
async fn more_than_was_announced_is_refused() {
    let body = [chunk(ZIP), LAST_CHUNK.to_vec()].concat();
    let headers = format!("x-localstack-pod-size: 7\r\n{CHUNKED}");
    let error = save_from(vec![raw(200, &headers, &body)], Limits::default())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Truncated {
                received: 30,
                expected: Some(7),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_state_without_end_is_too_large() {
    let small = Limits {
        state_len: 1000,
        ..Limits::default()
    };
    let endless = [&b"PK\x03\x04"[..], &[0; 2000]].concat();
    for script in [
        vec![raw(200, CHUNKED, &chunk(&endless)), Act::Hang],
        vec![raw(200, "Content-Length: 1001\r\n", b""), Act::Hang],
    ] {
        let error = save_from(script, small).await.unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { limit: 1000, .. }),
            "{error:?}"
        );
    }
    let beyond = raw(200, "Content-Length: 68719476737\r\n", b"");
    let error = save_from(vec![beyond, Act::Hang], Limits::default())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                limit: 0x10_0000_0000,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_is_no_zip_is_refused_at_its_first_bytes() {
    for script in [
        vec![raw(200, CHUNKED, &chunk(b"<html>")), Act::Hang],
        vec![raw(200, CHUNKED, &chunk(b"P\0")), Act::Hang],
        vec![answer(200, "", b"PK")],
        vec![answer(200, "", b"")],
    ] {
        let error = save_from(script, Limits::default()).await.unwrap_err();
        assert!(matches!(error, Error::NotAState { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn silence_ends_a_save() {
    for script in [
        vec![Act::Hang],
        vec![raw(200, "Content-Length: 40\r\n", b""), Act::Hang],
        vec![raw(200, "Content-Length: 40\r\n", ZIP), Act::Hang],
    ] {
        let error = save_from(script, impatient()).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Stalled {
                    doing: "saving the state",
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn refusals_keep_their_reason() {
    let error = save_from(vec![answer(404, "", b"")], Limits::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoStateEndpoints { .. }), "{error:?}");
    let body = br#"{"error":{"message":"sqs hangs"}}"#;
    let error = save_from(vec![answer(500, "", body)], Limits::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Failed { status: 500, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("sqs hangs"), "{error}");
    let error = save_from(
        vec![answer(302, "Location: http://x\r\n", b"")],
        Limits::default(),
    )
    .await;
    assert!(matches!(error, Err(Error::NotAnEmulator { .. })));
    let error = save_from(vec![], Limits::default()).await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn headers_that_make_no_sense_are_refused() {
    for headers in [
        "x-localstack-pod-services: s3,../../etc\r\n",
        "x-podsync-failed: {\"s3\": 1}\r\n",
        "x-podsync-failed: [{\"service\": \"S3 !\", \"reason\": \"\"}]\r\n",
    ] {
        let error = save_from(vec![answer(200, headers, ZIP)], Limits::default()).await;
        assert!(
            matches!(error, Err(Error::Unintelligible { .. })),
            "{headers}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_state_without_any_service_is_no_success() {
    let headers = "x-podsync-failed: [{\"service\": \"s3\", \"reason\": \"locked\"}]\r\n";
    let error = save_from(vec![answer(200, headers, ZIP)], Limits::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NothingSaved { .. }), "{error:?}");
    assert!(error.to_string().contains("s3: locked"), "{error}");
}

#[tokio::test]
async fn services_of_which_there_is_nothing_are_no_success() {
    let headers = "x-localstack-pod-services: \r\n";
    let kms = [Service::new("kms").unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let server = Hostile::start().await.on_each(
        STATE,
        vec![
            vec![answer(200, headers, ZIP)],
            vec![answer(200, headers, ZIP)],
            vec![answer(200, "", ZIP)],
        ],
    );
    let instance = server.instance().await;
    let error = instance.save(&kms, folder.path(), |_, _| {}).await;
    assert!(
        matches!(&error, Err(Error::NothingThere { services, .. }) if *services == kms),
        "{error:?}"
    );
    // An instance where nothing was used is a state too, and one that doesn't say may hold it.
    instance.save(&[], folder.path(), |_, _| {}).await.unwrap();
    instance.save(&kms, folder.path(), |_, _| {}).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let server = Hostile::start().await.on(STATE, vec![answer(200, "", ZIP)]);
    let folder = Path::new("/nowhere/to/be/found");
    let error = server
        .instance()
        .await
        .save(&[], folder, |_, _| {})
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Disk { .. }), "{error:?}");
    assert!(
        error.to_string().contains("/nowhere/to/be/found"),
        "{error}"
    );
}
