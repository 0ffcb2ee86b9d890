//! Questions before what can't be taken back, where somebody sits at a terminal to answer them.

use std::io::{BufRead, IsTerminal, Read, Write};

use crate::output::{Printer, printable};

/// More than anybody types for yes.
const MAX_ANSWER_LEN: u64 = 64;

/// Asks for a yes; none where nobody can be asked.
pub(crate) fn confirm(printer: &Printer, statement: &str, question: &str) -> Option<bool> {
    let stdin = std::io::stdin();
    if !printer.is_for_people() || !stdin.is_terminal() {
        return None;
    }
    let mut err = std::io::stderr();
    write!(err, "{}\n{question} [y/N] ", printable(statement)).ok()?;
    err.flush().ok()?;
    let mut answer = String::new();
    stdin
        .lock()
        .take(MAX_ANSWER_LEN)
        .read_line(&mut answer)
        .ok()?;
    Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
