//! Each endpoint of the hub, called once.

use podsync_api::hub::{Commit, CommitEntry, HubErrorCode, ObjectKind, Placement, PostLiveness};
use podsync_bucket::{HeadsAnswer, HubClientError, Upload};
use podsync_core::{
    BlobId, EpochId, PodName, VersionId,
    bounded::Bounded,
    feed::{BlobRef, Body, Entry, Head, Header, Kind, Publication},
    keys::DeviceSecret,
    seal::SecretKey,
    wire::Liveness,
};
use podsync_hub::testing::TestHub;

use crate::kit::{Team, bytes, device, nobody, object, share};

#[tokio::test]
async fn a_device_learns_what_others_brought() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let (publisher, reader) = (team.client(&hub, 1), team.client(&hub, 2));

    let info = reader.team_info().await.unwrap();
    assert_eq!(info.witness, Some(DeviceSecret::from_seed([0x77; 32]).id()));
    assert!(reader.time().await.unwrap().time_ms > 0);
    let all = reader.fetch_operations(Vec::new()).await.unwrap();
    assert_eq!(all.operations.len(), team.operations.len());

    let HeadsAnswer::Changed { heads, etag } = reader.heads(None).await.unwrap() else {
        panic!("nothing is new at first");
    };
    assert!(heads.liveness.is_empty() && etag.is_some());
    let again = reader.heads(etag.as_deref()).await.unwrap();
    assert_eq!(again, HeadsAnswer::NotModified);

    let statement = Liveness {
        time_ms: 1,
        heads: [1; 32],
    };
    let statement = device(1).sign(team.id, &statement);
    let post = PostLiveness {
        statement: statement.clone().into(),
    };
    publisher.post_liveness(&post).await.unwrap();
    let HeadsAnswer::Changed { heads, .. } = reader.heads(etag.as_deref()).await.unwrap() else {
        panic!("nothing is new");
    };
    assert_eq!(heads.liveness, [statement.into()]);
    let error = reader.feed_page(device(1).id(), 1, None).await.unwrap_err();
    let code = error.refusal().map(|error| error.code);
    assert_eq!(code, Some(HubErrorCode::NotFound));
}

#[tokio::test]
async fn a_refusal_says_whose_it_is() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let error = team.client(&hub, 7).heads(None).await.unwrap_err();
    assert!(matches!(error, HubClientError::NotListed { .. }), "{error}");
    let other = crate::kit::client(
        &hub.url(),
        podsync_core::TeamId::from_bytes([9; 32]),
        1,
        crate::kit::hasty(),
    );
    let error = other.heads(None).await.unwrap_err();
    assert_eq!(
        error.refusal().map(|error| error.code),
        Some(HubErrorCode::UnknownTeam)
    );
    assert!(!error.may_pass());
}

#[tokio::test]
async fn a_version_is_committed_once_its_objects_are_there() {
    let hub = TestHub::start().await.unwrap();
    let team = Team::at(&hub).await;
    let publisher = team.client(&hub, 1);
    let (manifest, pack) = (bytes(1, 500), bytes(2, 100_000));
    let blobs = [&manifest, &pack].map(|bytes| BlobRef {
        id: BlobId::of(bytes),
        len: bytes.len() as u64,
    });
    let header = Header {
        team: team.id,
        device: device(1).id(),
        seq: 1,
        previous: None,
        membership: Bounded::default(),
        epoch: EpochId::of(b"epoch"),
        kind: Kind::Publish,
        blobs: Bounded::first(blobs),
    };
    let body = Body::Publish(Publication {
        pod: PodName::new("orders").unwrap(),
        number: 1,
        version: VersionId::of(b"version"),
        parents: Bounded::default(),
        message: String::new(),
        services: Bounded::default(),
        emulator: None,
        created_ms: 1,
        state_len: 12,
        entry_count: 1,
        tags: Bounded::default(),
        supersedes: Bounded::default(),
    });
    let entry = Entry::write(&header, &body, &SecretKey::from_bytes([9; 32]), [3; 32]).unwrap();
    let head = Head {
        seq: 1,
        entry: entry.hash(),
    };
    let (_, outboards) = share(&publisher, std::slice::from_ref(&pack)).await;
    let kinds = [(ObjectKind::Manifest, &manifest), (ObjectKind::Pack, &pack)];
    let commit = Commit {
        head: device(1).sign(team.id, &head).into(),
        entries: vec![CommitEntry {
            entry: entry.bytes().into(),
            objects: kinds
                .map(|(kind, bytes)| Placement {
                    sha256: object(kind, bytes).sha256,
                    generation: 0,
                })
                .into(),
            outboards: vec![outboards],
        }],
    };
    let error = publisher.commit(&commit).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.code, HubErrorCode::MissingObjects);
    let missing: Vec<_> = refusal.missing.iter().map(|missing| missing.id).collect();
    assert_eq!(missing, [object(ObjectKind::Manifest, &manifest)]);

    let upload = Upload::of_bytes(ObjectKind::Manifest, manifest.clone());
    publisher.upload(&[upload], nobody).await.unwrap();
    for _ in 0..2 {
        assert_eq!(publisher.commit(&commit).await.unwrap().seq, 1);
    }
    let reader = team.client(&hub, 2);
    let page = reader.feed_page(device(1).id(), 1, Some(1)).await.unwrap();
    assert_eq!(page.entries, commit.entries);
    let HeadsAnswer::Changed { heads, .. } = reader.heads(None).await.unwrap() else {
        panic!("nothing is new at first");
    };
    assert_eq!(heads.feeds, [commit.head]);
}
