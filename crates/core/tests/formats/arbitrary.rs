//! Values of every format within its bounds, for properties. Lists are short: their bounds have tests
//! of their own where they are defined.

use podsync_core::{
    BlobId, ChunkId, ContentHash, DeviceId, DeviceLabel, EntryHash, EpochId, MemberName, OpId,
    PodName, TagName, TeamId, TeamName, VersionId,
    bounded::Bounded,
    feed::{BlobRef, Body, Head, Publication, TagChange},
    keys::{BoxKey, DeviceSecret, PublicKeys},
    manifest::{ChunkLocation, Container, Emulator, Manifest, PackRef, Source, Table},
    membership::{
        LastEntry,
        operation::{
            Add, Enrolment, Founding, Invite, InviteProof, Join, KeyWrap, Kind, Operation, Remove,
            Role, Rotate, SetRole, Settings,
        },
        wire::{MembershipRequest, MembershipResponse, RefusedReason},
    },
    moved::{HubMoved, MAX_HUB_URL_LEN},
    seal::SecretKey,
    units::Units,
    wire::{
        AddressRecord, EntriesRequest, EntriesResponse, EntryRange, Gossip, Have, HaveRequest,
        HaveResponse, HeadsRequest, HeadsResponse, Liveness, MAX_ADDRESSES, Refusal,
    },
};
use proptest::{collection::vec, option, prelude::*};
use serde_bytes::ByteBuf;

macro_rules! ids {
    ($($name:ident -> $id:ident),* $(,)?) => {$(
        fn $name() -> impl Strategy<Value = $id> {
            any::<[u8; 32]>().prop_map($id::from_bytes)
        }
    )*};
}

ids! {
    blob_id -> BlobId, chunk_id -> ChunkId, content -> ContentHash, device -> DeviceId,
    entry_hash -> EntryHash, epoch -> EpochId, op -> OpId, team -> TeamId, version -> VersionId,
    secret -> SecretKey, box_key -> BoxKey,
}

fn few<T: std::fmt::Debug, const MAX: usize>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = Bounded<T, MAX>> {
    vec(item, 0..4).prop_map(Bounded::first)
}

fn bytes() -> impl Strategy<Value = ByteBuf> {
    vec(any::<u8>(), 0..80).prop_map(ByteBuf::from)
}

const NAME: &str = "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}";

fn pod() -> impl Strategy<Value = PodName> {
    NAME.prop_map(|name| PodName::new(name).unwrap())
}

fn tag() -> impl Strategy<Value = TagName> {
    "[a-z][a-zA-Z0-9._-]{0,63}".prop_map(|name| TagName::new(name).unwrap())
}

fn blob_ref() -> impl Strategy<Value = BlobRef> {
    (blob_id(), any::<u64>()).prop_map(|(id, len)| BlobRef { id, len })
}

fn emulator() -> impl Strategy<Value = Emulator> {
    (".{0,20}", ".{0,20}").prop_map(|(name, version)| Emulator { name, version })
}

pub(crate) fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), entry_hash()).prop_map(|(seq, entry)| Head { seq, entry })
}

pub(crate) fn liveness() -> impl Strategy<Value = Liveness> {
    any::<(u64, [u8; 32])>().prop_map(|(time_ms, heads)| Liveness { time_ms, heads })
}

pub(crate) fn hub_moved() -> impl Strategy<Value = HubMoved> {
    let to = vec(b'!'..=b'~', 0..=MAX_HUB_URL_LEN);
    let to = to.prop_map(|bytes| bytes.into_iter().map(char::from).collect::<String>());
    (to, any::<[u8; 16]>()).prop_map(|(to, nonce)| HubMoved { to, nonce })
}

pub(crate) fn address_record() -> impl Strategy<Value = AddressRecord> {
    let addresses = vec("[ -~]{0,128}", 0..=MAX_ADDRESSES);
    (any::<u64>(), addresses).prop_map(|(time_ms, addresses)| AddressRecord {
        time_ms,
        addresses: Bounded::first(addresses),
    })
}

pub(crate) fn body() -> impl Strategy<Value = Body> {
    let publication = (
        (pod(), any::<u64>(), version(), few(version()), ".{0,80}"),
        (few(".{0,20}"), option::of(emulator())),
        (any::<u64>(), any::<u64>(), any::<u64>()),
        (few(tag()), few(entry_hash())),
    );
    let publication = publication.prop_map(|(what, source, numbers, labels)| {
        let (pod, number, version, parents, message) = what;
        Body::Publish(Publication {
            pod,
            number,
            version,
            parents,
            message,
            services: source.0,
            emulator: source.1,
            created_ms: numbers.0,
            state_len: numbers.1,
            entry_count: numbers.2,
            tags: labels.0,
            supersedes: labels.1,
        })
    });
    let change = (pod(), tag(), option::of(version()), few(entry_hash()));
    prop_oneof![
        publication,
        change.prop_map(|(pod, tag, version, supersedes)| Body::Tag(TagChange {
            pod,
            tag,
            version,
            supersedes
        })),
        (pod(), version()).prop_map(|(pod, version)| Body::Drop { pod, version }),
    ]
}

pub(crate) fn location() -> impl Strategy<Value = ChunkLocation> {
    (chunk_id(), any::<[u32; 5]>()).prop_map(
        |(id, [pack, frame, offset, sealed_len, plain_len])| ChunkLocation {
            id,
            pack,
            frame,
            offset,
            sealed_len,
            plain_len,
        },
    )
}

fn table() -> impl Strategy<Value = Table> {
    (any::<u64>(), vec(location(), 0..4)).prop_map(|(len, chunks)| Table { len, chunks })
}

fn pack() -> impl Strategy<Value = PackRef> {
    let sha256 = option::of(any::<[u8; 32]>().prop_filter("zeros", |sum| *sum != [0; 32]));
    (blob_id(), sha256, any::<u64>(), secret()).prop_map(|(id, sha256, len, key)| PackRef {
        id,
        sha256,
        len,
        key,
    })
}

pub(crate) fn manifest() -> impl Strategy<Value = Manifest> {
    let container = prop_oneof![
        Just(Container::Folder),
        Just(Container::Zip),
        Just(Container::File)
    ];
    (
        (pod(), vec(version(), 0..4), ".{0,80}", container),
        (option::of(emulator()), vec(".{0,20}", 0..4)),
        any::<[u64; 3]>(),
        (content(), table(), table(), vec(pack(), 0..4)),
    )
        .prop_map(|(what, (emulator, services), numbers, inside)| {
            let (pod, parents, message, container) = what;
            let (content, entries, chunks, packs) = inside;
            Manifest {
                pod,
                parents,
                message,
                source: Source { emulator, services },
                created_ms: numbers[0],
                container,
                state_len: numbers[1],
                entry_count: numbers[2],
                content,
                entries,
                chunks,
                packs,
            }
        })
}

fn enrolment() -> impl Strategy<Value = Enrolment> {
    (device(), box_key(), NAME, NAME).prop_map(|(device, box_key, member, label)| Enrolment {
        device,
        box_key,
        member: MemberName::new(member).unwrap(),
        label: DeviceLabel::new(label).unwrap(),
    })
}

fn public_keys() -> impl Strategy<Value = PublicKeys> {
    (device(), box_key()).prop_map(|(device, box_key)| PublicKeys { device, box_key })
}

/// A real wrap, since none can be made in any other way.
fn wraps() -> impl Strategy<Value = Vec<KeyWrap>> {
    let wrap =
        (epoch(), device(), any::<[u8; 32]>(), secret()).prop_map(|(epoch, to, seed, key)| {
            let box_key = DeviceSecret::from_seed(seed).box_key();
            let wrap = box_key.wrap(b"aad", &key, &seed).unwrap();
            KeyWrap { epoch, to, wrap }
        });
    vec(wrap, 0..3)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Reader), Just(Role::Publisher), Just(Role::Admin)]
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    let found = (
        NAME,
        enrolment(),
        public_keys(),
        any::<[u8; 32]>(),
        epoch(),
        wraps(),
    );
    let add = (enrolment(), role(), any::<bool>(), wraps());
    let last = (any::<u64>(), entry_hash()).prop_map(|(seq, hash)| LastEntry { seq, hash });
    let invite = (
        public_keys(),
        role(),
        option::of(NAME),
        any::<(u64, u32)>(),
        wraps(),
    );
    let join = (device(), enrolment(), bytes(), any::<u64>(), wraps());
    let kind = prop_oneof![
        found.prop_map(|(name, founder, recovery, nonce, epoch, wraps)| {
            Kind::Found(Founding {
                team_name: TeamName::new(name).unwrap(),
                founder,
                recovery,
                nonce,
                epoch,
                wraps,
            })
        }),
        add.prop_map(|(newcomer, role, robot, wraps)| Kind::Add(Add {
            newcomer,
            role,
            robot,
            wraps
        })),
        (device(), option::of(last))
            .prop_map(|(device, last)| Kind::Remove(Remove { device, last })),
        (device(), role()).prop_map(|(device, role)| Kind::SetRole(SetRole { device, role })),
        invite.prop_map(|(key, role, member, (expires_ms, uses), wraps)| {
            Kind::Invite(Invite {
                key,
                role,
                member: member.map(|name| MemberName::new(name).unwrap()),
                expires_ms,
                uses,
                wraps,
            })
        }),
        join.prop_map(|(invite, newcomer, request, witnessed_ms, wraps)| {
            Kind::Join(Join {
                invite,
                newcomer,
                request: request.into_vec(),
                witnessed_ms,
                wraps,
            })
        }),
        (epoch(), wraps(), bytes()).prop_map(|(epoch, wraps, previous)| Kind::Rotate(Rotate {
            epoch,
            wraps,
            previous: previous.into_vec(),
        })),
        proptest::collection::btree_map(".{0,20}", option::of(".{0,20}"), 0..4)
            .prop_map(|changes| Kind::Settings(Settings { changes })),
    ];
    (vec(op(), 0..4), kind).prop_map(|(parents, kind)| Operation { parents, kind })
}

pub(crate) fn invite_proof() -> impl Strategy<Value = InviteProof> {
    enrolment().prop_map(|newcomer| InviteProof { newcomer })
}

pub(crate) fn membership_request() -> impl Strategy<Value = MembershipRequest> {
    prop_oneof![
        (team(), vec(op(), 0..4))
            .prop_map(|(team, known)| MembershipRequest::Fetch { team, known }),
        (team(), bytes()).prop_map(|(team, request)| MembershipRequest::Join { team, request }),
    ]
}

pub(crate) fn membership_response() -> impl Strategy<Value = MembershipResponse> {
    let reason = prop_oneof![
        Just(RefusedReason::NotListed),
        Just(RefusedReason::TeamFull),
        Just(RefusedReason::NameOfRemoved),
        Just(RefusedReason::CannotWitness)
    ];
    prop_oneof![
        few(bytes()).prop_map(MembershipResponse::Ops),
        few(bytes()).prop_map(|ops| MembershipResponse::Joined { ops }),
        reason.prop_map(MembershipResponse::Refused),
    ]
}

pub(crate) fn gossip() -> impl Strategy<Value = Gossip> {
    prop_oneof![
        (bytes(), option::of(bytes()))
            .prop_map(|(head, entry)| Gossip::Announcement { head, entry }),
        few(bytes()).prop_map(Gossip::Operations),
        bytes().prop_map(Gossip::Liveness),
        bytes().prop_map(Gossip::Addresses),
    ]
}

pub(crate) fn heads_request() -> impl Strategy<Value = HeadsRequest> {
    (team(), any::<[u8; 32]>(), few(any::<u64>())).prop_map(|(team, membership, buckets)| {
        HeadsRequest {
            team,
            membership,
            buckets,
        }
    })
}

pub(crate) fn heads_response() -> impl Strategy<Value = HeadsResponse> {
    let heads = (few(op()), few(bytes()), option::of(bytes()), few(bytes()));
    prop_oneof![
        heads.prop_map(
            |(membership, heads, liveness, addresses)| HeadsResponse::Heads {
                membership,
                heads,
                liveness,
                addresses
            }
        ),
        Just(HeadsResponse::Refused(Refusal::NotAMember)),
    ]
}

pub(crate) fn entries_request() -> impl Strategy<Value = EntriesRequest> {
    let range = (device(), any::<u64>(), any::<u64>()).prop_map(|(device, from, to)| EntryRange {
        device,
        from,
        to,
    });
    (team(), few(range)).prop_map(|(team, ranges)| EntriesRequest { team, ranges })
}

pub(crate) fn entries_response() -> impl Strategy<Value = EntriesResponse> {
    prop_oneof![
        (few(bytes()), any::<bool>())
            .prop_map(|(entries, more)| EntriesResponse::Entries { entries, more }),
        Just(EntriesResponse::Refused(Refusal::NotAMember)),
    ]
}

fn have() -> impl Strategy<Value = Have> {
    prop_oneof![
        Just(Have::None),
        Just(Have::All),
        any::<u64>().prop_map(|bits| Have::Parts(Units::from_bits(bits))),
    ]
}

pub(crate) fn have_request() -> impl Strategy<Value = HaveRequest> {
    prop_oneof![
        (team(), few(blob_id())).prop_map(|(team, blobs)| HaveRequest::Ask { team, blobs }),
        (team(), few((blob_id(), have())))
            .prop_map(|(team, news)| HaveRequest::Delta { team, news }),
        team().prop_map(|team| HaveRequest::Enough { team }),
    ]
}

pub(crate) fn have_response() -> impl Strategy<Value = HaveResponse> {
    prop_oneof![
        few(have()).prop_map(HaveResponse::Haves),
        Just(HaveResponse::Noted),
        Just(HaveResponse::Refused(Refusal::NotAMember)),
    ]
}

pub(crate) fn private_version() -> impl Strategy<Value = podsync_core::catalog::PrivateVersion> {
    (
        (pod(), any::<u64>(), version(), blob_ref(), ".{0,80}"),
        (vec(".{0,20}", 0..4), option::of(emulator())),
        any::<[u64; 3]>(),
    )
        .prop_map(|(what, (services, emulator), numbers)| {
            let (pod, number, version, manifest, message) = what;
            podsync_core::catalog::PrivateVersion {
                pod,
                number,
                version,
                manifest,
                message,
                services,
                emulator,
                created_ms: numbers[0],
                state_len: numbers[1],
                entry_count: numbers[2],
            }
        })
}
