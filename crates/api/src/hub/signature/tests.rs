//! The RFC's vector, round trips, and checks that no part of a signed request can be changed.

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_762_300_000;
const AUTHORITIES: [&str; 2] = ["hub.internal:8443", "hub.example.com"];

fn device() -> DeviceSecret {
    DeviceSecret::from_seed([7; 32])
}

fn target() -> Target<'static> {
    Target {
        method: "POST",
        authority: "hub.example.com",
        path: "/v1/teams/ab/commit",
        query: None,
    }
}

fn signed(target: &Target<'_>, body: &[u8]) -> SignatureHeaders {
    sign(target, body, &device(), NOW, &[9; NONCE_LEN])
}

fn check(target: &Target<'_>, headers: &SignatureHeaders) -> Result<SignedRequest, RequestError> {
    verify(target, &AUTHORITIES, headers, NOW)
}

/// RFC 9421, Appendix B.2.6.
#[test]
fn the_vector_of_the_rfc() {
    const KEY: &[u8] = b"MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF";
    const PARAMS: &str = r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    let der = BASE64.decode(KEY).unwrap();
    let device = DeviceSecret::from_seed(der[der.len() - 32..].try_into().unwrap());
    let lines = [
        r#""date": Tue, 20 Apr 2021 02:07:55 GMT"#,
        r#""@method": POST"#,
        r#""@path": /foo"#,
        r#""@authority": example.com"#,
        r#""content-type": application/json"#,
        r#""content-length": 18"#,
    ]
    .map(|line| HttpMessageComponent::try_from(line).unwrap());
    let params = HttpSignatureParams::try_from(PARAMS).unwrap();
    let base = HttpSignatureBase::try_new(&lines, &params).unwrap();
    let headers = base
        .build_signature_headers(&SigningKey(&device), Some("sig-b26"))
        .unwrap();
    assert_eq!(
        headers.signature_header_value(),
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    );
    assert_eq!(
        headers.signature_input_header_value(),
        format!("sig-b26={PARAMS}")
    );
}

/// Our own vector: a change here locks out every older client.
#[test]
fn requests_keep_their_bytes() {
    let headers = signed(
        &Target {
            query: Some("from=1&to=5"),
            ..target()
        },
        b"{}",
    );
    assert_eq!(
        headers.content_digest,
        "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:"
    );
    assert_eq!(
        headers.signature_input,
        r#"sig1=("@method" "@authority" "@path" "@query" "content-digest");created=1762300000;expires=1762300060;nonce="CQkJCQkJCQkJCQkJCQkJCQ";alg="ed25519";keyid="KEYID""#
            .replace("KEYID", &device().id().to_string())
    );
    // The signed bytes in full, so that this doesn't rely on httpsig.
    let base = format!(
        "\"@method\": POST\n\"@authority\": hub.example.com\n\"@path\": /v1/teams/ab/commit\n\
         \"@query\": ?from=1&to=5\n\"content-digest\": {}\n\"@signature-params\": {}",
        headers.content_digest,
        headers.signature_input.strip_prefix("sig1=").unwrap()
    );
    let signature = device().signing_key().sign(base.as_bytes()).to_bytes();
    assert_eq!(
        headers.signature,
        format!("sig1=:{}:", BASE64.encode(&signature))
    );
}

#[test]
fn what_was_signed_is_believed_with_its_own_body_only() {
    let request = check(&target(), &signed(&target(), b"body")).unwrap();
    assert_eq!(request.device, device().id());
    assert_eq!(request.nonce, [9; NONCE_LEN]);
    assert_eq!(request.expires, NOW + MAX_LIFETIME);
    assert_eq!(request.check_body(b"body"), Ok(()));
    assert_eq!(request.check_body(b"bodY"), Err(RequestError::OtherBody));
    assert_eq!(request.check_body(b""), Err(RequestError::OtherBody));
}

#[test]
fn a_request_is_good_for_one_target() {
    let headers = signed(&target(), b"");
    for other in [
        Target {
            method: "GET",
            ..target()
        },
        Target {
            path: "/v1/teams/cd/commit",
            ..target()
        },
        Target {
            query: Some("to=5"),
            ..target()
        },
    ] {
        assert_eq!(check(&other, &headers), Err(RequestError::Forged));
    }
    let elsewhere = signed(
        &Target {
            authority: "hub.example.org",
            ..target()
        },
        b"",
    );
    assert_eq!(check(&target(), &elsewhere), Err(RequestError::Forged));
}

#[test]
fn a_request_has_its_time() {
    let headers = signed(&target(), b"");
    for (now, good) in [
        (NOW - 3600, false),
        (NOW - MAX_AHEAD - 1, false),
        (NOW - MAX_AHEAD, true),
        (NOW + MAX_LIFETIME, true),
        (NOW + MAX_LIFETIME + 1, false),
        (NOW + 3600, false),
    ] {
        let result = verify(&target(), &AUTHORITIES, &headers, now);
        let expected = if good {
            None
        } else {
            Some(RequestError::Skewed)
        };
        assert_eq!(result.err(), expected, "{}", now as i64 - NOW as i64);
    }
}

#[test]
fn another_spelling_is_refused() {
    let good = signed(&target(), b"");
    let with = |input: String| SignatureHeaders {
        signature_input: input,
        ..good.clone()
    };
    let replaced = |from: &str, to: &str| {
        assert!(good.signature_input.contains(from));
        with(good.signature_input.replace(from, to))
    };
    for headers in [
        replaced("sig1=", "sig2="),
        replaced(" \"content-digest\"", ""),
        replaced("\"@method\" \"@authority\"", "\"@authority\" \"@method\""),
        replaced("(\"@method\"", "(\"@method\";req"),
        replaced(";created=1762300000", ""),
        replaced(";expires=1762300060", ""),
        replaced(";expires=1762300060", ";expires=1762300061"),
        replaced(";expires=1762300060", ";expires=1762300000"),
        replaced("CQkJCQkJCQkJCQkJCQkJCQ", "CQkJ"),
        replaced("ed25519", "hmac-sha256"),
        replaced("keyid=\"12D3Koo", "keyid=\"12D3Kop"),
        with(format!("{};tag=\"x\"", good.signature_input)),
        with(format!("{};other=1", good.signature_input)),
        with(format!("{} ", good.signature_input)),
        with(good.signature_input.replace(";nonce", "; nonce")),
        with(format!("{0}, {0}", good.signature_input)),
        with("x".repeat(100_000)),
        with(String::new()),
        SignatureHeaders {
            signature: good.signature.replace("=:", "="),
            ..good.clone()
        },
        SignatureHeaders {
            signature: "sig1=:AAAA:".to_owned(),
            ..good.clone()
        },
    ] {
        assert!(
            matches!(check(&target(), &headers), Err(RequestError::Malformed(_))),
            "{}",
            headers.signature_input
        );
    }
}

/// Each of two requests is valid. No mixture of their headers is.
#[test]
fn swapped_headers_are_refused() {
    let one = sign(&target(), b"one", &device(), NOW, &[1; NONCE_LEN]);
    let two = sign(&target(), b"two", &device(), NOW, &[2; NONCE_LEN]);
    for mixture in 1..7 {
        let pick = |bit: u8| if mixture >> bit & 1 == 1 { &one } else { &two };
        let mixed = SignatureHeaders {
            content_digest: pick(0).content_digest.clone(),
            signature_input: pick(1).signature_input.clone(),
            signature: pick(2).signature.clone(),
        };
        assert_eq!(
            check(&target(), &mixed),
            Err(RequestError::Forged),
            "{mixture}"
        );
    }
}

#[test]
fn authorities_have_one_spelling() {
    for (url, expected) in [
        ("https://Hub.Example.com/", "hub.example.com"),
        ("https://hub.example.com:443", "hub.example.com"),
        ("https://hub.example.com:8443/x", "hub.example.com:8443"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("http://[::1]:7640", "[::1]:7640"),
    ] {
        assert_eq!(
            authority(&url.parse().unwrap()).as_deref(),
            Some(expected),
            "{url}"
        );
    }
}

#[test]
fn headers_do_not_show() {
    let headers = signed(&target(), b"");
    assert!(!format!("{headers:?}").contains("sig1"));
}

proptest! {
    #[test]
    fn any_request_round_trips(
        seed in any::<[u8; 32]>(),
        nonce in any::<Nonce>(),
        created in 0..u64::from(u32::MAX),
        body in proptest::collection::vec(any::<u8>(), 0..100),
        path in "/[a-zA-Z0-9%/._~-]{0,60}",
        query in proptest::option::of("[a-z0-9=&%]{0,40}"),
    ) {
        let device = DeviceSecret::from_seed(seed);
        let target = Target { method: "GET", authority: "[::1]:7640", path: &path, query: query.as_deref() };
        let headers = sign(&target, &body, &device, created, &nonce);
        let request = verify(&target, &[target.authority], &headers, created).unwrap();
        prop_assert_eq!(request.device, device.id());
        prop_assert_eq!(request.nonce, nonce);
        prop_assert_eq!(request.check_body(&body), Ok(()));
    }

    #[test]
    fn a_changed_character_is_noticed(header in 0..3usize, at in any::<prop::sample::Index>(), to in "[ -~]") {
        let good = signed(&target(), b"body");
        let mut bad = good.clone();
        let text = [&mut bad.content_digest, &mut bad.signature_input, &mut bad.signature][header]
            .to_owned();
        let at = at.index(text.len());
        let changed = format!("{}{to}{}", &text[..at], &text[at + 1..]);
        prop_assume!(changed != text);
        *[&mut bad.content_digest, &mut bad.signature_input, &mut bad.signature][header] = changed;
        prop_assert!(check(&target(), &bad).is_err(), "{:?}", bad.iter());
    }

    #[test]
    fn any_headers_are_refused_without_a_panic(a in ".{0,80}", b in ".{0,80}", c in ".{0,80}") {
        let headers = SignatureHeaders { content_digest: a, signature_input: b, signature: c };
        prop_assert!(check(&target(), &headers).is_err());
    }
}
