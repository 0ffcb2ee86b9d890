//! A row's table, and its figures beside their targets; printed as Markdown.

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets};

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure that something was promised about.
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) figure: f64,
    pub(super) bar: Bar,
    /// Digits after the point that mean something.
    pub(super) digits: usize,
    pub(super) unit: &'static str,
}

impl Goal {
    fn reached(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.figure >= bar,
            Bar::AtMost(bar) => self.figure <= bar,
        }
    }
}

pub(super) struct Report {
    pub(super) title: String,
    pub(super) head: Vec<&'static str>,
    pub(super) lines: Vec<Vec<String>>,
    pub(super) notes: Vec<String>,
    pub(super) goals: Vec<Goal>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |head: &str| head.to_owned();
        writeln!(f, "### {}\n", self.title)?;
        writeln!(
            f,
            "{}",
            table(
                self.head.iter().map(|head| cells(head)).collect(),
                &self.lines
            )
        )?;
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        if !self.goals.is_empty() {
            writeln!(f, "\n{}", verdicts(&self.goals))?;
        }
        Ok(())
    }
}

/// Each goal with its bar and whether it was reached.
pub(super) fn verdicts(goals: &[Goal]) -> String {
    let lines: Vec<_> = goals
        .iter()
        .map(|goal| {
            let (digits, unit) = (goal.digits, goal.unit);
            let (side, bar) = match goal.bar {
                Bar::AtLeast(bar) => ("at least", bar),
                Bar::AtMost(bar) => ("at most", bar),
            };
            vec![
                goal.what.clone(),
                format!("{:.digits$}{unit}", goal.figure),
                format!("{side} {bar:.digits$}{unit}"),
                if goal.reached() { "reached" } else { "missed" }.to_owned(),
            ]
        })
        .collect();
    table(
        ["goal", "measured", "bar", ""].map(str::to_owned).to_vec(),
        &lines,
    )
}

fn table(head: Vec<String>, lines: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table.add_rows(lines);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_says_its_bar_and_whether_it_was_reached() {
        let goal = |figure, bar| Goal {
            what: "x".to_owned(),
            figure,
            bar,
            digits: 2,
            unit: " x",
        };
        let text = verdicts(&[goal(0.5, Bar::AtLeast(0.5)), goal(1.16, Bar::AtMost(1.15))]);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[2].contains("at least 0.50 x") && lines[2].contains("reached"),
            "{text}"
        );
        assert!(
            lines[3].contains("at most 1.15 x") && lines[3].contains("missed"),
            "{text}"
        );
        assert!(verdicts(&[goal(f64::NAN, Bar::AtMost(1.0))]).contains("missed"));
    }
}
