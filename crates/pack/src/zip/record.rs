//! The records of a zip that is written: stored members, sizes known beforehand, zip64 where needed.
//!
//! Nothing here depends on the clock or the machine: one version gives one sequence of bytes, whose
//! length is known before the first is written.

use super::time;
use crate::entry::{Entry, EntryKind};

const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";
const CENTRAL_SIGNATURE: &[u8] = b"PK\x01\x02";
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const END64_SIGNATURE: &[u8] = b"PK\x06\x06";
const LOCATOR64_SIGNATURE: &[u8] = b"PK\x06\x07";
/// Format versions that a reader needs: folders and stored members, or zip64.
const NEEDS_PLAIN: u16 = 20;
const NEEDS_ZIP64: u16 = 45;
/// Written on Unix: the upper half of the attributes is a mode.
const MADE_BY: u16 = 3 << 8 | NEEDS_ZIP64;
const ZIP64_FIELD: u16 = 1;
const FLAG_UTF8: u16 = 1 << 11;
const STORED: u16 = 0;

/// An entry as a member.
pub(crate) struct MemberRecord {
    name: String,
    /// Type and permission bits.
    mode: u32,
    mtime_ns: i64,
    crc32: u32,
    len: u64,
}

impl MemberRecord {
    pub(crate) fn of(entry: &Entry) -> Self {
        let name = entry.name.as_str();
        let (name, kind, crc32, len) = match &entry.kind {
            EntryKind::File { len, crc32 } => (name.to_owned(), 0o100_000, *crc32, *len),
            EntryKind::Dir => (format!("{name}/"), 0o040_000, 0, 0),
            EntryKind::Symlink { target } => {
                let target = target.as_str().as_bytes();
                (
                    name.to_owned(),
                    0o120_000,
                    crc32fast::hash(target),
                    target.len() as u64,
                )
            }
        };
        Self {
            name,
            mode: kind | entry.mode,
            mtime_ns: entry.mtime_ns,
            crc32,
            len,
        }
    }

    /// What stands in front of the member's data.
    pub(crate) fn local_header(&self) -> Vec<u8> {
        let mut out = LOCAL_SIGNATURE.to_vec();
        let wide = fits(self.len).is_none();
        self.common(&mut out, wide);
        let extra = if wide {
            zip64_field(&[self.len, self.len])
        } else {
            Vec::new()
        };
        put16(&mut out, self.name.len() as u64);
        put16(&mut out, extra.len() as u64);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
        out
    }

    /// Its record in the directory, for a header that stands at `offset`.
    pub(crate) fn central_record(&self, offset: u64) -> Vec<u8> {
        let mut wide = Vec::new();
        if fits(self.len).is_none() {
            wide.extend([self.len, self.len]);
        }
        if fits(offset).is_none() {
            wide.push(offset);
        }
        let extra = if wide.is_empty() {
            Vec::new()
        } else {
            zip64_field(&wide)
        };
        let mut out = CENTRAL_SIGNATURE.to_vec();
        put16(&mut out, u64::from(MADE_BY));
        self.common(&mut out, !wide.is_empty());
        put16(&mut out, self.name.len() as u64);
        put16(&mut out, extra.len() as u64);
        // No comment, first part, no internal attributes.
        out.extend_from_slice(&[0; 6]);
        const DOS_FOLDER: u32 = 0x10;
        let folder = if self.name.ends_with('/') {
            DOS_FOLDER
        } else {
            0
        };
        out.extend_from_slice(&(self.mode << 16 | folder).to_le_bytes());
        put32(&mut out, offset);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
        out
    }

    /// Bytes of header and data.
    pub(crate) fn stored_len(&self) -> u64 {
        self.local_header().len() as u64 + self.len
    }

    fn common(&self, out: &mut Vec<u8>, zip64: bool) {
        let (date, time) = time::to_dos(self.mtime_ns);
        let flags = if self.name.is_ascii() { 0 } else { FLAG_UTF8 };
        let needs = if zip64 { NEEDS_ZIP64 } else { NEEDS_PLAIN };
        for field in [needs, flags, STORED, time, date] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.crc32.to_le_bytes());
        put32(out, self.len);
        put32(out, self.len);
    }
}

/// What ends the zip, for a directory of `count` records that stands at `offset`.
pub(crate) fn end_record(count: u64, len: u64, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if count >= u64::from(u16::MAX) || fits(len).is_none() || fits(offset).is_none() {
        const END64_REST_LEN: u64 = 44;
        out.extend_from_slice(END64_SIGNATURE);
        out.extend_from_slice(&END64_REST_LEN.to_le_bytes());
        out.extend_from_slice(&MADE_BY.to_le_bytes());
        out.extend_from_slice(&NEEDS_ZIP64.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        for figure in [count, count, len, offset] {
            out.extend_from_slice(&figure.to_le_bytes());
        }
        out.extend_from_slice(LOCATOR64_SIGNATURE);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(offset + len).to_le_bytes());
        out.extend_from_slice(&1_u32.to_le_bytes());
    }
    out.extend_from_slice(END_SIGNATURE);
    out.extend_from_slice(&[0; 4]);
    put16(&mut out, count);
    put16(&mut out, count);
    put32(&mut out, len);
    put32(&mut out, offset);
    out.extend_from_slice(&[0; 2]);
    out
}

/// A number that fits in 32 bits. The largest one marks a value stored elsewhere.
fn fits(figure: u64) -> Option<u32> {
    u32::try_from(figure)
        .ok()
        .filter(|figure| *figure != u32::MAX)
}

fn put32(out: &mut Vec<u8>, figure: u64) {
    out.extend_from_slice(&fits(figure).unwrap_or(u32::MAX).to_le_bytes());
}

fn put16(out: &mut Vec<u8>, figure: u64) {
    out.extend_from_slice(&u16::try_from(figure).unwrap_or(u16::MAX).to_le_bytes());
}

fn zip64_field(figures: &[u64]) -> Vec<u8> {
    let mut out = ZIP64_FIELD.to_le_bytes().to_vec();
    put16(&mut out, 8 * figures.len() as u64);
    for figure in figures {
        out.extend_from_slice(&figure.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::EntryName;

    fn file(len: u64) -> MemberRecord {
        let name = EntryName::new("a").unwrap();
        MemberRecord::of(&Entry {
            name,
            kind: EntryKind::File { len, crc32: 7 },
            mode: 0o644,
            mtime_ns: 0,
        })
    }

    #[test]
    fn figures_that_do_not_fit_go_to_zip64() {
        let most = u64::from(u32::MAX);
        assert_eq!(file(most - 1).local_header().len(), 31);
        assert_eq!(file(most).local_header().len(), 31 + 20);
        assert_eq!(file(0).central_record(most - 1).len(), 47);
        assert_eq!(file(0).central_record(most).len(), 47 + 12);
        assert_eq!(file(most).central_record(most).len(), 47 + 28);
        assert_eq!(end_record(65_534, 0, 0).len(), 22);
        assert_eq!(end_record(65_535, 0, 0).len(), 98);
        assert_eq!(end_record(0, 0, most).len(), 98);
    }
}
