//! Tables while they grow: unlinked temporary files, so that a million rows are never in memory.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use podsync_core::manifest::ChunkLocation;

/// Written to a spool at once.
const BUFFER_LEN: usize = 256 << 10;

/// Bytes that are written once and then read from the start.
pub(crate) struct Spool(BufWriter<File>);

impl Spool {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(
            BUFFER_LEN,
            tempfile::tempfile_in(folder)?,
        )))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(crate) fn into_reader(self) -> io::Result<File> {
        let mut file = self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

/// Chunk rows, written in order, readable one by one while they are written.
pub(crate) struct RowSpool {
    file: File,
    buffer: Vec<u8>,
    /// Rows that lie in the file already.
    written: u64,
}

const ROW: usize = ChunkLocation::ROW_LEN;

impl RowSpool {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(folder)?,
            buffer: Vec::with_capacity(BUFFER_LEN),
            written: 0,
        })
    }

    pub(crate) fn push(&mut self, location: &ChunkLocation) -> io::Result<()> {
        if self.buffer.len() + ROW > BUFFER_LEN {
            self.flush()?;
        }
        self.buffer.extend_from_slice(&location.to_row());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += (self.buffer.len() / ROW) as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn len(&self) -> u64 {
        self.written + (self.buffer.len() / ROW) as u64
    }

    pub(crate) fn get(&self, index: u64) -> io::Result<ChunkLocation> {
        let mut row = [0; ROW];
        match index.checked_sub(self.written) {
            Some(buffered) => row.copy_from_slice(&self.buffer[buffered as usize * ROW..][..ROW]),
            None => self.file.read_exact_at(&mut row, index * ROW as u64)?,
        }
        Ok(ChunkLocation::from_row(&row))
    }

    /// All rows in order.
    pub(crate) fn for_each<E: From<io::Error>>(
        &mut self,
        mut visit: impl FnMut(ChunkLocation) -> Result<(), E>,
    ) -> Result<(), E> {
        self.flush()?;
        self.file.rewind()?;
        let mut reader = io::BufReader::with_capacity(BUFFER_LEN, &self.file);
        for _ in 0..self.written {
            let mut row = [0; ROW];
            reader.read_exact(&mut row)?;
            visit(ChunkLocation::from_row(&row))?;
        }
        self.file.seek(io::SeekFrom::End(0))?;
        Ok(())
    }
}
