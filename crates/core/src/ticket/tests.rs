use proptest::prelude::*;

use super::*;

fn made(hub: Option<&str>, addresses: &[&str]) -> Ticket {
    made_for(TicketKind::Invite, hub, addresses)
}

fn made_for(kind: TicketKind, hub: Option<&str>, addresses: &[&str]) -> Ticket {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Ticket::new(
        kind,
        TicketSecret::from_seed(&[7; 32]),
        TeamId::of(b"team"),
        &OpId::of(b"head"),
        hub,
        &addresses,
    )
}

fn ticket() -> Ticket {
    made(
        Some("https://hub.example.com:8443"),
        &[
            "/ip4/192.168.1.5/tcp/7637",
            "/ip4/192.168.1.5/udp/7637/quic-v1",
        ],
    )
}

fn not_one() -> TicketError {
    TicketError::NotOne {
        what: "ticket",
        prefix: "podsync2-".to_owned(),
    }
}

fn typo() -> TicketError {
    TicketError::Typo { what: "ticket" }
}

#[test]
fn a_ticket_reads_back() {
    let read = Ticket::parse(&ticket().expose_text()).unwrap();
    assert_eq!(read, ticket());
    assert_eq!(read.kind, TicketKind::Invite);
    assert_eq!(read.floor, [OpPrefix::of(&OpId::of(b"head"))]);
    let key = TicketSecret::from_seed(&[7; 32]).key(&TeamId::of(b"team"));
    assert_eq!(read.secret().id(), key.id());
    assert_eq!(
        read.hubs().collect::<Vec<_>>(),
        ["https://hub.example.com:8443"]
    );
    assert_eq!(
        read.dialled().collect::<Vec<_>>(),
        [
            "/ip4/192.168.1.5/tcp/7637",
            "/ip4/192.168.1.5/udp/7637/quic-v1"
        ]
    );
}

/// Made once by this code from the values in `ticket()` and the recovery seed 0x07 x 32.
#[test]
fn texts_keep_their_form() {
    assert_eq!(&*ticket().expose_text(), TICKET_TEXT);
    assert_eq!(
        &*RecoveryKey::from_seed([7; 32]).expose_text(),
        RECOVERY_TEXT
    );
}

const TICKET_TEXT: &str = "podsync2-aiaaobyha4dqobyha4dqobyha4dqpetofkcgajawzylpwy6ui3qfnfg4wtpl6gpjsf27lya\
    medoigkjkgxy6uabl7mamcjmijzsq7bsaiyaq6abvjlucaccyjpwrkjpzk7dhaaicadakqaif2u5wmkjeoi";
const RECOVERY_TEXT: &str =
    "podsync-recovery1-aedqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqp2ra7csa";
/// Made by the first form's code: seed 0x07 x 32, one head, one address, issuer 0x09 x 32.
const FIRST_TEXT: &str = "podsync1-aeaaobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqob4snyviiybec3hbn63\
    d2rdoavuu3s2n5pyz5gixl5pabqqnzazjfiatl4pkaav7wagbewee4zipqzaennuh4csiu3w4djmryrm\
    7rq2b3jibdexws4buf4ytsmroge3dqlrrfy2s65ddoaxtinzug4eqscijbeeqscijbeeqscijbeeqsci\
    jbeeqscijbeeqscijbeeqsok6xr6q";

#[test]
fn a_ticket_of_the_first_form_is_read() {
    let first = Ticket::parse(FIRST_TEXT).unwrap();
    assert_eq!(first.kind, TicketKind::Invite);
    assert_eq!(first.secret().id(), DeviceSecret::from_seed([7; 32]).id());
    assert_eq!(first.team, TeamId::of(b"team"));
    assert_eq!(first.floor, [OpPrefix::of(&OpId::of(b"head"))]);
    assert_eq!(first.addresses, ["/ip4/192.168.1.5/tcp/4747"]);
    assert_eq!(first.issuer, Some(DeviceId::from_bytes([9; 32])));
    assert_eq!(&*first.expose_text(), FIRST_TEXT);
}

/// How mail programs, chats, shells and people mangle a ticket.
#[test]
fn what_people_paste_is_read() {
    for text in [ticket().expose_text().to_string(), FIRST_TEXT.to_owned()] {
        let expected = Ticket::parse(&text).unwrap();
        let (a, b) = text.split_at(text.len() / 2);
        for pasted in [
            format!("  {text}\r\n"),
            format!("\"{text}\""),
            format!("'{text}',"),
            format!("`{text}`."),
            format!("\u{201c}{text}\u{201d}"),
            format!("«\u{a0}{text}\u{a0}»"),
            format!("{a}\n{b}"),
            format!("{a}\r\n    {b}\r\n"),
            format!("> {a}\n> {b}\n"),
            format!("{a}=\n{b}"),
            format!("{a}\u{200b}{b}\u{feff}"),
            format!("ticket: {text}"),
            format!("Ticket:\n\n{text}\n\nSee you, Alice"),
            format!("here you go, {text} (good for 24 h)"),
            format!("PODSYNC_TICKET={text}"),
            format!("export PODSYNC_TOKEN='{text}'"),
            format!("podsync team join {text} --label laptop"),
            format!("{text} {text}"),
            format!("podsync2-abc {text}"),
            format!("<https://chat.example/podsync-team> {text}"),
            text.to_ascii_uppercase(),
            text.replacen('-', "\u{2011}", 1),
            text.replacen('-', "\u{2013}", 1),
            text.chars()
                .map(|c| format!("{c} "))
                .take(80)
                .collect::<String>()
                + &text[80..],
            format!("\u{1b}[1m{text}\u{1b}[0m"),
        ] {
            assert_eq!(Ticket::parse(&pasted).as_ref(), Ok(&expected), "{pasted}");
        }
    }
    let key = RecoveryKey::from_seed([7; 32]);
    let pasted = RECOVERY_TEXT.to_ascii_uppercase();
    for pasted in [format!("recovery key: \"{pasted}\""), pasted] {
        assert_eq!(RecoveryKey::parse(&pasted).as_ref(), Ok(&key));
    }
}

#[test]
fn each_mistake_has_its_answer() {
    let text = ticket().expose_text();
    assert_eq!(Ticket::parse("hunter2"), Err(not_one()));
    assert_eq!(Ticket::parse(""), Err(not_one()));
    assert_eq!(Ticket::parse("podsync team join"), Err(not_one()));
    assert_eq!(Ticket::parse(&text[..text.len() - 1]), Err(typo()));
    assert_eq!(Ticket::parse(&format!("{}a", *text)), Err(typo()));
    assert_eq!(Ticket::parse("podsync2-"), Err(typo()));
    assert_eq!(Ticket::parse("podsync1-"), Err(typo()));
    let other = text.replacen("podsync2-", "podsync1-", 1);
    assert_eq!(
        Ticket::parse(&other),
        Err(typo()),
        "the check says the form too"
    );
    let newer = Err(TicketError::Newer { what: "ticket" });
    for version in ["3", "99999999999"] {
        let prefix = format!("podsync{version}-");
        assert_eq!(
            Ticket::parse(&text.replacen("podsync2-", &prefix, 1)),
            newer
        );
    }
    let recovery = RecoveryKey::from_seed([7; 32]).expose_text();
    assert_eq!(Ticket::parse(&recovery), Err(TicketError::RecoveryKey));
    assert!(matches!(
        RecoveryKey::parse(&text),
        Err(TicketError::NotOne { .. })
    ));
    assert_eq!(
        RecoveryKey::parse(&recovery.replace("recovery1", "recovery9")),
        Err(TicketError::Newer {
            what: "recovery key"
        })
    );
}

#[test]
fn every_mistyped_character_is_noticed() {
    let text = ticket().expose_text();
    for at in "podsync2-".len()..text.len() {
        let other = if &text[at..=at] == "a" { "b" } else { "a" };
        let typed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        assert_eq!(Ticket::parse(&typed), Err(typo()), "at {at}");
    }
}

#[test]
fn a_ticket_has_at_most_two_hundred_characters() {
    let longest = format!("https://{}", "h".repeat(66));
    let full = made(Some(&longest), &["/ip4/10.0.0.1/tcp/1"]);
    assert!(full.expose_text().len() <= MAX_TEXT_LEN);
    assert_eq!(Ticket::parse(&full.expose_text()), Ok(full.clone()));
    assert_eq!(full.addresses, [longest], "the hub comes first");
    let longer = format!("https://{}", "h".repeat(67));
    assert!(!has_room_for(&longer));
    let without = made(Some(&longer), &["/ip4/10.0.0.1/tcp/1"]);
    assert!(without.expose_text().len() <= MAX_TEXT_LEN);
    assert_eq!(without.hubs().next(), None, "it is told beside the ticket");
    assert_eq!(without.dialled().count(), 1);
    assert!(!has_room_for("ftp://hub.example") && !has_room_for("hub.example"));

    let many: Vec<_> = (0..20)
        .map(|n| format!("/ip6/fd00::{n}/tcp/65535"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let full = made(None, &many);
    assert!(full.expose_text().len() <= MAX_TEXT_LEN);
    assert_eq!(full.addresses, many[..2], "those that fit, the first ones");
}

#[test]
fn a_robots_token_has_its_hub_whatever_the_length() {
    for url in [
        format!("https://{}", "h".repeat(67)),
        format!("https://{}:8443", "Hub.example/".repeat(40)),
    ] {
        let token = made_for(TicketKind::Robot, Some(&url), &["/ip4/10.0.0.1/tcp/1"]);
        let read = Ticket::parse(&token.expose_text()).unwrap();
        assert_eq!(read.hubs().collect::<Vec<_>>(), [url]);
        assert_eq!(read, token);
    }
    let endless = format!("https://{}", "h".repeat(505));
    let token = made_for(TicketKind::Robot, Some(&endless), &[]);
    assert_eq!(token.hubs().next(), None, "no hub has such an address");
}

#[test]
fn a_hub_that_is_told_beside_a_ticket_is_asked_first() {
    let hub = "https://hub.example".to_owned();
    let ticket = made(None, &["/ip4/10.0.0.1/tcp/1"]).with_hub(hub.clone());
    assert_eq!(ticket.hubs().collect::<Vec<_>>(), [&hub]);
    assert_eq!(ticket.clone().with_hub(hub), ticket, "once");
}

#[test]
fn addresses_of_every_kind_travel() {
    let all = [
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/10.0.0.2/udp/2/quic-v1",
        "/dns4/build/tcp/3",
    ];
    assert_eq!(made(None, &all).addresses, all);
    let odd = ["/ip6/FD00:0:0::1/tcp/1"];
    assert_eq!(made(None, &odd).addresses, odd, "kept as spelled");
}

#[test]
fn secrets_are_hidden() {
    let shown = format!("{:?} {:?}", ticket(), TicketSecret::from_seed(&[7; 32]));
    assert!(
        shown.contains("hidden") && !shown.contains("7, 7"),
        "{shown}"
    );
    assert_eq!(
        format!("{:?}", RecoveryKey::from_seed([7; 32])),
        "RecoveryKey(hidden)"
    );
}

#[test]
fn a_recovery_key_reads_back() {
    let key = RecoveryKey::from_seed([3; 32]);
    assert_eq!(RecoveryKey::parse(&key.expose_text()), Ok(key));
}

fn urls() -> impl Strategy<Value = String> {
    "https?://([a-z0-9.:-]{1,66}|[a-zA-Z0-9./:_\\[\\]~-]{1,45})"
}

fn multiaddrs() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<(std::net::Ipv4Addr, u16)>().prop_map(|(ip, port)| format!("/ip4/{ip}/tcp/{port}")),
        any::<(std::net::Ipv4Addr, u16)>()
            .prop_map(|(ip, port)| format!("/ip4/{ip}/udp/{port}/quic-v1")),
        any::<(std::net::Ipv6Addr, u16)>().prop_map(|(ip, port)| format!("/ip6/{ip}/tcp/{port}")),
        "/dns4/[a-z.]{1,20}/tcp/[0-9]{1,5}",
    ]
}

proptest! {
    #[test]
    fn any_ticket_is_short_and_reads_back(
        is_robot: bool,
        secret: [u8; 32],
        hub in prop::option::of(urls()),
        addresses in prop::collection::vec(multiaddrs(), 0..10),
    ) {
        let kind = if is_robot { TicketKind::Robot } else { TicketKind::Invite };
        let (secret, team) = (TicketSecret::from_seed(&secret), TeamId::of(&secret));
        let made = Ticket::new(kind, secret, team, &OpId::of(b"op"), hub.as_deref(), &addresses);
        let text = made.expose_text();
        prop_assert!(text.len() <= MAX_TEXT_LEN);
        prop_assert_eq!(made.hubs().next(), hub.as_deref());
        prop_assert!(made.dialled().all(|address| addresses.iter().any(|given| given == address)));
        prop_assert!(made.addresses.len() <= MAX_ADDRESSES + 1);
        prop_assert_eq!(Ticket::parse(&text.to_ascii_uppercase()), Ok(made));
    }

    #[test]
    fn any_text_is_parsed_without_a_panic(
        text in "(podsync(-recovery)?[123]-)?[a-z2-7é\\n -]{0,200}(podsync[12]-)?\\PC{0,50}"
    ) {
        prop_assert!(Ticket::parse(&text).is_err());
        prop_assert!(RecoveryKey::parse(&text).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for version in [1, 2, 3] {
            let bytes = [&[version], &bytes[..]].concat();
            if let Ok(ticket) = Ticket::decode(&bytes) {
                prop_assert_eq!(Ticket::parse(&ticket.expose_text()), Ok(ticket));
            }
        }
    }
}
