//! Tables and lines for people, which keep to the width of the terminal.
//!
//! Where the output is no terminal, programs read it, and nothing is shortened or broken.

use std::ops::RangeInclusive;

use comfy_table::{ContentArrangement, Row, Table, presets};
use unicode_width::UnicodeWidthStr;

use super::{terminal, text::printable};

/// The space between two columns.
const GAP: usize = 2;
/// Columns before the value of a field.
const FIELD: usize = 10;
/// Which columns are narrowed in turn until a line fits, by their ranks, and the width at which the turn ends. Short
/// messages say nothing, so long names and references make room before a message gets shorter than its first end.
const TURNS: [(RangeInclusive<u8>, usize); 5] =
    [(0..=0, 12), (1..=1, 8), (2..=2, 16), (0..=1, 4), (0..=2, 1)];

/// A column by its title. The kind says how soon its cells are shortened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column<'a> {
    /// What people read, such as messages and addresses: it is shortened first.
    Text(&'a str),
    /// Who or where: it is shortened next.
    Name(&'a str),
    /// What people copy or compare, such as references, ids and sizes: it stays whole as long as it can. Its end
    /// tells it from the others, so its middle goes.
    Whole(&'a str),
}

impl<'a> Column<'a> {
    fn title(self) -> &'a str {
        match self {
            Self::Text(title) | Self::Name(title) | Self::Whole(title) => title,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::Name(_) => 1,
            Self::Whole(_) => 2,
        }
    }

    fn shortened(self, cell: &str, width: usize) -> String {
        if cell.width() <= width {
            return cell.to_owned();
        }
        let room = width.saturating_sub(1);
        let end = match self {
            Self::Text(_) | Self::Name(_) => 0,
            Self::Whole(_) => room / 2,
        };
        format!("{}…{}", beginning(cell, room - end), ending(cell, end))
    }
}

/// A borderless table with all its columns.
pub(crate) fn table<const N: usize>(
    columns: [Column<'_>; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    Cells::of(columns, rows).table(terminal::width().map(usize::from))
}

/// The same with every cell in full: where the terminal is too narrow for that, each cell has a line.
pub(crate) fn full_table<const N: usize>(
    columns: [Column<'_>; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let cells = Cells::of(columns, rows);
    match terminal::width() {
        Some(width) if cells.width() > usize::from(width) => cells.records(),
        _ => cells.table(None),
    }
}

/// `name      value`, as in a list of fields.
pub(crate) fn field(name: &str, value: &str) -> String {
    wrapped(&format!("{name:<FIELD$}"), value)
}

/// A text after its lead. On a terminal it goes on below its beginning, and breaks at spaces only: a path or an
/// address can be copied.
pub(crate) fn wrapped(lead: &str, text: &str) -> String {
    wrapped_within(terminal::width().map(usize::from), lead, text)
}

fn wrapped_within(width: Option<usize>, lead: &str, text: &str) -> String {
    let indent = lead.width();
    let (mut out, mut column) = (lead.to_owned(), indent);
    for (nth, word) in text.split(' ').enumerate() {
        let len = word.width();
        if nth > 0 {
            if width.is_some_and(|width| column + 1 + len > width) {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += len;
    }
    out
}

struct Cells<'a, const N: usize> {
    columns: [Column<'a>; N],
    rows: Vec<[String; N]>,
}

impl<'a, const N: usize> Cells<'a, N> {
    fn of(columns: [Column<'a>; N], rows: impl IntoIterator<Item = [String; N]>) -> Self {
        let rows = rows.into_iter();
        let rows = rows.map(|row| row.map(|cell| printable(&cell))).collect();
        Self { columns, rows }
    }

    /// The width of the widest cell of each column.
    fn widest(&self) -> [usize; N] {
        std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].width());
            let title = self.columns[column].title().width();
            cells.max().unwrap_or(0).max(title)
        })
    }

    /// The width of a line with every cell in full.
    fn width(&self) -> usize {
        self.widest().iter().sum::<usize>() + gaps(N)
    }

    /// The widths of the columns on a line of this width.
    fn fitted(&self, width: usize) -> [usize; N] {
        let room = width.saturating_sub(gaps(N));
        let mut widths = self.widest();
        for (ranks, least) in TURNS {
            while widths.iter().sum::<usize>() > room {
                let narrowed = (0..N)
                    .filter(|&column| ranks.contains(&self.columns[column].rank()))
                    .filter(|&column| widths[column] > least)
                    .max_by_key(|&column| widths[column]);
                let Some(widest) = narrowed else {
                    break;
                };
                widths[widest] -= 1;
            }
        }
        widths
    }

    fn table(&self, width: Option<usize>) -> String {
        let widths = width.map_or_else(|| self.widest(), |width| self.fitted(width));
        let row = |cells: [&str; N]| {
            let cells = cells.into_iter().zip(self.columns).zip(widths);
            Row::from(cells.map(|((cell, column), width)| column.shortened(cell, width)))
        };
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(row(self.columns.map(Column::title)));
        for cells in &self.rows {
            table.add_row(row(cells.each_ref().map(String::as_str)));
        }
        let lines = table.lines().map(|line| {
            // The cells of the first column are set in by a space.
            line.strip_prefix(' ')
                .unwrap_or(&line)
                .trim_end()
                .to_owned()
        });
        let lines: Vec<_> = lines.collect();
        lines.join("\n")
    }

    /// A line for each cell, and an empty one between two rows.
    fn records(&self) -> String {
        let titles = self.columns.map(|column| column.title().to_lowercase());
        let widest = titles.iter().map(|title| title.width()).max();
        let lead = widest.unwrap_or(0) + GAP;
        let record = |row: &[String; N]| {
            let lines = titles.iter().zip(row).map(|(title, cell)| {
                let line = format!("{title:<lead$}{cell}");
                line.trim_end().to_owned()
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let records: Vec<_> = self.rows.iter().map(record).collect();
        records.join("\n\n")
    }
}

const fn gaps(columns: usize) -> usize {
    GAP * columns.saturating_sub(1)
}

/// The longest beginning that is no wider than `width`.
fn beginning(text: &str, width: usize) -> &str {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let fitting = ends.take_while(|&end| text[..end].width() <= width);
    fitting.last().map_or("", |end| &text[..end])
}

/// The longest end that is no wider than `width`.
fn ending(text: &str, width: usize) -> &str {
    let starts = text.char_indices().rev().map(|(at, _)| at);
    let fitting = starts.take_while(|&start| text[start..].width() <= width);
    fitting.last().map_or("", |start| &text[start..])
}

#[cfg(test)]
mod tests {
    use super::{
        Column::{Name, Text, Whole},
        *,
    };

    const COLUMNS: [Column<'static>; 4] =
        [Whole("VERSION"), Name("BY"), Whole("SIZE"), Text("MESSAGE")];

    fn within(width: Option<usize>, row: [&str; 4]) -> String {
        Cells::of(COLUMNS, [row.map(str::to_owned)]).table(width)
    }

    fn assert_fits(shown: &str, width: usize) {
        assert_eq!(shown.lines().count(), 2, "{shown}");
        for line in shown.lines() {
            assert!(line.width() <= width, "{width}: {line}");
            let cells = line.split("  ").filter(|cell| !cell.trim().is_empty());
            assert_eq!(cells.count(), 4, "a column is gone: {line}");
        }
    }

    #[test]
    fn messages_make_room_first_then_names_then_the_rest() {
        let message = "a message that is much longer than the line it has to stand on";
        let row = ["orders:12", "alice-of-the-warehouse", "12.35 MB", message];
        let whole = within(None, row);
        assert!(
            whole.contains(row[1]) && whole.ends_with(message),
            "{whole}"
        );
        let at_80 = within(Some(80), row);
        assert_fits(&at_80, 80);
        assert!(at_80.contains(row[1]) && at_80.ends_with('…'), "{at_80}");
        let at_40 = within(Some(40), row);
        assert_fits(&at_40, 40);
        assert!(
            at_40.contains("orders:12") && at_40.contains("12.35 MB") && at_40.contains("alic"),
            "{at_40}"
        );
        let pod = "customer-orders-dead-letters-2026-of-the-warehouse-in-the-north";
        let long = within(Some(40), [&format!("{pod}:12"), row[1], row[2], message]);
        assert_fits(&long, 40);
        assert!(long.contains("cust") && long.contains(":12 "), "{long}");
    }

    #[test]
    fn a_long_reference_leaves_room_for_the_message() {
        let reference = "billing-of-the-second-quarter:12@robert";
        let message = "what the payments team needs";
        let row = [reference, "robert-of-the-office", "12.35 MB", message];
        for (width, shortened, name) in [
            (80, reference, "robert-of-the-…"),
            (55, "billing-of…:12@robert", "robert-…"),
        ] {
            let shown = within(Some(width), row);
            assert_fits(&shown, width);
            assert!(shown.contains(shortened) && shown.contains(name), "{shown}");
            assert!(shown.ends_with("what the pa…"), "{shown}");
        }
    }

    #[test]
    fn wide_letters_count_twice() {
        let row = [
            "東京:3",
            "東京の倉庫",
            "1 B",
            "東京の倉庫の注文の状態をここに保存しました",
        ];
        for width in 40..60 {
            assert_fits(&within(Some(width), row), width);
        }
        assert_eq!(beginning("東京", 3), "東");
        assert_eq!(ending("東京:3", 3), ":3");
        assert_eq!(Whole("").shortened("orders:12", 7), "ord…:12");
        assert_eq!(Text("").shortened("orders:12", 1), "…");
    }

    #[test]
    fn a_long_line_goes_on_below_its_words() {
        let said = "carol still gets all of orders:3 from alice/laptop and bob/laptop";
        assert_eq!(
            wrapped_within(Some(50), "  4.54 s  ", said),
            "  4.54 s  carol still gets all of orders:3 from\n          alice/laptop and bob/laptop"
        );
        let whole = format!("  4.54 s  {said}");
        assert_eq!(wrapped_within(None, "  4.54 s  ", said), whole);
        let path = "/home/bob/a-folder-with-a-name-that-is-longer-than-the-line";
        let shown = wrapped_within(Some(40), "home      ", path);
        assert_eq!(shown, format!("home      {path}"));
    }

    #[test]
    fn a_full_table_that_is_too_wide_has_a_line_for_each_cell() {
        let cells = Cells::of(
            [Name("MEMBER"), Whole("LAST CONTACT"), Whole("DEVICE")],
            ["alice", "bob"].map(|name| [name, "", "12D3KooW"].map(str::to_owned)),
        );
        assert_eq!(
            cells.records(),
            "member        alice\nlast contact\ndevice        12D3KooW\n\n\
             member        bob\nlast contact\ndevice        12D3KooW"
        );
    }
}
