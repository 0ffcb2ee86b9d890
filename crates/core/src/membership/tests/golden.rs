//! Golden vectors: the bytes of every kind of operation, from fixed keys.
//!
//! This code made `testdata/membership.txt`. A failing test prints the current bytes; accept them
//! only with a new format version and a note on how old readers handle it.

use super::*;
use crate::{
    codec::Format,
    membership::{
        Author, KeyRing,
        author::Offer,
        operation::InviteProof,
        wire::{MembershipRequest, MembershipResponse, RefusedReason},
    },
};

const VECTORS: &str = include_str!("../../../testdata/membership.txt");

#[test]
fn formats_keep_their_bytes() {
    let made: String = vectors()
        .into_iter()
        .map(|(name, bytes)| format!("{name} {}\n", data_encoding::HEXLOWER.encode(&bytes)))
        .collect();
    let kept: String = VECTORS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(made == kept, "the formats changed; made now:\n{made}");
}

/// Together they are the history of a team.
#[test]
fn vectors_are_believed_and_count() {
    let mut membership: Option<Membership> = None;
    for (name, bytes) in vectors() {
        if let Ok(op) = verify::<Operation>(&bytes) {
            let id = OpId::of(&bytes);
            match &mut membership {
                None => membership = Membership::new(op).ok(),
                Some(membership) => assert_eq!(membership.insert(op), Insert::New, "{name}"),
            }
            assert_eq!(membership.as_ref().unwrap().why_void(&id), None, "{name}");
        }
    }
    assert_eq!(membership.unwrap().op_count(), 9);
}

fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let mut team = Team::new();
    let mut vectors = vec![("found", team.founding.bytes().to_vec())];
    let founder = device(FOUNDER);
    let seed = [0xee; 32];
    let ring = KeyRing::unlock(&team.membership, &founder);
    let mut make = |name, make: &dyn Fn(Author<'_>) -> Vec<u8>| {
        let bytes = make(Author::new(&founder, &team.membership, &ring));
        team.membership.insert(verified(&bytes));
        vectors.push((name, bytes));
    };
    let request = |team| author::join_request(&device(50), team, enrolment(3));
    make("add", &|author| {
        author.add(enrolment(1), Role::Publisher, &seed).unwrap()
    });
    make("set-role", &|author| {
        author.set_role(id(1), Role::Admin).unwrap()
    });
    make("robot", &|author| {
        let (member, label) = (
            MemberName::new("ci").unwrap(),
            DeviceLabel::new("runner").unwrap(),
        );
        author
            .robot(member, label, &DeviceSecret::from_seed([61; 32]), &seed)
            .unwrap()
    });
    make("invite", &|author| {
        let offer = Offer {
            role: Role::Reader,
            member: None,
            expires_ms: 1000,
            uses: 3,
        };
        author.invite(offer, &device(50), &seed).unwrap()
    });
    make("join", &|author| {
        let request = verify::<InviteProof>(&request(author.team())).unwrap();
        author.witness(&request, 500, &seed).unwrap()
    });
    make("remove", &|author| {
        author
            .remove(
                id(1),
                Some(LastEntry {
                    seq: 300,
                    hash: entry(300),
                }),
            )
            .unwrap()
    });
    make("rotate", &|author| {
        author
            .rotate(&SecretKey::from_bytes([0xf1; 32]), 500, &seed)
            .unwrap()
    });
    make("settings", &|author| {
        let changes = [("hub.url".to_owned(), Some("https://hub.example".to_owned()))];
        author.settings(changes.into()).unwrap()
    });
    let id = team.id();
    let heads = team.heads();
    let request = request(id);
    vectors.push(("join-request", request.clone()));
    vectors.push(("wire-fetch", MembershipRequest::fetch(id, &heads).encode()));
    vectors.push((
        "wire-join",
        MembershipRequest::Join {
            team: id,
            request: request.into(),
        }
        .encode(),
    ));
    vectors.push(("wire-ops", MembershipResponse::ops([b"op"]).encode()));
    vectors.push(("wire-joined", MembershipResponse::joined([b"op"]).encode()));
    vectors.push((
        "wire-refused",
        MembershipResponse::Refused(RefusedReason::InviteSpent).encode(),
    ));
    vectors
}

#[test]
fn every_damaged_vector_is_refused() {
    for (name, bytes) in vectors().into_iter().take(6) {
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(verify::<Operation>(&bad).is_err(), "{name}, byte {at}");
            assert!(
                verify::<Operation>(&bytes[..at]).is_err(),
                "{name}, cut at {at}"
            );
        }
    }
}
