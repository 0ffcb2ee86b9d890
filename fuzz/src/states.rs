//! Decoders of packs and snapshot files.

use std::{
    fs::File,
    io::{self, Cursor, Write},
};

use podsync_core::{
    BlobId,
    manifest::PackRef,
    seal::{Sealer, SecretKey},
};
use podsync_pack::{
    Base, Directory, PackReader, PackSink, SaveOptions, Source, decode_trailer, loose_members,
    read_trailer, save,
};

/// An opened trailer: the length that its frames should have, then its rows.
pub(crate) fn trailer(bytes: &[u8]) {
    if let Some((len, rows)) = bytes.split_first_chunk() {
        drop(decode_trailer(rows, u64::from_le_bytes(*len)));
    }
}

/// A whole pack: its bytes unchanged, and with a correctly sealed footer.
pub(crate) fn pack(bytes: &[u8]) {
    let key = SecretKey::from_bytes([1; 32]);
    let mut footer = bytes
        .first_chunk::<4>()
        .copied()
        .unwrap_or_default()
        .to_vec();
    Sealer::new(&key).seal(u64::MAX, b"podsync pack 1 footer", &mut footer);
    for bytes in [bytes.to_vec(), [bytes, &footer].concat()] {
        let pack = PackRef {
            id: BlobId::of(&bytes),
            sha256: None,
            len: bytes.len() as u64,
            key: key.clone(),
        };
        drop(read_trailer(&pack, &Bytes(&bytes)));
    }
}

struct Bytes<'a>(&'a [u8]);

impl PackReader for Bytes<'_> {
    fn read(&self, _: &PackRef, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..));
        let bytes = rest.and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

pub(crate) fn zip_directory(bytes: &[u8]) {
    drop(Directory::read(Cursor::new(bytes)));
    drop(loose_members(Cursor::new(bytes)));
}

/// Saves the zip as an emulator's state, members and all; its packs go nowhere.
pub(crate) fn save_zip(bytes: &[u8]) {
    // Write a file only for input that passes the directory check.
    if Directory::read(Cursor::new(bytes)).is_err() {
        return;
    }
    let Ok(mut file) = tempfile::tempfile() else {
        return;
    };
    if file.write_all(bytes).is_err() {
        return;
    }
    if let Ok(source) = Source::from_instance(file) {
        let spool = std::env::temp_dir();
        let options = SaveOptions {
            spool: &spool,
            unless: None,
            allow_secrets: true,
        };
        let mut entropy = || [1; 32];
        drop(save(
            source,
            Base::EMPTY,
            &mut Nowhere,
            &options,
            &mut entropy,
            &(),
        ));
    }
}

struct Nowhere;

impl PackSink for Nowhere {
    fn create(&mut self) -> io::Result<File> {
        tempfile::tempfile()
    }

    fn finish(&mut self, _: File, _: &PackRef) -> io::Result<()> {
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}
