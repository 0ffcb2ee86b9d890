//! Operations at the hub, and joining through it.

use podsync_api::hub::{
    FetchOperations, HubErrorCode, JoinByInvite, Operations, PostOperations, TeamInfo,
};
use podsync_core::{
    OpId,
    keys::DeviceSecret,
    membership::{
        HUB_KEY, Membership, Operation, Role,
        author::{Offer, join_request},
    },
    signed::verify,
};
use podsync_hub::testing::TestHub;
use reqwest::StatusCode;

use crate::kit::{Call, Team, client, device, enrolment};

const INVITE: [u8; 32] = [0x44; 32];
const FAR: u64 = 1 << 45;

fn posting(team: &Team, operations: &[Vec<u8>], by: u8) -> Call {
    let post = PostOperations {
        operations: operations.iter().map(Into::into).collect(),
    };
    Call::post(team.id(), "membership", &post).by(by)
}

fn inserted(operations: &Operations) -> Membership {
    let mut operations = operations
        .operations
        .iter()
        .map(|op| verify::<Operation>(op).unwrap());
    let mut membership = Membership::new(operations.next().unwrap()).unwrap();
    membership.insert_all(operations);
    membership
}

#[tokio::test]
async fn a_team_begins_with_its_founding_operation() {
    let hub = TestHub::start().await.unwrap();
    let mut team = Team::new();
    team.add(1, Role::Publisher);
    let without = posting(&team, &team.operations[1..], 0).send(&hub).await;
    assert_eq!(without.error().code, HubErrorCode::UnknownTeam);
    let stranger = posting(&team, &team.operations, 9).send(&hub).await;
    assert_eq!(stranger.error().code, HubErrorCode::NotListed);
    let heads: FetchOperations = posting(&team, &team.operations, 1).send(&hub).await.json();
    assert_eq!(heads.known, team.membership.heads());
}

#[tokio::test]
async fn what_one_lacks_is_fetched() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let fetch =
        |known: Vec<OpId>| Call::post(team.id(), "membership/fetch", &FetchOperations { known });
    let all: Operations = fetch(vec![]).by(2).send(&hub).await.json();
    assert_eq!(inserted(&all).digest(), team.membership.digest());
    assert!(!all.more);
    let last: Operations = fetch(vec![OpId::of(&team.operations[1])])
        .send(&hub)
        .await
        .json();
    assert_eq!(last.operations.len(), 1);
    assert_eq!(&last.operations[0][..], &team.operations[2][..]);
    let none: Operations = fetch(team.membership.heads().to_vec())
        .send(&hub)
        .await
        .json();
    assert!(none.operations.is_empty());
    let many = (0..300u32).map(|n| OpId::of(&n.to_le_bytes())).collect();
    assert_eq!(
        fetch(many).send(&hub).await.error().code,
        HubErrorCode::Malformed
    );
}

#[tokio::test]
async fn operations_of_others_and_without_parents_are_not_kept() {
    let hub = TestHub::start().await.unwrap();
    let mut team = Team::at(&hub).await;
    let before = hub.bucket(team.id()).objects();
    let other = Team::founded_by(30);
    let mut flipped = team.operations[1].clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    team.add(3, Role::Reader);
    team.add(4, Role::Reader);
    for operation in [&other.operations[0], &flipped, &team.operations[4]] {
        let answer = posting(&team, std::slice::from_ref(operation), 0)
            .send(&hub)
            .await;
        assert_eq!(answer.error().code, HubErrorCode::Untrusted);
    }
    assert_eq!(hub.bucket(team.id()).objects(), before);
    team.post(&hub).await;
    // A second time changes nothing, not even the mark.
    let before = hub.bucket(team.id()).objects();
    team.post(&hub).await;
    assert_eq!(hub.bucket(team.id()).objects(), before);
}

fn offer(uses: u32, expires_ms: u64) -> Offer {
    Offer {
        role: Role::Publisher,
        member: None,
        expires_ms,
        uses,
    }
}

fn joining(team: &Team, number: u8) -> Call {
    let request = join_request(
        &DeviceSecret::from_seed(INVITE),
        team.id(),
        enrolment(number),
    );
    let join = JoinByInvite {
        request: request.into(),
    };
    Call::post(team.id(), "join", &join).by(number)
}

async fn inviting(hub: &TestHub, offer: Offer, named: bool) -> Team {
    let mut team = Team::at(hub).await;
    let key = DeviceSecret::from_seed(INVITE);
    team.act(|author| author.invite(offer, &key, &[8; 32]).unwrap());
    if named {
        let url = format!("{}/v1/teams/{}", hub.url(), team.id());
        let info: TeamInfo = client()
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let key = info.witness.unwrap().to_string();
        team.act(|author| {
            author
                .settings([(HUB_KEY.to_owned(), Some(key))].into())
                .unwrap()
        });
    }
    team.post(hub).await;
    team
}

#[tokio::test]
async fn a_newcomer_joins_through_the_hub() {
    let hub = TestHub::start().await.unwrap();
    let team = inviting(&hub, offer(2, FAR), true).await;
    let joined: Operations = joining(&team, 10).send(&hub).await.json();
    let membership = inserted(&joined);
    assert_eq!(
        membership.state().role(&device(10).id()),
        Some(Role::Publisher)
    );
    // Its answer was lost: the same again, and no second join.
    let again: Operations = joining(&team, 10).send(&hub).await.json();
    assert_eq!(inserted(&again).digest(), membership.digest());
    assert_eq!(
        Call::get(team.id(), "heads").by(10).send(&hub).await.status,
        StatusCode::OK
    );
    // The hub gives no keys, and is no member.
    let witness = membership.state().hub_key().unwrap();
    assert!(!membership.state().is_member(&witness));

    let second = joining(&team, 11).send(&hub).await;
    assert_eq!(second.status, StatusCode::OK);
    let third = joining(&team, 12).send(&hub).await.error();
    assert_eq!(third.code, HubErrorCode::InviteRefused);
    assert!(third.message.contains("no uses left"), "{third}");
}

#[tokio::test]
async fn joins_that_the_hub_refuses() {
    let hub = TestHub::start().await.unwrap();
    let team = inviting(&hub, offer(2, 1), true).await;
    let error = joining(&team, 10).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::InviteRefused);
    assert!(error.message.contains("has expired"), "{error}");
    // The request names another device than the one that sends it.
    let error = joining(&team, 10).by(11).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::Untrusted);
    let mut team = team;
    team.act(|author| {
        author
            .settings([(HUB_KEY.to_owned(), None)].into())
            .unwrap()
    });
    team.post(&hub).await;
    let error = joining(&team, 10).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::CannotWitness);
}

#[tokio::test]
async fn a_hub_that_the_team_did_not_name_witnesses_nothing() {
    let hub = TestHub::start().await.unwrap();
    let team = inviting(&hub, offer(2, FAR), false).await;
    let error = joining(&team, 10).send(&hub).await.error();
    assert_eq!(error.code, HubErrorCode::CannotWitness);
    let operations = hub.bucket(team.id()).objects();
    let operations = operations
        .keys()
        .filter(|key| key.starts_with("membership/"));
    assert_eq!(operations.count(), team.operations.len());
}
