//! Where log lines go: to stderr. They repeat words of peers, hubs and emulators.

use std::io::{self, Write};

use super::text::in_order;

/// Writes to stderr without characters that reorder letters on a terminal.
pub(crate) struct Logs;

impl Write for Logs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().lock().write_all(in_order(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
