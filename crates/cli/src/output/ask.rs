//! Questions before an act that can't be undone, if the user is at a terminal.

use super::{Printer, printable, terminal};

/// Asks for a yes; `None` if nobody can be asked.
pub(crate) async fn confirm(printer: &Printer, statement: &str, question: &str) -> Option<bool> {
    let text = format!("{}\n{question} [y/N] ", printable(statement));
    let answer = ask(printer, &text).await?;
    Some(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for one of several; `None` if nobody can be asked, or the user wants none of them.
pub(crate) async fn choose<'a>(
    printer: &Printer,
    statement: &str,
    options: &'a [String],
) -> Option<&'a String> {
    let mut text = printable(statement);
    for (number, option) in (1..).zip(options) {
        text.push_str(&format!("\n  {number}) {}", printable(option)));
    }
    text.push_str(&format!(
        "\nWhich one? [1-{}, Enter for none] ",
        options.len()
    ));
    picked(&ask(printer, &text).await?, options)
}

/// By its number or in full.
fn picked<'a>(answer: &str, options: &'a [String]) -> Option<&'a String> {
    let by_number = answer
        .parse::<usize>()
        .ok()
        .and_then(|number| options.get(number.checked_sub(1)?));
    by_number.or_else(|| options.iter().find(|option| *option == answer))
}

/// One line from the user; `None` without a terminal. Several lines are no answer.
async fn ask(printer: &Printer, text: &str) -> Option<String> {
    if !printer.is_for_people() || !terminal::is_there() {
        return None;
    }
    let typed = terminal::line(text).await.ok()?;
    let mut lines = typed.lines();
    let answer = lines.next().unwrap_or_default().trim().to_owned();
    Some(match lines.next() {
        None => answer,
        Some(_) => String::new(),
    })
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
