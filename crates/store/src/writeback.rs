//! Starts writing a file to disk while it still grows, so that the final sync has little left to do.

use std::{fs::File, ops::Range};

/// The bytes to start writing at once.
const WINDOW: u64 = 4 << 20;

/// Bytes that are being written to one file.
#[derive(Debug, Default)]
pub(crate) struct Writeback {
    /// The latest contiguous bytes.
    coming: Range<u64>,
    /// The window before it.
    came: Range<u64>,
}

impl Writeback {
    /// Notes bytes that go into the file, and returns a range worth writing now. All of it has been written
    /// if nothing arrives more than a window late.
    pub(crate) fn note(&mut self, written: Range<u64>) -> Option<Range<u64>> {
        if written.start != self.coming.end {
            self.coming.start = written.start;
        }
        self.coming.end = written.end;
        if self.coming.end - self.coming.start < WINDOW {
            return None;
        }
        let next = self.coming.end..self.coming.end;
        let full = std::mem::replace(&mut self.coming, next);
        let before = std::mem::replace(&mut self.came, full);
        (!before.is_empty()).then_some(before)
    }
}

/// Starts writing a part of a file without waiting. A system without this advice writes everything at the
/// sync.
pub(crate) fn begin(file: &File, part: &Range<u64>) {
    // Linux writes back pages that are declared unneeded, and drops only those already on disk.
    #[cfg(target_os = "linux")]
    if let Some(len) = std::num::NonZeroU64::new(part.end - part.start) {
        let _ = rustix::fs::fadvise(file, part.start, Some(len), rustix::fs::Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_begun_once_the_next_one_is_full() {
        let mut writeback = Writeback::default();
        let step = WINDOW / 4;
        let mut begun = Vec::new();
        for at in 0..16 {
            begun.extend(writeback.note(at * step..(at + 1) * step));
        }
        assert_eq!(
            begun,
            [0..WINDOW, WINDOW..2 * WINDOW, 2 * WINDOW..3 * WINDOW]
        );
    }

    #[test]
    fn what_was_skipped_is_in_no_window() {
        let mut writeback = Writeback::default();
        assert_eq!(writeback.note(0..WINDOW), None);
        assert_eq!(writeback.note(2 * WINDOW..3 * WINDOW - 1), None);
        assert_eq!(writeback.note(3 * WINDOW - 1..3 * WINDOW), Some(0..WINDOW));
        assert_eq!(writeback.note(0..WINDOW), Some(2 * WINDOW..3 * WINDOW));
    }
}
