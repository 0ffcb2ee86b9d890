//! The end of a pack: the table of its frames, which makes the pack readable without a manifest.
//!
//! A pack is `frames || sealed table || sealed footer`, and no byte of it is in the clear. The footer
//! has a fixed length and says how many frames there are; all else follows from that.

use std::io;

use podsync_core::{
    ChunkId,
    manifest::PackRef,
    seal::{BrokenSeal, Sealer, TAG_LEN},
};

use crate::{frame, read::PackReader};

/// The most frames of a pack: keeps the table below 3 MiB where chunks compress to almost nothing.
pub const MAX_FRAMES: u32 = 1 << 16;

const TABLE_AAD: &[u8] = b"podsync pack 1 table";
const FOOTER_AAD: &[u8] = b"podsync pack 1 footer";
/// Frame indices are `u32`, so these nonces are never a frame's.
const TABLE_NONCE: u64 = u64::MAX - 1;
const FOOTER_NONCE: u64 = u64::MAX;

const ROW_LEN: usize = 40;
const FOOTER_LEN: usize = 4 + TAG_LEN;

/// One row of a pack's table; the frame's offset is the sum of the lengths before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailerRow {
    pub id: ChunkId,
    pub sealed_len: u32,
    pub plain_len: u32,
}

/// A pack with an invalid end.
#[derive(Debug, thiserror::Error)]
pub enum TrailerError {
    #[error("the pack cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Seal(#[from] BrokenSeal),
    #[error("the pack's table is malformed: {0}")]
    Malformed(&'static str),
}

/// The sealed bytes that end a pack of these frames.
pub(crate) fn seal(sealer: &Sealer, rows: &[TrailerRow]) -> Vec<u8> {
    let mut table = Vec::with_capacity(rows.len() * ROW_LEN + TAG_LEN + FOOTER_LEN);
    for row in rows {
        table.extend_from_slice(row.id.as_bytes());
        table.extend_from_slice(&row.sealed_len.to_le_bytes());
        table.extend_from_slice(&row.plain_len.to_le_bytes());
    }
    sealer.seal(TABLE_NONCE, TABLE_AAD, &mut table);
    let count = u32::try_from(rows.len()).expect("a pack has at most MAX_FRAMES frames");
    let mut footer = count.to_le_bytes().to_vec();
    sealer.seal(FOOTER_NONCE, FOOTER_AAD, &mut footer);
    table.extend_from_slice(&footer);
    table
}

/// Reads the table of a pack from its end.
pub fn read_trailer(
    pack: &PackRef,
    reader: &dyn PackReader,
) -> Result<Vec<TrailerRow>, TrailerError> {
    let sealer = Sealer::new(&pack.key);
    let footer_at = pack
        .len
        .checked_sub(FOOTER_LEN as u64)
        .ok_or(TrailerError::Malformed("it is too short"))?;
    let mut footer = [0; FOOTER_LEN];
    reader.read(pack, footer_at, &mut footer)?;
    let footer = sealer.open(FOOTER_NONCE, FOOTER_AAD, &mut footer)?;
    let count = decode_footer(footer)?;
    let table_len = count as usize * ROW_LEN + TAG_LEN;
    let frames_len = footer_at
        .checked_sub(table_len as u64)
        .ok_or(TrailerError::Malformed("it is too short"))?;
    let mut table = vec![0; table_len];
    reader.read(pack, frames_len, &mut table)?;
    decode_trailer(sealer.open(TABLE_NONCE, TABLE_AAD, &mut table)?, frames_len)
}

fn decode_footer(footer: &[u8]) -> Result<u32, TrailerError> {
    let bytes = footer
        .try_into()
        .map_err(|_| TrailerError::Malformed("its footer has another length"))?;
    match u32::from_le_bytes(bytes) {
        count if count <= MAX_FRAMES => Ok(count),
        _ => Err(TrailerError::Malformed(
            "it has more frames than a pack may have",
        )),
    }
}

/// Decodes an opened table of a pack whose frames take `frames_len` bytes.
pub fn decode_trailer(table: &[u8], frames_len: u64) -> Result<Vec<TrailerRow>, TrailerError> {
    let (rows, []) = table.as_chunks::<ROW_LEN>() else {
        return Err(TrailerError::Malformed(
            "its length is no multiple of a row's",
        ));
    };
    let mut decoded = Vec::with_capacity(rows.len());
    let mut end = 0;
    for row in rows {
        let mut id = [0; 32];
        id.copy_from_slice(&row[..32]);
        let number =
            |at: usize| u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
        let row = TrailerRow {
            id: ChunkId::from_bytes(id),
            sealed_len: number(32),
            plain_len: number(36),
        };
        frame::check_lengths(row.sealed_len, row.plain_len)
            .map_err(|_| TrailerError::Malformed("a frame's lengths are impossible"))?;
        end += u64::from(row.sealed_len);
        decoded.push(row);
    }
    if end == frames_len {
        Ok(decoded)
    } else {
        Err(TrailerError::Malformed("its frames do not fill the pack"))
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::{BlobId, seal::SecretKey};

    use super::*;

    struct OnePack(Vec<u8>);

    impl PackReader for OnePack {
        fn read(&self, _: &PackRef, offset: u64, into: &mut [u8]) -> io::Result<()> {
            let bytes = self
                .0
                .get(offset as usize..)
                .and_then(|rest| rest.get(..into.len()));
            into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    fn read(bytes: Vec<u8>, key: &SecretKey) -> Result<Vec<TrailerRow>, TrailerError> {
        let id = BlobId::of(&bytes);
        let pack = PackRef {
            id,
            sha256: None,
            len: bytes.len() as u64,
            key: key.clone(),
        };
        read_trailer(&pack, &OnePack(bytes))
    }

    #[test]
    fn golden() {
        let key = SecretKey::from_bytes([1; 32]);
        let rows = [TrailerRow {
            id: ChunkId::from_bytes([7; 32]),
            sealed_len: 20,
            plain_len: 5,
        }];
        let trailer = seal(&Sealer::new(&key), &rows);
        assert_eq!(
            data_hex(&trailer),
            "e8d319cac3f0e4323ad78f8391bf81136c7498e19658bc530da3f79115352659aaf5cf36c5cfcc8aa7781357c74759363cfa9f6081184fe21b30e5fbdb2677a9370a26638710a7b4ff89c891"
        );
        assert_eq!(read([&[0; 20], &trailer[..]].concat(), &key).unwrap(), rows);
    }

    #[test]
    fn only_a_whole_pack_under_its_own_key_has_a_trailer() {
        let key = SecretKey::from_bytes([1; 32]);
        let rows = [TrailerRow {
            id: ChunkId::from_bytes([7; 32]),
            sealed_len: 20,
            plain_len: 5,
        }; 3];
        let good = [&[0; 60], &seal(&Sealer::new(&key), &rows)[..]].concat();
        assert_eq!(read(good.clone(), &key).unwrap(), rows);
        assert!(read(good.clone(), &SecretKey::from_bytes([2; 32])).is_err());
        for len in 0..good.len() {
            assert!(read(good[..len].to_vec(), &key).is_err());
            assert!(read(good[good.len() - len..].to_vec(), &key).is_err());
        }
    }

    #[test]
    fn malformed_tables_are_refused() {
        assert!(decode_trailer(&[], 0).unwrap().is_empty());
        assert!(decode_trailer(&[0; 39], 0).is_err());
        assert!(decode_trailer(&[0; 40], 0).is_err());
        assert!(decode_trailer(&[], 1).is_err());
        assert!(decode_footer(&(MAX_FRAMES + 1).to_le_bytes()).is_err());
        assert!(decode_footer(&[]).is_err());
    }

    fn data_hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
