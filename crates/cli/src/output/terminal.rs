//! Reads from the user at the terminal: a line, or a whole paste.
//!
//! A paste is read to its end: what is left of it would be typed into the shell. The first line is waited
//! for on another thread, so Ctrl-C ends it, and the terminal behaves as before.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcsetattr,
};

/// More than any ticket, key or answer has.
const MAX_LEN: usize = 16 << 10;
/// More than anybody pastes.
const MAX_PASTE_LEN: usize = 1 << 20;
/// No table is squeezed below this.
const MIN_WIDTH: u16 = 40;
/// The parts of a paste come faster after each other than this, in tenths of a second.
const PASTE_PAUSE: u8 = 1;

/// Whether a user could type an answer.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal()
}

/// How many characters fit on a line of the output; `None` if the output is no terminal. A variable may set another
/// width than the terminal says.
pub(crate) fn width() -> Option<u16> {
    #[cfg(test)]
    if let Some(width) = TEST_WIDTH.get() {
        return Some(width);
    }
    if !io::stdout().is_terminal() {
        return None;
    }
    let said = std::env::var("COLUMNS").ok();
    let said = said.and_then(|columns| columns.parse().ok());
    let is = || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then_some(size.ws_col)
    };
    said.or_else(is).map(|columns: u16| columns.max(MIN_WIDTH))
}

#[cfg(test)]
thread_local! {
    /// The terminal that a test pretends to have.
    pub(crate) static TEST_WIDTH: std::cell::Cell<Option<u16>> = const { std::cell::Cell::new(None) };
}

/// Asks for a line.
pub(super) async fn line(prompt: &str) -> io::Result<String> {
    // Input from before the question is no answer to it.
    tcflush(io::stdin(), QueueSelector::IFlush)?;
    show(prompt)?;
    Terminal::take()?.paste().await
}

/// Asks for a secret, which the terminal doesn't show.
pub(crate) async fn secret(prompt: &str) -> io::Result<String> {
    let terminal = Terminal::take()?;
    terminal.set(|modes| modes.local_modes.remove(LocalModes::ECHO))?;
    show(prompt)?;
    let text = terminal.paste().await;
    drop(terminal);
    show("\n")?;
    text
}

fn show(text: &str) -> io::Result<()> {
    let mut err = io::stderr();
    err.write_all(text.as_bytes())?;
    err.flush()
}

/// The terminal that is stdin. It is as it was before once this is dropped.
struct Terminal {
    before: Termios,
}

impl Terminal {
    fn take() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        Ok(Self { before })
    }

    fn set(&self, change: impl FnOnce(&mut Termios)) -> io::Result<()> {
        let mut modes = tcgetattr(io::stdin())?;
        change(&mut modes);
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &modes)?)
    }

    /// A line, and all that comes at once with it.
    async fn paste(&self) -> io::Result<String> {
        // Ctrl-C must work before the line ends.
        let mut piece = tokio::select! {
            piece = tokio::task::spawn_blocking(read) => piece??,
            Ok(()) = tokio::signal::ctrl_c() => return Err(io::ErrorKind::Interrupted.into()),
        };
        let (mut text, mut len) = (Vec::new(), 0);
        // From here on it also reads an unfinished line, and stops at a pause.
        self.set(|modes| {
            modes.local_modes.remove(LocalModes::ICANON);
            modes.special_codes[SpecialCodeIndex::VMIN] = 0;
            modes.special_codes[SpecialCodeIndex::VTIME] = PASTE_PAUSE;
        })?;
        while !piece.is_empty() && len < MAX_PASTE_LEN {
            len += piece.len();
            // Beyond the bound it is read and forgotten.
            let room = MAX_LEN - text.len();
            text.extend_from_slice(&piece[..piece.len().min(room)]);
            piece = read()?;
        }
        String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn read() -> io::Result<Vec<u8>> {
    let mut piece = vec![0; 4096];
    let len = rustix::io::read(io::stdin(), &mut piece)?;
    piece.truncate(len);
    Ok(piece)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that is gone shows nothing anyway.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
