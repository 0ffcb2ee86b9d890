//! A team, its devices, and signed requests of theirs.

use std::{sync::Once, time::SystemTime};

use podsync_api::hub::{
    Actions, BatchOperation, BatchRequest, BatchResponse, BatchedId, Commit, CommitEntry, HubError,
    ObjectId, ObjectKind, ObjectRef, Placement, PostOperations, Sha256, Stored,
    signature::{Nonce, SignatureHeaders, Target, sign},
};
use podsync_core::{
    BlobId, DeviceId, DeviceLabel, EpochId, MemberName, PodName, TeamId, TeamName, VersionId,
    bounded::Bounded,
    feed::{BlobRef, Body, Entry, Head, Header, Kind, Publication},
    keys::DeviceSecret,
    membership::{Author, Enrolment, KeyRing, Membership, Role, author},
    seal::SecretKey,
    signed::verify,
};
use podsync_hub::testing::TestHub;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Digest;

pub(crate) const RECOVERY: u8 = 200;

/// The device of a number.
pub(crate) fn device(number: u8) -> DeviceSecret {
    DeviceSecret::from_seed([number + 1; 32])
}

pub(crate) fn enrolment(number: u8) -> Enrolment {
    let secret = device(number);
    Enrolment {
        device: secret.id(),
        box_key: secret.box_key(),
        member: MemberName::new(format!("member{number}")).unwrap(),
        label: DeviceLabel::new("laptop").unwrap(),
    }
}

/// A team that device 0 founded.
pub(crate) struct Team {
    pub(crate) membership: Membership,
    pub(crate) keys: KeyRing,
    pub(crate) operations: Vec<Vec<u8>>,
}

impl Team {
    pub(crate) fn new() -> Self {
        Self::founded_by(0)
    }

    pub(crate) fn founded_by(number: u8) -> Self {
        let founder = enrolment(number);
        let team = author::NewTeam {
            name: TeamName::new("payments").unwrap(),
            member: founder.member,
            label: founder.label,
            recovery: device(RECOVERY).public(),
        };
        let key = SecretKey::from_bytes([0xf0; 32]);
        let bytes = author::found(&device(number), team, &key, [5; 32], &[6; 32]).unwrap();
        let membership = Membership::new(verify(&bytes).unwrap()).unwrap();
        let mut keys = KeyRing::default();
        keys.insert(key);
        Self {
            membership,
            keys,
            operations: vec![bytes],
        }
    }

    /// A team with a publisher 1 and a reader 2, whose operations the hub has.
    pub(crate) async fn at(hub: &TestHub) -> Self {
        let mut team = Self::new();
        team.add(1, Role::Publisher);
        team.add(2, Role::Reader);
        team.post(hub).await;
        team
    }

    pub(crate) fn id(&self) -> TeamId {
        self.membership.team()
    }

    /// Something that the founder does.
    pub(crate) fn act(&mut self, act: impl FnOnce(&Author<'_>) -> Vec<u8>) {
        let founder = device(0);
        let operation = act(&Author::new(&founder, &self.membership, &self.keys));
        self.membership
            .insert(verify::<podsync_core::membership::Operation>(&operation).unwrap());
        self.operations.push(operation);
    }

    pub(crate) fn add(&mut self, number: u8, role: Role) {
        self.act(|author| author.add(enrolment(number), role, &[number; 32]).unwrap());
    }

    pub(crate) async fn post(&self, hub: &TestHub) {
        let post = PostOperations {
            operations: self.operations.iter().map(Into::into).collect(),
        };
        let answer = Call::post(self.id(), "membership", &post)
            .by(0)
            .send(hub)
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
}

/// A request before it is signed.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) by: u8,
    /// Seconds that the device's clock is ahead.
    pub(crate) ahead: i64,
    pub(crate) nonce: Nonce,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Call {
    pub(crate) fn post(team: TeamId, what: &str, body: &impl Serialize) -> Self {
        let mut call = Self::get(team, what);
        call.method = Method::POST;
        call.body = serde_json::to_vec(body).unwrap();
        call
    }

    pub(crate) fn get(team: TeamId, what: &str) -> Self {
        Self {
            method: Method::GET,
            path: format!("/v1/teams/{team}/{what}"),
            query: None,
            body: Vec::new(),
            by: 0,
            ahead: 0,
            nonce: rand::random(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn by(mut self, number: u8) -> Self {
        self.by = number;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn signature(&self, hub: &TestHub) -> SignatureHeaders {
        self.signature_for(&hub.address().to_string())
    }

    pub(crate) fn signature_for(&self, authority: &str) -> SignatureHeaders {
        let target = Target {
            method: self.method.as_str(),
            authority,
            path: &self.path,
            query: self.query.as_deref(),
        };
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let created = now.as_secs().saturating_add_signed(self.ahead);
        sign(&target, &self.body, &device(self.by), created, &self.nonce)
    }

    pub(crate) async fn send(&self, hub: &TestHub) -> Answer {
        self.send_with(hub, &self.signature(hub)).await
    }

    pub(crate) async fn send_with(&self, hub: &TestHub, signature: &SignatureHeaders) -> Answer {
        self.send_to(&hub.url(), signature).await
    }

    /// To a hub at an address.
    pub(crate) async fn send_to(&self, url: &str, signature: &SignatureHeaders) -> Answer {
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        let url = format!("{url}{}{}", self.path, query.unwrap_or_default());
        let mut request = client()
            .request(self.method.clone(), url)
            .body(self.body.clone());
        for (name, value) in signature.iter() {
            request = request.header(name, value);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Answer::of(request.send().await.unwrap()).await
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        assert!(self.status.is_success(), "{} {}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn error(&self) -> HubError {
        assert!(!self.status.is_success(), "{}", self.text());
        let error: HubError = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(self.status.as_u16(), error.code.http_status());
        error
    }
}

pub(crate) fn client() -> reqwest::Client {
    static TLS: Once = Once::new();
    TLS.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// What a device has published, and the bytes that go with it.
pub(crate) struct Feed {
    pub(crate) team: TeamId,
    pub(crate) by: u8,
    pub(crate) entries: Vec<CommitEntry>,
    pub(crate) last: Option<Entry>,
    pub(crate) objects: Vec<(ObjectId, Vec<u8>)>,
}

/// Bytes that are only found where a pack, a manifest or an outboard went.
pub(crate) fn state(what: &str, number: u64) -> Vec<u8> {
    format!("STATE-BYTES of {what} {number} ")
        .repeat(40)
        .into_bytes()
}

pub(crate) fn object(kind: ObjectKind, bytes: &[u8]) -> ObjectId {
    ObjectId {
        kind,
        sha256: Sha256::from_bytes(sha2::Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

impl Feed {
    pub(crate) fn new(team: TeamId, by: u8) -> Self {
        Self {
            team,
            by,
            entries: Vec::new(),
            last: None,
            objects: Vec::new(),
        }
    }

    /// A version with a manifest, a pack and its outboard. Another `word` makes another feed.
    pub(crate) fn publish(&mut self, word: &str) {
        self.publish_packs(word, 1);
    }

    /// The same, with one pack listed this often.
    pub(crate) fn publish_packs(&mut self, word: &str, packs: usize) {
        let seq = self.entries.len() as u64 + 1;
        let kinds = [
            (ObjectKind::Manifest, "manifest"),
            (ObjectKind::Pack, "pack"),
            (ObjectKind::Outboards, "outboards"),
        ];
        let objects = kinds.map(|(kind, name)| {
            let bytes = state(&format!("{name} {word} {}", self.by), seq);
            (object(kind, &bytes), bytes)
        });
        let listed = || {
            let pack = std::iter::repeat_n(&objects[1], packs);
            std::iter::once(&objects[0]).chain(pack)
        };
        let blobs = listed().map(|(id, bytes)| BlobRef {
            id: BlobId::of(bytes),
            len: id.size,
        });
        let body = Body::Publish(Publication {
            pod: PodName::new("orders").unwrap(),
            number: seq,
            version: VersionId::of(format!("{word} {seq}").as_bytes()),
            parents: Bounded::default(),
            message: "SECRET-MESSAGE".into(),
            services: Bounded::first(["SECRET-SERVICE".to_owned()]),
            emulator: None,
            created_ms: 1,
            state_len: 12,
            entry_count: 1,
            tags: Bounded::default(),
            supersedes: Bounded::default(),
        });
        let entry = self.write(Kind::Publish, Bounded::first(blobs), &body);
        let placed = |(id, _): &(ObjectId, Vec<u8>)| Placement {
            sha256: id.sha256,
            generation: 0,
        };
        self.entries.push(CommitEntry {
            entry: entry.bytes().into(),
            objects: listed().map(placed).collect(),
            outboards: vec![ObjectRef {
                id: objects[2].0,
                generation: 0,
            }],
        });
        self.last = Some(entry);
        self.objects.extend(objects);
    }

    /// An entry without objects.
    pub(crate) fn drop_version(&mut self, word: &str) {
        self.write_drop(word, Kind::Drop);
    }

    /// A drop that names the publication that it ends.
    pub(crate) fn retire(&mut self, publication: &Entry) {
        let kind = Kind::Retire(Bounded::first([publication.hash()]));
        self.write_drop("a", kind);
    }

    fn write_drop(&mut self, word: &str, kind: Kind) {
        let body = Body::Drop {
            pod: PodName::new("orders").unwrap(),
            version: VersionId::of(word.as_bytes()),
        };
        let entry = self.write(kind, Bounded::default(), &body);
        self.entries.push(CommitEntry {
            entry: entry.bytes().into(),
            objects: Vec::new(),
            outboards: Vec::new(),
        });
        self.last = Some(entry);
    }

    fn write(
        &self,
        kind: Kind,
        blobs: Bounded<BlobRef, { podsync_core::feed::MAX_BLOBS }>,
        body: &Body,
    ) -> Entry {
        let header = Header {
            team: self.team,
            device: device(self.by).id(),
            seq: self.entries.len() as u64 + 1,
            previous: self.last.as_ref().map(Entry::hash),
            membership: Bounded::default(),
            epoch: EpochId::of(b"epoch"),
            kind,
            blobs,
        };
        Entry::write(&header, body, &SecretKey::from_bytes([9; 32]), [3; 32]).unwrap()
    }

    /// The commit of the entries from `from` on, counted from 1.
    pub(crate) fn commit_from(&self, from: usize) -> Commit {
        let last = self.last.as_ref().unwrap();
        let head = Head {
            seq: last.header().seq,
            entry: last.hash(),
        };
        Commit {
            head: device(self.by).sign(self.team, &head).into(),
            entries: self.entries[from - 1..].to_vec(),
        }
    }

    pub(crate) fn committing(&self, from: usize) -> Call {
        Call::post(self.team, "commit", &self.commit_from(from)).by(self.by)
    }

    /// Uploads what isn't there, as a client does.
    pub(crate) async fn upload(&self, hub: &TestHub) {
        let ids: Vec<_> = self.objects.iter().map(|(id, _)| *id).collect();
        let answer = upload(self.team, self.by, ids).send(hub).await;
        let response: BatchResponse = answer.json();
        for (batched, (_, bytes)) in response.objects.iter().zip(&self.objects) {
            if let Some(Actions::Upload(action)) = &batched.actions {
                let answer = put(action, bytes.clone()).await;
                assert_eq!(answer.status, StatusCode::OK);
            }
        }
    }

    /// Uploads, and commits from `from` on.
    pub(crate) async fn share(&self, hub: &TestHub, from: usize) -> Stored {
        self.upload(hub).await;
        self.committing(from).send(hub).await.json()
    }

    /// Takes what the hub says of where the objects of the only entry lie.
    pub(crate) fn place(&mut self, response: &BatchResponse) {
        let placed = self.objects.iter().map(|(id, _)| {
            let found = response
                .objects
                .iter()
                .find(|batched| batched.object.id == *id);
            found.unwrap().object.generation
        });
        let placed: Vec<_> = placed.collect();
        let entry = &mut self.entries[0];
        let places = entry.objects.iter_mut().map(|place| &mut place.generation);
        let outboards = entry
            .outboards
            .iter_mut()
            .map(|object| &mut object.generation);
        for (generation, placed) in places.chain(outboards).zip(placed) {
            *generation = placed;
        }
    }

    /// The objects of the only entry, where it says that they lie.
    fn placed(&self) -> impl Iterator<Item = ObjectRef> {
        let entry = &self.entries[0];
        let places = entry.objects.iter().map(|place| place.generation);
        let outboards = entry.outboards.iter().map(|object| object.generation);
        let objects = self.objects.iter().zip(places.chain(outboards));
        objects.map(|((id, _), generation)| ObjectRef {
            id: *id,
            generation,
        })
    }

    /// The keys of them.
    pub(crate) fn places(&self) -> Vec<String> {
        let key = |object: ObjectRef| {
            let folder = match object.id.kind {
                ObjectKind::Pack => "packs",
                ObjectKind::Manifest => "manifests",
                ObjectKind::Outboards => "outboards",
            };
            format!("{folder}/{}.{}", object.id.sha256, object.generation)
        };
        self.placed().map(key).collect()
    }

    /// A teammate gets every byte of the only entry from where it says that they lie.
    pub(crate) async fn is_whole(&self, hub: &TestHub) {
        let asked = |object: ObjectRef| BatchedId {
            id: object.id,
            generation: Some(object.generation),
        };
        let request = BatchRequest {
            operation: BatchOperation::Download,
            objects: self.placed().map(asked).collect(),
            following: None,
        };
        let asked = Call::post(self.team, "objects/batch", &request).by(2);
        let response: BatchResponse = asked.send(hub).await.json();
        for (batched, (_, bytes)) in response.objects.iter().zip(&self.objects) {
            let Some(Actions::Download(action)) = &batched.actions else {
                panic!("{batched:?}");
            };
            let got = client().get(&action.href).send().await.unwrap();
            assert_eq!(&got.bytes().await.unwrap()[..], &bytes[..]);
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        device(self.by).id()
    }
}

pub(crate) fn upload(team: TeamId, by: u8, ids: Vec<ObjectId>) -> Call {
    batch(team, by, BatchOperation::Upload, ids)
}

pub(crate) fn batch(team: TeamId, by: u8, operation: BatchOperation, ids: Vec<ObjectId>) -> Call {
    let objects = ids
        .into_iter()
        .map(|id| BatchedId {
            id,
            generation: None,
        })
        .collect();
    let request = BatchRequest {
        operation,
        objects,
        following: None,
    };
    Call::post(team, "objects/batch", &request).by(by)
}

pub(crate) async fn put(action: &podsync_api::hub::Action, bytes: Vec<u8>) -> Answer {
    let mut request = client().put(&action.href).body(bytes);
    for (name, value) in action
        .header
        .iter()
        .filter(|(name, _)| *name != "content-length")
    {
        request = request.header(name, value);
    }
    Answer::of(request.send().await.unwrap()).await
}
