//! A state that is one file, byte for byte.

use std::io::Write;

use bytes::Bytes;

use super::{RebuildError, Target, stream};
use crate::{
    entry::{Entry, EntryKind},
    progress::Progress,
    read::Version,
};

impl Version<'_> {
    /// Writes the one file that the state is.
    pub fn to_file(
        &self,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<(), RebuildError> {
        let not_one = || RebuildError::NotOneFile {
            entries: self.manifest.entry_count,
        };
        let first = self.entries()?.next().transpose()?;
        match first {
            Some(Entry {
                kind: EntryKind::File { .. },
                ..
            }) if self.manifest.entry_count == 1 => {}
            _ => return Err(not_one()),
        }
        stream(*self, &mut OneFile(out), progress)
    }
}

struct OneFile<'w>(&'w mut dyn Write);

impl Target for OneFile<'_> {
    fn begin(&mut self, _: &Entry) -> Result<(), RebuildError> {
        Ok(())
    }

    fn data(&mut self, bytes: Bytes) -> Result<(), RebuildError> {
        self.0.write_all(&bytes).map_err(RebuildError::Output)
    }

    fn end(&mut self, _: &Entry) -> Result<(), RebuildError> {
        self.0.flush().map_err(RebuildError::Output)
    }
}
