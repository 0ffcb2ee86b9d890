//! Looks for secrets in the members of a zip that is kept as a file.
//!
//! Its directory is odd, so it only says where to look. What is encrypted, damaged or compressed in another way than
//! deflate is not seen.

use std::{
    fs::File,
    io::{BufReader, Read},
    os::unix::fs::FileExt,
};

use flate2::bufread::DeflateDecoder;

use super::{
    SourceError,
    archive::Stretch,
    rules::{Scanner, secret_in, without_secrets},
    secret,
};
use crate::zip::{
    directory::{Loose, Method},
    local,
};

/// The most plain bytes that are looked through: a few seconds of work.
const MAX_LOOKED_LEN: u64 = 1 << 30;
/// Plain bytes looked through at once.
const BUFFER_LEN: usize = 64 << 10;

pub(super) fn refuse_secrets(file: &File, members: &[Loose]) -> Result<(), SourceError> {
    let mut look = Look {
        scanner: Scanner::new(),
        buffer: vec![0; BUFFER_LEN],
        left: MAX_LOOKED_LEN,
    };
    for member in members {
        if let Some(what) = secret_in(&member.name) {
            let name = without_secrets(&member.name);
            return Err(SourceError::SecretName { name, what });
        }
        let (Some(method), Some(data)) = (member.method, data_of(file, member)) else {
            continue;
        };
        match method {
            Method::Stored => look.through(member, data)?,
            Method::Deflated => look.through(member, DeflateDecoder::new(BufReader::new(data)))?,
        }
    }
    Ok(())
}

/// The member's data, behind its local header. None if there is none.
fn data_of<'f>(file: &'f File, member: &Loose) -> Option<Stretch<'f>> {
    let mut header = [0; local::HEADER_LEN];
    file.read_exact_at(&mut header, member.offset).ok()?;
    if !header.starts_with(&local::SIGNATURE) {
        return None;
    }
    let header_len = local::HEADER_LEN + local::rest_len(&header);
    Some(Stretch {
        file,
        at: member.offset.checked_add(header_len as u64)?,
        left: member.packed_len,
    })
}

struct Look {
    scanner: Scanner,
    buffer: Vec<u8>,
    /// Plain bytes that may still be looked through.
    left: u64,
}

impl Look {
    /// Reads a member as far as that goes.
    fn through(&mut self, member: &Loose, data: impl Read) -> Result<(), SourceError> {
        let name = member.name.as_bytes();
        self.scanner.begin(name, member.len);
        let mut data = data.take(member.len);
        while let Ok(got @ 1..) = data.read(&mut self.buffer) {
            if let Some(what) = self.scanner.take(&self.buffer[..got]) {
                return Err(secret(name, what));
            }
            let left = self.left.checked_sub(got as u64);
            self.left = left.ok_or(SourceError::TooMuchToSee)?;
        }
        match self.scanner.end() {
            Some(what) => Err(secret(name, what)),
            None => Ok(()),
        }
    }
}
