//! Questions before what can't be taken back, where somebody sits at a terminal to answer them.

use std::io::{BufRead, IsTerminal, Read, Write};

use super::{Printer, printable};

/// The longest exact reference, and some white space.
const MAX_ANSWER_LEN: u64 = 256;

/// Asks for a yes; none where nobody can be asked.
pub(crate) fn confirm(printer: &Printer, statement: &str, question: &str) -> Option<bool> {
    let answer = ask(
        printer,
        &format!("{}\n{question} [y/N] ", printable(statement)),
    )?;
    Some(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for one of several; none where nobody can be asked, or none of them is wanted.
pub(crate) fn choose<'a>(
    printer: &Printer,
    statement: &str,
    options: &'a [String],
) -> Option<&'a String> {
    let mut text = printable(statement);
    for (number, option) in (1..).zip(options) {
        text.push_str(&format!("\n  {number}) {}", printable(option)));
    }
    let answer = ask(
        printer,
        &format!("{text}\nWhich one? [1-{}, Enter for none] ", options.len()),
    )?;
    picked(&answer, options)
}

/// By its number or in full.
fn picked<'a>(answer: &str, options: &'a [String]) -> Option<&'a String> {
    let by_number = answer
        .parse::<usize>()
        .ok()
        .and_then(|number| options.get(number.checked_sub(1)?));
    by_number.or_else(|| options.iter().find(|option| *option == answer))
}

/// One line from whoever sits at the terminal; none where nobody does.
fn ask(printer: &Printer, text: &str) -> Option<String> {
    let stdin = std::io::stdin();
    if !printer.is_for_people() || !stdin.is_terminal() {
        return None;
    }
    let mut err = std::io::stderr();
    write!(err, "{text}").ok()?;
    err.flush().ok()?;
    let mut answer = String::new();
    stdin
        .lock()
        .take(MAX_ANSWER_LEN)
        .read_line(&mut answer)
        .ok()?;
    Some(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::picked;

    #[test]
    fn one_is_picked_by_number_or_in_full() {
        let options = ["orders:3@alice".to_owned(), "orders:3@bob".to_owned()];
        assert_eq!(picked("2", &options), Some(&options[1]));
        assert_eq!(picked("orders:3@alice", &options), Some(&options[0]));
        for none in ["", "0", "3", "-1", "orders"] {
            assert_eq!(picked(none, &options), None, "{none}");
        }
    }
}
