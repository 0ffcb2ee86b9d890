use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::{Source, Upload};

const MIB: usize = 1 << 20;

fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof();
    let mut bytes = vec![0; len];
    reader.fill(&mut bytes);
    bytes
}

fn built(packs: &[Vec<u8>]) -> (Vec<u8>, Built) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut builder = OutboardsBuilder::new();
        for pack in packs {
            let upload = Upload::of_bytes(podsync_api::hub::ObjectKind::Pack, pack.clone().into());
            let full = builder.add(&upload, BlobId::of(pack)).await.unwrap();
            assert!(full.is_none());
        }
        let built = builder.finish().unwrap();
        assert!(builder.finish().is_none());
        let reader = built.upload.source.open().await.unwrap();
        let mut bytes = vec![0; built.id().size as usize];
        reader.read_at(0, &mut bytes).unwrap();
        (bytes, built)
    })
}

#[test]
fn an_object_has_these_bytes() {
    let (object, built) = built(&[vec![7; 20_000], vec![8; 5]]);
    assert_eq!(built.packs.len(), 2);
    let hash = blake3::hash(&object);
    let head = data_encoding::HEXLOWER.encode(&object[..HEAD_LEN + 2 * ROW_LEN]);
    assert_eq!(
        (head.as_str(), object.len(), hash.to_hex().as_str()),
        VECTOR
    );
}

const VECTOR: (&str, usize, &str) = (
    "0102000000\
    620f75df41849218e82c89665ecac3d9601a1b46154682ea399e0524ca51c4b2204e000000000000\
    914a016e603c9458eb8922de3868b1f9cd7c709a3af04b6962ac2f9f9215b0c80500000000000000",
    149,
    "3bac093064d385c9a19fbd0e9d846675cbcc6c112e0b578cfefa79a25e912939",
);

#[test]
fn an_outboard_is_bao_in_pre_order_for_groups_of_16_kib() {
    let pack = bytes(1, 3 * GROUP as usize);
    let (id, outboard) = pack_outboard(Cursor::new(&pack), pack.len() as u64).unwrap();
    assert_eq!(id, BlobId::of(&pack));
    assert_eq!(outboard.len(), 64 * 2);
    let (root, left) = (&outboard[..64], &outboard[64..]);
    use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
    let group = |n: usize| {
        let at = n * GROUP as usize;
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(at as u64);
        hasher.update(&pack[at..at + GROUP as usize]);
        hasher.finalize_non_root()
    };
    assert_eq!(left, [group(0), group(1)].concat());
    let inner = merge_subtrees_non_root(&group(0), &group(1), Mode::Hash);
    assert_eq!(root, [inner, group(2)].concat());
    let hash = merge_subtrees_root(&inner, &group(2), Mode::Hash);
    assert_eq!(hash.as_bytes(), id.as_bytes());
}

#[test]
fn a_pack_that_is_damaged_gets_no_outboard() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut upload = Upload::of_bytes(podsync_api::hub::ObjectKind::Pack, vec![1; 40_000].into());
    let add = |upload: Upload| {
        runtime.block_on(async move {
            let blob = BlobId::of(&[1; 40_000]);
            OutboardsBuilder::new().add(&upload, blob).await
        })
    };
    assert!(add(upload.clone()).is_ok());
    let mut damaged = vec![1; 40_000];
    damaged[39_999] = 2;
    upload.source = Source::bytes(damaged.into());
    let error = add(upload.clone()).unwrap_err();
    assert!(
        matches!(error, crate::TransferError::Damaged { .. }),
        "{error}"
    );
    upload.source = Source::bytes(vec![1; 39_999].into());
    let error = add(upload).unwrap_err();
    assert!(
        matches!(error, crate::TransferError::Source { .. }),
        "{error}"
    );
}

#[test]
fn hostile_outboards_are_refused() {
    let (object, _) = built(&[bytes(1, MIB), bytes(2, 5)]);
    let size = object.len() as u64;
    let decode = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = object.clone();
        change(&mut changed);
        OutboardsIndex::decode(&changed, size)
    };
    assert!(decode(&|_| {}).is_ok());
    assert_eq!(decode(&|b| b[0] = 2), Err(IndexError::Version(2)));
    assert_eq!(decode(&|b| b.truncate(0)), Err(IndexError::Short));
    assert_eq!(decode(&|b| b.truncate(4)), Err(IndexError::Short));
    assert_eq!(decode(&|b| b.truncate(84)), Err(IndexError::Short));
    assert_eq!(decode(&|b| b[1] = 1), Err(IndexError::Size));
    assert_eq!(decode(&|b| b[2] = 0x1f), Err(IndexError::Short));
    assert_eq!(decode(&|b| b[2] = 0x21), Err(IndexError::TooMany));
    assert_eq!(decode(&|b| b[1..5].fill(0xff)), Err(IndexError::TooMany));
    assert_eq!(decode(&|b| b[37..45].fill(0)), Err(IndexError::Length));
    assert_eq!(decode(&|b| b[37..45].fill(0xff)), Err(IndexError::Length));
    assert_eq!(
        OutboardsIndex::decode(&object, size + 1),
        Err(IndexError::Size)
    );
}

#[test]
fn a_full_object_is_followed_by_another() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut builder = OutboardsBuilder::new();
        let pack = Upload::of_bytes(podsync_api::hub::ObjectKind::Pack, vec![1].into());
        for _ in 0..MAX_PACKS {
            let full = builder.add(&pack, BlobId::of(&[1])).await.unwrap();
            assert!(full.is_none());
        }
        let full = builder.add(&pack, BlobId::of(&[1])).await.unwrap().unwrap();
        assert_eq!(full.packs.len(), MAX_PACKS);
        assert_eq!(builder.finish().unwrap().packs.len(), 1);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn outboards_come_back(lens in proptest::collection::vec(1..300_000_usize, 1..6)) {
        let packs: Vec<_> = (1..).zip(&lens).map(|(seed, len)| bytes(seed, *len)).collect();
        let (object, built) = built(&packs);
        let index = OutboardsIndex::decode(&object, object.len() as u64).unwrap();
        prop_assert_eq!(index.packs().len(), packs.len());
        let ids: Vec<_> = packs.iter().map(|pack| BlobId::of(pack)).collect();
        prop_assert_eq!(&built.packs, &ids);
        let head = index.encode();
        prop_assert_eq!(OutboardsIndex::len_of(&object).unwrap(), head.len());
        prop_assert!(object.starts_with(&head));
        for pack in &packs {
            let len = pack.len() as u64;
            let place = index.find(BlobId::of(pack), len).unwrap();
            let (_, outboard) = pack_outboard(Cursor::new(pack), len).unwrap();
            prop_assert_eq!(&object[place.start as usize..place.end as usize], outboard);
            prop_assert_eq!(index.find(BlobId::of(pack), len + 1), None);
        }
    }
}
