//! A local header that describes its member completely: stored, with the length in front.
//!
//! Many zips give the length only after the data. Those can't be read before their directory is there.

pub(crate) const HEADER_LEN: usize = 30;
pub(crate) const SIGNATURE: [u8; 4] = *b"PK\x03\x04";

const STORED: u16 = 0;
/// Flags that change the meaning of the data or the place of its length: encrypted, length after
/// the data, patched, strongly encrypted, masked.
const NOT_PLAIN: u16 = 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 13;
const ZIP64_FIELD: u16 = 1;

/// What stands in front of a member's data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LocalHeader {
    pub(crate) name: Vec<u8>,
    /// Bytes of data.
    pub(crate) len: u64,
    pub(crate) header_len: u64,
}

/// How many bytes of name and extra fields follow.
pub(crate) fn rest_len(head: &[u8; HEADER_LEN]) -> usize {
    usize::from(u16_at(head, 26)) + usize::from(u16_at(head, 28))
}

impl LocalHeader {
    /// `rest` is as long as [`rest_len`] says. None: not of this kind.
    pub(crate) fn read(head: &[u8; HEADER_LEN], rest: &[u8]) -> Option<Self> {
        if u16_at(head, 6) & NOT_PLAIN != 0 || u16_at(head, 8) != STORED {
            return None;
        }
        let (name, extra) = rest.split_at_checked(usize::from(u16_at(head, 26)))?;
        let len = match (u32_at(head, 18), u32_at(head, 22)) {
            (u32::MAX, u32::MAX) => wide_len(extra)?,
            (packed, plain) if packed == plain && plain != u32::MAX => u64::from(plain),
            _ => return None,
        };
        Some(Self {
            name: name.to_vec(),
            len,
            header_len: (HEADER_LEN + rest.len()) as u64,
        })
    }
}

/// The length from the zip64 field, which has it twice.
fn wide_len(mut extra: &[u8]) -> Option<u64> {
    while let Some((head, body)) = extra.split_at_checked(4) {
        let (field, rest) = body.split_at_checked(usize::from(u16_at(head, 2)))?;
        if u16_at(head, 0) == ZIP64_FIELD {
            let figure =
                |at: usize| Some(u64::from_le_bytes(field.get(at..at + 8)?.try_into().ok()?));
            let (plain, packed) = (figure(0)?, figure(8)?);
            return (plain == packed).then_some(plain);
        }
        extra = rest;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
