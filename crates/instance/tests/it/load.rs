//! Loading into an instance that behaves, and into those that don't.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use podsync_core::manifest::Emulator;
use podsync_instance::{
    Aftermath, Error, Instance, Interruption, Limits, LoadProgress, LoadReport, LoadRequest, Merge,
};

use crate::hostile::{Act, CHUNKED, Hostile, LAST_CHUNK, answer, chunk, impatient, raw};

const PODS: &str = "POST /_localstack/pods";
const S3_OK: &[u8] = b"{\"service\":\"s3\",\"status\":\"ok\",\"message\":\"\"}\n";
const SQS_BAD: &[u8] = b"{\"service\":\"sqs\",\"status\":\"error\",\"message\":\"no queue\"}\n";

type Pieces = stream::Iter<std::vec::IntoIter<io::Result<Bytes>>>;

pub(crate) fn state(pieces: &[&'static [u8]]) -> Pieces {
    stream::iter(
        pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece)))
            .collect::<Vec<_>>(),
    )
}

pub(crate) async fn load(
    instance: &Instance,
    state: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    len: u64,
    merge: Merge,
) -> Result<LoadReport, Error> {
    let saved_by = Emulator {
        name: "localstack".to_owned(),
        version: "2026.3.0".to_owned(),
    };
    let request = LoadRequest {
        len,
        reference: "orders:3",
        merge,
        saved_by: Some(&saved_by),
        meant: None,
    };
    instance.load(state, request, |_| {}).await
}

async fn load_into(server: Hostile, limits: Limits) -> Result<LoadReport, Error> {
    let instance = server.instance_with(limits).await;
    load(
        &instance,
        state(&[b"PK\x05\x06", b"state"]),
        9,
        Merge::default(),
    )
    .await
}

async fn interruption(server: Hostile, limits: Limits) -> Interruption {
    match load_into(server, limits).await.unwrap_err() {
        Error::Interrupted(interruption) => *interruption,
        error => panic!("{error:?}"),
    }
}

/// An answer of events that doesn't end.
fn open(events: &[&[u8]]) -> Act {
    let body: Vec<u8> = events
        .iter()
        .filter(|event| !event.is_empty())
        .flat_map(|event| chunk(event))
        .collect();
    raw(201, CHUNKED, &body)
}

fn names(services: &[podsync_instance::Service]) -> Vec<&str> {
    services
        .iter()
        .map(podsync_instance::Service::as_str)
        .collect()
}

#[tokio::test]
async fn a_state_arrives_as_it_is_and_each_service_is_accounted_for() {
    let events = Act::Send(chunk(&[S3_OK, &SQS_BAD[..9]].concat()));
    let server = Hostile::start().await.on(
        PODS,
        vec![
            Act::ReadBody,
            raw(201, CHUNKED, b""),
            events,
            Act::Send([&chunk(&SQS_BAD[9..])[..], LAST_CHUNK].concat()),
        ],
    );
    let instance = server.instance().await;
    let progress = Arc::new(Mutex::new(Vec::new()));
    let seen = progress.clone();
    let request = LoadRequest {
        len: 9,
        reference: "orders:3",
        merge: Merge::ServiceMerge,
        saved_by: None,
        meant: None,
    };
    let report = instance
        .load(state(&[b"PK\x05\x06", b"state"]), request, move |step| {
            seen.lock().unwrap().push(step);
        })
        .await
        .unwrap();

    assert_eq!(names(&report.applied), ["s3"]);
    assert_eq!(report.failed[0].service.as_str(), "sqs");
    assert_eq!(report.failed[0].failure.as_deref(), Some("no queue"));
    let progress = progress.lock().unwrap();
    assert!(progress.contains(&LoadProgress::Sent(9)), "{progress:?}");
    assert!(
        matches!(&progress[progress.len() - 1], LoadProgress::Service(_)),
        "{progress:?}"
    );
    let post = server.requests().pop().unwrap();
    assert_eq!(post.line, "POST /_localstack/pods?merge=service-merge");
    assert_eq!(post.body, b"PK\x05\x06state");
    assert_eq!(post.headers["content-length"], "9");
    assert!(!post.headers.contains_key("transfer-encoding"));
    assert_eq!(post.headers["content-type"], "application/octet-stream");
    assert_eq!(post.headers["authorization"], "Basic OmxzLXRva2Vu");
}

#[tokio::test]
async fn an_empty_account_with_success_is_a_success() {
    let server = Hostile::start()
        .await
        .on(PODS, vec![Act::ReadBody, answer(200, "", b"")]);
    assert_eq!(
        load_into(server, Limits::default()).await.unwrap(),
        LoadReport::default()
    );
}

#[tokio::test]
async fn an_incompatible_state_names_both_versions() {
    let body = br#"{"error":{"message":"saved by a newer LocalStack"}}"#;
    let server = Hostile::start()
        .await
        .on(PODS, vec![Act::ReadBody, answer(422, "", body)]);
    let error = load_into(server, Limits::default()).await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    let text = error.to_string();
    for part in [
        "localstack 4.14.0",
        "localstack 2026.3.0",
        "a newer LocalStack",
        "nothing was",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn other_refusals_keep_their_reason() {
    let body = br#"{"error":{"message":"the zip is broken"}}"#;
    let server = Hostile::start()
        .await
        .on(PODS, vec![Act::ReadBody, answer(400, "", body)]);
    let error = load_into(server, Limits::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Failed { status: 400, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("the zip is broken"), "{error}");
    let server = Hostile::start()
        .await
        .on(PODS, vec![Act::ReadBody, answer(404, "", b"")]);
    let error = load_into(server, Limits::default()).await.unwrap_err();
    assert!(matches!(error, Error::NoStateEndpoints { .. }), "{error:?}");
    let redirect = answer(307, "Location: http://127.0.0.1:1/\r\n", b"");
    let server = Hostile::start()
        .await
        .on(PODS, vec![Act::ReadBody, redirect]);
    let error = load_into(server, Limits::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotAnEmulator { .. }), "{error:?}");
}

#[tokio::test]
async fn a_report_cut_half_way_says_what_was_applied() {
    for end in [b"".as_slice(), b"{\"service\":\"kms\",\"sta"] {
        let server = Hostile::start()
            .await
            .on(PODS, vec![Act::ReadBody, open(&[S3_OK, SQS_BAD, end])]);
        let interruption = interruption(server, Limits::default()).await;
        assert_eq!(names(&interruption.applied), ["s3"]);
        assert_eq!(names(&interruption.failed), ["sqs"]);
        assert_eq!(interruption.aftermath, Aftermath::Running);
        assert!(
            interruption.hint().contains("podsync undo"),
            "{interruption}"
        );
    }
    // Ended as it should be, but in the middle of a line.
    let half = answer(200, "", &[S3_OK, b"{\"service\":\"kms\",\"sta"].concat());
    let server = Hostile::start().await.on(PODS, vec![Act::ReadBody, half]);
    assert_eq!(
        names(&interruption(server, Limits::default()).await.applied),
        ["s3"]
    );
}

#[tokio::test]
async fn an_instance_that_restarts_or_dies_half_way_is_noticed() {
    let info = |id: &str| {
        vec![crate::hostile::json(&format!(
            "{{\"session_id\":\"{id}\"}}"
        ))]
    };
    let server = Hostile::start()
        .await
        .on_each("GET /_localstack/info", vec![info("first"), info("second")])
        .on(PODS, vec![Act::ReadBody, open(&[S3_OK])]);
    let restarted = interruption(server, Limits::default()).await;
    assert_eq!(restarted.aftermath, Aftermath::Restarted);
    assert!(restarted.to_string().contains("restarted"), "{restarted}");

    let server = Hostile::start().await.on(
        PODS,
        vec![Act::ReadBody, open(&[S3_OK]), Act::StopListening],
    );
    let gone = interruption(server, Limits::default()).await;
    assert_eq!(
        (names(&gone.applied), gone.aftermath),
        (vec!["s3"], Aftermath::Gone)
    );

    let server = Hostile::start()
        .await
        .on("GET /_localstack/info", vec![answer(404, "", b"")])
        .on(PODS, vec![Act::ReadBody]);
    assert_eq!(
        interruption(server, Limits::default()).await.aftermath,
        Aftermath::Unknown
    );
}

#[tokio::test]
async fn a_report_without_measure_is_given_up() {
    let giant = vec![b'x'; 200 << 10];
    let server = Hostile::start()
        .await
        .on(PODS, vec![Act::ReadBody, open(&[S3_OK, &giant]), Act::Hang]);
    let one = interruption(server, Limits::default()).await;
    assert!(one.reason.contains("report line of more than"), "{one:?}");

    let many = S3_OK.repeat(podsync_instance::MAX_EVENTS + 1);
    let server = Hostile::start()
        .await
        .on(PODS, vec![Act::ReadBody, open(&[&many]), Act::Hang]);
    let one = interruption(server, Limits::default()).await;
    assert_eq!(one.applied.len(), podsync_instance::MAX_EVENTS);

    let gave_up = b"{\"service\":\"*\",\"status\":\"error\",\"message\":\"disk \\u001bfull\"}\n";
    let server = Hostile::start().await.on(
        PODS,
        vec![Act::ReadBody, open(&[S3_OK, gave_up]), Act::Hang],
    );
    let one = interruption(server, Limits::default()).await;
    assert_eq!(one.reason, "it gave up: disk \u{fffd}full");
}

#[tokio::test]
async fn silence_ends_a_load() {
    for script in [
        vec![Act::ReadBody, Act::Hang],
        vec![Act::ReadBody, open(&[]), Act::Hang],
    ] {
        let server = Hostile::start().await.on(PODS, script);
        let one = interruption(server, impatient()).await;
        assert!(one.reason.contains("silent"), "{one:?}");
    }
}

#[tokio::test]
async fn an_instance_that_stops_reading_is_given_up_before_its_time_to_work() {
    // More than the buffers of both sockets hold.
    const PIECE: &[u8] = &[0; 1 << 20];
    let endless = stream::iter((0..256).map(|_| Ok(Bytes::from_static(PIECE))));
    let server = Hostile::start().await.on(PODS, vec![Act::Hang]);
    let limits = Limits {
        work: Limits::default().work,
        ..impatient()
    };
    let instance = server.instance_with(limits).await;
    let error = load(&instance, endless, 256 << 20, Merge::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Interrupted(one) if one.reason.contains("silent")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_no_fault_of_the_instance() {
    let broken = || Err(io::Error::other("pack is damaged"));
    let cases: [(Vec<io::Result<Bytes>>, &str); 3] = [
        (
            vec![Ok(Bytes::from_static(b"PK\x05\x06")), broken()],
            "pack is damaged",
        ),
        (
            vec![Ok(Bytes::from_static(b"PK\x05\x06"))],
            "ended after 4 of 9 bytes",
        ),
        (
            vec![Ok(Bytes::from_static(b"PK\x05\x06 too much"))],
            "more than the 9 bytes",
        ),
    ];
    for (pieces, reason) in cases {
        let server = Hostile::start().await.on(PODS, vec![Act::ReadBody]);
        let instance = server.instance().await;
        let error = load(&instance, stream::iter(pieces), 9, Merge::default())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Source(_)), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_state_beyond_the_limit_is_never_sent() {
    let server = Hostile::start().await;
    let instance = server
        .instance_with(Limits {
            state_len: 8,
            ..Limits::default()
        })
        .await;
    let error = load(
        &instance,
        state(&[b"PK\x05\x06state"]).boxed(),
        9,
        Merge::default(),
    )
    .await;
    assert!(
        matches!(error, Err(Error::TooLarge { limit: 8, .. })),
        "{error:?}"
    );
    assert!(server.requests().is_empty());
}
