//! Probing instances, and the errors for other servers.

use podsync_instance::{Error, Identity, Limits, Merge, Runtime, Service};

use crate::{
    hostile::{Act, CHUNKED, Hostile, answer, chunk, connect, impatient, json, raw},
    load::{load, state},
};

#[tokio::test]
async fn an_environment_is_read_and_the_token_kept_until_it_is_localstack() {
    let server = Hostile::start().await;
    let instance = server.instance().await;
    let environment = instance.environment().await.unwrap();
    assert_eq!(environment.emulator().to_string(), "localstack 4.14.0");
    assert_eq!(environment.plugin_version, None);
    assert!(instance.is_loopback());
    let authorized = server
        .requests()
        .into_iter()
        .map(|request| (request.line, request.headers.get("authorization").cloned()));
    assert_eq!(
        authorized.collect::<Vec<_>>(),
        [
            ("GET /_localstack/health".to_owned(), None),
            (
                "GET /_localstack/pods/environment".to_owned(),
                Some("Basic OmxzLXRva2Vu".to_owned())
            ),
        ]
    );
    assert!(!format!("{instance:?}").contains("ls-token"));
}

#[tokio::test]
async fn a_licensed_and_a_companion_environment_are_told_apart() {
    let licensed = r#"{"localstack_version":"2026.3.0","localstack_ext_version":"1","pro":true}"#;
    let companion =
        r#"{"localstack_version":"4.14.0","pro":false,"podsync_localstack_version":"0.1.0"}"#;
    for (body, emulator, plugin) in [
        (licensed, "localstack-pro 2026.3.0", None),
        (companion, "localstack 4.14.0", Some("0.1.0")),
    ] {
        let server = Hostile::start()
            .await
            .on("GET /_localstack/pods/environment", vec![json(body)]);
        let environment = server.instance().await.environment().await.unwrap();
        assert_eq!(environment.emulator().to_string(), emulator);
        assert_eq!(environment.plugin_version.as_deref(), plugin);
    }
}

#[tokio::test]
async fn health_leaves_out_what_no_service_is_called() {
    let body = r#"{"services":{"s3":"running","../x":"running","sqs":"err\u001b[2J","n":7},
        "edition":"pro\u0007","version":"4"}"#;
    let server = Hostile::start()
        .await
        .on("GET /_localstack/health", vec![json(body)]);
    let health = server.instance().await.health().await.unwrap();
    let services: Vec<_> = health
        .services
        .iter()
        .map(|(name, status)| (name.as_str(), &**status))
        .collect();
    assert_eq!(
        services,
        [("n", ""), ("s3", "running"), ("sqs", "err\u{fffd}[2J")]
    );
    assert_eq!(health.edition, "pro\u{fffd}");
}

#[tokio::test]
async fn a_bare_404_is_explained() {
    let server = Hostile::start().await.on(
        "GET /_localstack/pods/environment",
        vec![answer(404, "", b"")],
    );
    let error = server.instance().await.environment().await.unwrap_err();
    let community = Runtime::LocalStack {
        edition: "community".to_owned(),
        version: "4.14.0".to_owned(),
    };
    assert!(
        matches!(&error, Error::NoStateEndpoints { runtime, .. } if *runtime == community),
        "{error:?}"
    );
    let text = format!("{error}; {}", error.hint().unwrap());
    for part in [
        "community 4.14.0",
        "LOCALSTACK_AUTH_TOKEN",
        "`podsync plugin install`",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn other_emulators_are_named() {
    let ministack = Hostile::start()
        .await
        .on(
            "GET /_localstack/pods/environment",
            vec![answer(404, "", br#"{"error":"Unknown"}"#)],
        )
        .on("GET /_ministack/health", vec![json("{}")]);
    let moto = Hostile::start()
        .await
        .on(
            "GET /_localstack/health",
            vec![answer(404, "", b"<Error/>")],
        )
        .on("GET /moto-api/data.json", vec![json("{}")]);
    for (server, expected) in [(ministack, Runtime::MiniStack), (moto, Runtime::Moto)] {
        let error = server.instance().await.environment().await.unwrap_err();
        assert!(
            matches!(&error, Error::NoStateEndpoints { runtime, .. } if *runtime == expected),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn something_else_is_no_emulator_and_gets_no_token() {
    let page = answer(200, "Content-Type: text/html\r\n", b"<html>router</html>");
    let huge = vec![b' '; 300 << 10];
    let scripts = [
        vec![page],
        vec![answer(200, "", b"{\"services\":[]}")],
        vec![answer(500, "", b"")],
        vec![answer(200, "", &huge)],
        vec![raw(200, CHUNKED, &chunk(&huge)), Act::Hang],
        vec![Act::Send(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())],
    ];
    for (at, script) in scripts.into_iter().enumerate() {
        let server = Hostile::start().await.on("GET /_localstack/health", script);
        let error = server.instance().await.environment().await.unwrap_err();
        assert!(
            matches!(error, Error::NotAnEmulator { .. }),
            "{at}: {error:?}"
        );
        let told = server.requests();
        assert!(
            told.iter()
                .all(|request| !request.headers.contains_key("authorization")),
            "{at}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Hostile::start().await;
    let location = format!("Location: {}/_localstack/health\r\n", elsewhere.endpoint());
    for path in [
        "GET /_localstack/health",
        "GET /_localstack/pods/environment",
    ] {
        for status in [301, 302, 307, 308] {
            let server = Hostile::start()
                .await
                .on(path, vec![answer(status, &location, b"")]);
            let error = server.instance().await.environment().await.unwrap_err();
            assert!(
                matches!(error, Error::NotAnEmulator { .. }),
                "{path} {status}: {error:?}"
            );
            assert!(
                error.to_string().contains("redirects to http://127.0.0.1"),
                "{error}"
            );
        }
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn nothing_there_is_not_running() {
    // Held open without listening, so that nobody else gets the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap())
        .parse()
        .unwrap();
    let instance = connect(endpoint, None, Limits::default()).await.unwrap();
    let error = instance.environment().await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
    assert!(
        error.hint().unwrap().contains("start LocalStack"),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_not_running() {
    let endpoint = "http://podsync.invalid:4566".parse().unwrap();
    let instance = connect(endpoint, None, impatient()).await.unwrap();
    assert!(!instance.is_loopback());
    let error = instance.environment().await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
}

#[tokio::test]
async fn silence_and_hanging_up_are_told_apart() {
    let silent = Hostile::start()
        .await
        .on("GET /_localstack/health", vec![Act::Hang]);
    let error = silent
        .instance_with(impatient())
        .await
        .environment()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");

    let half = raw(200, "Content-Length: 100\r\n", b"{\"services\"");
    let silent = Hostile::start()
        .await
        .on("GET /_localstack/health", vec![half, Act::Hang]);
    let error = silent
        .instance_with(impatient())
        .await
        .environment()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");

    let gone = Hostile::start().await.on("GET /_localstack/health", vec![]);
    let error = gone.instance().await.environment().await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_the_instances_words_made_printable() {
    let body = br#"{"error":{"message":"token \u001b[31mexpired"}}"#;
    for status in [401, 403] {
        let server = Hostile::start().await.on(
            "GET /_localstack/pods/environment",
            vec![answer(status, "", body)],
        );
        let error = server.instance().await.environment().await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        let text = format!("{error}; {}", error.hint().unwrap());
        assert!(text.contains("token \u{fffd}[31mexpired"), "{text}");
        assert!(
            text.contains("LOCALSTACK_AUTH_TOKEN") && !text.contains("ls-token"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_instance_that_starts_or_stops_says_so() {
    let server = Hostile::start().await.on(
        "GET /_localstack/health",
        vec![answer(503, "", b"shutting down")],
    );
    let error = server.instance().await.environment().await.unwrap_err();
    assert!(
        matches!(&error, Error::Failed { status: 503, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("shutting down"), "{error}");
}

#[tokio::test]
async fn an_identity_lasts_until_the_restart() {
    let first = json(r#"{"session_id":"first"}"#);
    let server = Hostile::start().await.on_each(
        "GET /_localstack/info",
        vec![
            vec![first.clone()],
            vec![first],
            vec![json(r#"{"session_id":"second"}"#)],
        ],
    );
    let instance = server.instance().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(instance.identity().await.unwrap().unwrap());
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[1], seen[2]);
    let again: Identity = serde_json::from_str(&serde_json::to_string(&seen[0]).unwrap()).unwrap();
    assert_eq!(again, seen[0]);
}

#[tokio::test]
async fn no_identity_is_made_up() {
    for script in [
        vec![json("{}")],
        vec![json(r#"{"session_id":null}"#)],
        vec![json(r#"{"session_id":""}"#)],
        vec![json(r#"{"session_id":"a\u001bb"}"#)],
        vec![answer(404, "", b"")],
    ] {
        let server = Hostile::start().await.on("GET /_localstack/info", script);
        assert_eq!(server.instance().await.identity().await.unwrap(), None);
    }
}

#[tokio::test]
async fn resetting_asks_first_and_names_what_is_unknown() {
    let server = Hostile::start()
        .await
        .on("POST /_localstack/state/reset", vec![answer(200, "", b"")])
        .on(
            "POST /_localstack/state/s3/reset",
            vec![answer(200, "", b"")],
        );
    let instance = server.instance().await;
    instance.reset(None).await.unwrap();
    instance
        .reset(Some(&Service::new("s3").unwrap()))
        .await
        .unwrap();
    let error = instance
        .reset(Some(&Service::new("nope").unwrap()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UnknownService { .. }), "{error:?}");
    assert_eq!(
        server.posts()[..2],
        [
            "POST /_localstack/state/reset",
            "POST /_localstack/state/s3/reset"
        ]
    );
}

#[tokio::test]
async fn nothing_is_posted_to_what_cannot_load() {
    let server = Hostile::start().await.on(
        "GET /_localstack/pods/environment",
        vec![answer(404, "", b"")],
    );
    let instance = server.instance().await;
    let loaded = load(&instance, state(&[b"PK\x05\x06"]), 4, Merge::Overwrite).await;
    assert!(
        matches!(loaded, Err(Error::NoStateEndpoints { .. })),
        "{loaded:?}"
    );
    assert!(matches!(
        instance.reset(None).await,
        Err(Error::NoStateEndpoints { .. })
    ));
    assert_eq!(server.posts(), [""; 0]);
}
