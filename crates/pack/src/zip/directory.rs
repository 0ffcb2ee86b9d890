//! Reads a zip's central directory without trusting it.
//!
//! A zip that its members alone can't rebuild is [`DirectoryError::Unsupported`] and may still be
//! kept as one file, whose [`loose_members`] are looked into. A zip with paths outside its folder,
//! wrong sizes or extreme compression is always refused.

use std::io::{self, Read, Seek, SeekFrom};

use podsync_core::manifest::MAX_ENTRIES;

use super::time;
use crate::{
    entry::{MODE_MASK, TableOrder},
    name::{EntryName, NameError},
};

/// The most bytes of a central directory: half a million members with names of usual length.
pub(crate) const MAX_DIRECTORY_LEN: u64 = 64 << 20;
/// A zip may inflate to this much whatever its ratio.
const RATIO_FREE_LEN: u64 = 1 << 30;
/// Beyond that, to this many times its own length.
const MAX_RATIO: u64 = 100;
/// The highest ratio of deflate. A member that claims more is invalid.
const DEFLATE_MAX_RATIO: u64 = 1032;

/// How a member is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Stored,
    Deflated,
}

impl Method {
    fn of(code: u16) -> Option<Self> {
        [Self::Stored, Self::Deflated]
            .into_iter()
            .find(|method| method.code() == code)
    }

    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflated => 8,
        }
    }
}

/// One member as the central directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: EntryName,
    /// None: a folder.
    pub method: Option<Method>,
    pub mode: u32,
    pub mtime_ns: i64,
    pub crc32: u32,
    pub packed_len: u64,
    pub len: u64,
    /// Where its local header begins.
    pub offset: u64,
    /// The upper bound of its data: the next member or the directory.
    pub end: u64,
}

/// Members in the order of their names.
#[derive(Debug)]
pub struct Directory {
    members: Vec<Member>,
}

/// Why a file is no zip that can be opened.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("it is no zip")]
    NotZip,
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Cut off or damaged.
    #[error("it is damaged or cut off ({0})")]
    Malformed(&'static str),
    /// A zip, but not one that its members alone can rebuild.
    #[error("it has {0}, which an emulator's state never has")]
    Unsupported(&'static str),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("it would inflate to {len} bytes, far more than a zip of {zip_len} should")]
    Bomb { len: u64, zip_len: u64 },
}

impl DirectoryError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Malformed(..) => "make it again",
            Self::Bomb { .. } => "if it is meant so, unpack it and save the folder",
            Self::NotZip | Self::Io(..) | Self::Unsupported(..) | Self::Name(..) => return None,
        })
    }
}

use DirectoryError::{Malformed, Unsupported};

impl Directory {
    /// Reads the directory at the end of `zip`.
    pub fn read(mut zip: impl Read + Seek) -> Result<Self, DirectoryError> {
        let end = End::find(&mut zip)?;
        let mut bytes =
            vec![0; usize::try_from(end.len).map_err(|_| Malformed("an impossible directory"))?];
        zip.seek(SeekFrom::Start(end.offset))?;
        zip.read_exact(&mut bytes)?;
        let mut members = Vec::new();
        let mut rest = &bytes[..];
        for _ in 0..end.count {
            members.push(read_member(&mut rest)?);
        }
        if !rest.is_empty() {
            return Err(Unsupported("bytes behind its directory"));
        }
        place(&mut members, end.offset)?;
        check_sizes(&members, end.zip_len)?;
        sort(&mut members)?;
        Ok(Self { members })
    }

    /// Plain bytes of all members.
    pub fn state_len(&self) -> u64 {
        self.members.iter().map(|member| member.len).sum()
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn into_members(self) -> Vec<Member> {
        self.members
    }
}

/// A member of a zip that can't be opened, as far as the directory tells. Nothing of it was checked.
#[derive(Debug)]
pub struct Loose {
    pub name: String,
    /// None if its data can't be read.
    pub method: Option<Method>,
    pub packed_len: u64,
    pub len: u64,
    /// Where its local header should begin.
    pub offset: u64,
}

/// Lists the members of a zip as far as its directory can be read.
pub fn loose_members(mut zip: impl Read + Seek) -> Result<Vec<Loose>, DirectoryError> {
    let (end, end_at) = End::locate(&mut zip)?;
    let Some(at) = end.begin(&mut zip, end_at)? else {
        return Ok(Vec::new());
    };
    let mut bytes = Vec::new();
    zip.seek(SeekFrom::Start(at))?;
    zip.by_ref()
        .take((end_at - at).min(MAX_DIRECTORY_LEN))
        .read_to_end(&mut bytes)?;
    // Bytes before the first member move everything, and many tools read such a zip.
    let shift = at.wrapping_sub(end.offset);
    let mut members = Vec::new();
    let mut rest = &bytes[..];
    while let Some(mut member) = read_loose(&mut rest) {
        member.offset = member.offset.wrapping_add(shift);
        members.push(member);
    }
    Ok(members)
}

/// Where the directory lies.
struct End {
    has_parts: bool,
    count: u64,
    offset: u64,
    len: u64,
    zip_len: u64,
}

const END_LEN: usize = 22;
const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const LOCATOR_LEN: usize = 20;
const LOCATOR_SIGNATURE: [u8; 4] = *b"PK\x06\x07";
const END64_LEN: usize = 56;
const END64_SIGNATURE: [u8; 4] = *b"PK\x06\x06";
const MEMBER_LEN: usize = 46;
const MEMBER_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
/// Flags of an encrypted member, or of one whose local header is masked.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

impl End {
    fn find(zip: &mut (impl Read + Seek)) -> Result<Self, DirectoryError> {
        let (end, end_at) = Self::locate(zip)?;
        end.check(end_at)?;
        Ok(end)
    }

    /// Reads the record at the end, and says where it begins.
    fn locate(zip: &mut (impl Read + Seek)) -> Result<(Self, u64), DirectoryError> {
        let zip_len = zip.seek(SeekFrom::End(0))?;
        let tail_len = zip_len.min((END_LEN + usize::from(u16::MAX)) as u64);
        let tail_at = zip_len - tail_len;
        let mut tail = vec![0; tail_len as usize];
        zip.seek(SeekFrom::Start(tail_at))?;
        zip.read_exact(&mut tail)?;
        // A comment of stated length follows the record: accept only a record whose comment ends with
        // the file.
        let at = (0..=tail.len().saturating_sub(END_LEN)).rev().find(|&at| {
            tail[at..].len() >= END_LEN
                && tail[at..].starts_with(&END_SIGNATURE)
                && at + END_LEN + usize::from(u16_at(&tail, at + 20)) == tail.len()
        });
        let Some(at) = at else {
            return Err(Self::missing(zip)?);
        };
        let record = &tail[at..];
        let mut end = Self {
            has_parts: [u16_at(record, 4), u16_at(record, 6)] != [0, 0],
            count: u64::from(u16_at(record, 10)),
            len: u64::from(u32_at(record, 12)),
            offset: u64::from(u32_at(record, 16)),
            zip_len,
        };
        let mut end_at = tail_at + at as u64;
        let is_wide = end.count == u64::from(u16::MAX)
            || end.len == u64::from(u32::MAX)
            || end.offset == u64::from(u32::MAX);
        if is_wide && !end.has_parts {
            end_at = end.read_zip64(zip, end_at)?;
        }
        Ok((end, end_at))
    }

    /// Where the directory begins: right before the record at the end, or where that says.
    fn begin(
        &self,
        zip: &mut (impl Read + Seek),
        end_at: u64,
    ) -> Result<Option<u64>, DirectoryError> {
        let places = [end_at.checked_sub(self.len), Some(self.offset)];
        for at in places.into_iter().flatten().filter(|at| *at < end_at) {
            let mut signature = Vec::new();
            zip.seek(SeekFrom::Start(at))?;
            zip.by_ref().take(4).read_to_end(&mut signature)?;
            if signature == MEMBER_SIGNATURE {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The error for a file without an end record: a zip that was cut off, or no zip.
    fn missing(zip: &mut (impl Read + Seek)) -> io::Result<DirectoryError> {
        let mut begin = Vec::new();
        zip.seek(SeekFrom::Start(0))?;
        zip.by_ref().take(4).read_to_end(&mut begin)?;
        Ok(if begin == b"PK\x03\x04" {
            Malformed("its directory is missing")
        } else {
            DirectoryError::NotZip
        })
    }

    /// Takes the figures from the zip64 record, if there is one, and returns where that begins.
    fn read_zip64(
        &mut self,
        zip: &mut (impl Read + Seek),
        end_at: u64,
    ) -> Result<u64, DirectoryError> {
        let Some(locator_at) = end_at.checked_sub(LOCATOR_LEN as u64) else {
            return Ok(end_at);
        };
        let mut locator = [0; LOCATOR_LEN];
        zip.seek(SeekFrom::Start(locator_at))?;
        zip.read_exact(&mut locator)?;
        if !locator.starts_with(&LOCATOR_SIGNATURE) {
            return Ok(end_at);
        }
        let at = u64_at(&locator, 8);
        if locator_at
            .checked_sub(at)
            .is_none_or(|len| len < END64_LEN as u64)
        {
            return Err(Malformed("its zip64 directory is out of place"));
        }
        let mut record = [0; END64_LEN];
        zip.seek(SeekFrom::Start(at))?;
        zip.read_exact(&mut record)?;
        if !record.starts_with(&END64_SIGNATURE) {
            return Err(Malformed("its zip64 directory is out of place"));
        }
        self.count = u64_at(&record, 32);
        self.len = u64_at(&record, 40);
        self.offset = u64_at(&record, 48);
        Ok(at)
    }

    fn check(&self, end_at: u64) -> Result<(), DirectoryError> {
        if self.has_parts {
            return Err(Unsupported("several parts"));
        }
        let behind = self
            .offset
            .checked_add(self.len)
            .ok_or(Malformed("an impossible directory"))?;
        if behind > end_at {
            return Err(Malformed("its directory is longer than the file"));
        }
        if behind < end_at {
            return Err(Unsupported("bytes before or behind its members"));
        }
        if self.count > MAX_ENTRIES || self.len > MAX_DIRECTORY_LEN {
            return Err(Unsupported("more members than a state may have"));
        }
        if self.count.saturating_mul(MEMBER_LEN as u64) > self.len {
            return Err(Malformed("its directory is shorter than its members"));
        }
        Ok(())
    }
}

fn read_member(rest: &mut &[u8]) -> Result<Member, DirectoryError> {
    let cut_off = || Malformed("a member's entry is cut off");
    let (head, body) = rest.split_at_checked(MEMBER_LEN).ok_or_else(cut_off)?;
    if !head.starts_with(&MEMBER_SIGNATURE) {
        return Err(Malformed("a member's entry is not where it should be"));
    }
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
    let (name, body) = body.split_at_checked(name_len).ok_or_else(cut_off)?;
    let (extra, body) = body.split_at_checked(extra_len).ok_or_else(cut_off)?;
    *rest = body.get(comment_len..).ok_or_else(cut_off)?;

    let flags = u16_at(head, 8);
    if flags & ENCRYPTED != 0 {
        return Err(Unsupported("encrypted members"));
    }
    if u16_at(head, 34) != 0 {
        return Err(Unsupported("several parts"));
    }
    let name = match std::str::from_utf8(name) {
        Ok(name) if name.is_ascii() || flags & (1 << 11) != 0 => name,
        _ => return Err(Unsupported("names in a legacy encoding")),
    };
    let method = Method::of(u16_at(head, 10)).ok_or(Unsupported(
        "members compressed in another way than deflate",
    ))?;
    let sizes = Sizes::read(head, extra)?;
    let (name, is_folder) = match name.strip_suffix('/') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let name = EntryName::new(name)?;
    if is_folder && sizes.len != 0 {
        return Err(Unsupported("folders with content"));
    }
    Ok(Member {
        name,
        method: (!is_folder).then_some(method),
        mode: mode(head, is_folder)?,
        mtime_ns: time::from_dos(u16_at(head, 14), u16_at(head, 12)),
        crc32: u32_at(head, 16),
        packed_len: sizes.packed_len,
        len: sizes.len,
        offset: sizes.offset,
        end: 0,
    })
}

/// The next member. None at the end, or where none is.
fn read_loose(rest: &mut &[u8]) -> Option<Loose> {
    let (head, body) = rest.split_at_checked(MEMBER_LEN)?;
    if !head.starts_with(&MEMBER_SIGNATURE) {
        return None;
    }
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
    let (name, body) = body.split_at_checked(name_len)?;
    let (extra, body) = body.split_at_checked(extra_len)?;
    *rest = body.get(comment_len..).unwrap_or_default();
    let sizes = Sizes::read(head, extra).ok();
    let is_plain = u16_at(head, 8) & ENCRYPTED == 0;
    let method = Method::of(u16_at(head, 10)).filter(|_| is_plain && sizes.is_some());
    let figure = |of: fn(&Sizes) -> u64| sizes.as_ref().map_or(0, of);
    Some(Loose {
        name: String::from_utf8_lossy(name).into_owned(),
        method,
        packed_len: figure(|sizes| sizes.packed_len),
        len: figure(|sizes| sizes.len),
        offset: figure(|sizes| sizes.offset),
    })
}

struct Sizes {
    packed_len: u64,
    len: u64,
    offset: u64,
}

impl Sizes {
    /// Sizes of the entry, from its zip64 field where they don't fit.
    fn read(head: &[u8], mut extra: &[u8]) -> Result<Self, DirectoryError> {
        const ZIP64_FIELD: u16 = 1;
        let mut wide: &[u8] = &[];
        while extra.len() >= 4 {
            let (id, len) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
            let field = extra[4..]
                .get(..len)
                .ok_or(Malformed("a member's extra field is cut off"))?;
            if id == ZIP64_FIELD {
                wide = field;
            }
            extra = &extra[4 + len..];
        }
        let mut figure = |at: usize| -> Result<u64, DirectoryError> {
            match u32_at(head, at) {
                u32::MAX => {
                    let (value, rest) = wide
                        .split_at_checked(8)
                        .ok_or(Malformed("a member's zip64 field is cut off"))?;
                    wide = rest;
                    Ok(u64_at(value, 0))
                }
                narrow => Ok(u64::from(narrow)),
            }
        };
        // Their order in the zip64 field.
        let (len, packed_len, offset) = (figure(24)?, figure(20)?, figure(42)?);
        Ok(Self {
            packed_len,
            len,
            offset,
        })
    }
}

/// Permission bits; a usual default where the zip has none.
fn mode(head: &[u8], is_folder: bool) -> Result<u32, DirectoryError> {
    const UNIX: u8 = 3;
    let default = if is_folder { 0o755 } else { 0o644 };
    if head[5] != UNIX {
        return Ok(default);
    }
    let mode = u32_at(head, 38) >> 16;
    match (mode & 0o170_000, is_folder) {
        (0, _) | (0o100_000, false) | (0o040_000, true) => {}
        _ => return Err(Unsupported("symlinks or special files")),
    }
    Ok(if mode & MODE_MASK == 0 {
        default
    } else {
        mode & MODE_MASK
    })
}

/// Gives each member the bytes up to the next, and refuses overlapping members.
fn place(members: &mut [Member], directory_at: u64) -> Result<(), DirectoryError> {
    members.sort_unstable_by_key(|member| member.offset);
    let first = members.first().map_or(directory_at, |member| member.offset);
    if first != 0 {
        return Err(Unsupported("bytes before its first member"));
    }
    let mut next = directory_at;
    for member in members.iter_mut().rev() {
        member.end = next;
        let data_end = member.offset.checked_add(member.packed_len);
        if data_end.is_none_or(|end| end >= next) {
            return Err(Malformed("members overlap"));
        }
        next = member.offset;
    }
    Ok(())
}

fn check_sizes(members: &[Member], zip_len: u64) -> Result<(), DirectoryError> {
    let mut total = 0_u64;
    for member in members {
        total = total.saturating_add(member.len);
        let possible = match member.method {
            Some(Method::Deflated) => {
                member.len <= member.packed_len.saturating_mul(DEFLATE_MAX_RATIO)
            }
            Some(Method::Stored) => member.len == member.packed_len,
            None => true,
        };
        if !possible {
            return Err(Malformed("a member's length is impossible"));
        }
    }
    if total > RATIO_FREE_LEN && total / MAX_RATIO > zip_len {
        return Err(DirectoryError::Bomb {
            len: total,
            zip_len,
        });
    }
    Ok(())
}

fn sort(members: &mut [Member]) -> Result<(), DirectoryError> {
    members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut order = TableOrder::default();
    for member in members {
        order
            .check_name(&member.name, member.method.is_none())
            .map_err(|_| Unsupported("two members of one name, or one below a file"))?;
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
