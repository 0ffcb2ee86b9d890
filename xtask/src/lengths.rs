//! `cargo xtask lengths`: how long files and functions are, tests left out, at two commits.
//!
//! It relies on rustfmt: a function ends at the `}` that stands as deep as its `fn`.

use std::collections::BTreeMap;

use anyhow::Result;
use duct::cmd;

use xtask::tools::root;

/// By crate: files, longest file, files over 400 lines, longest function, functions over 60 lines.
type Figures = BTreeMap<String, [usize; 5]>;

/// Prints the figures of `before` and of the present commit side by side.
pub(crate) fn run(before: &str) -> Result<()> {
    let (old, new) = (at(before)?, at("HEAD")?);
    println!("| at {before} > now | files | longest | over 400 | longest function | over 60 |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, new) in &new {
        let old = old.get(name).copied().unwrap_or_default();
        let cells = old
            .iter()
            .zip(new)
            .map(|(old, new)| format!("{old} > {new}"));
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}

fn at(commit: &str) -> Result<Figures> {
    let mut figures = Figures::new();
    let files = cmd!("git", "ls-tree", "-r", "--name-only", commit, "crates")
        .dir(root())
        .read()?;
    for path in files
        .lines()
        .filter(|path| path.ends_with(".rs") && !path.contains("tests"))
    {
        let text = cmd!("git", "show", format!("{commit}:{path}"))
            .dir(root())
            .read()?;
        let lines: Vec<_> = text
            .lines()
            .take_while(|line| *line != "mod tests {")
            .collect();
        let name = path.split('/').nth(1).unwrap_or_default();
        let [files, longest, over, function, functions_over] =
            figures.entry(name.to_owned()).or_default();
        *files += 1;
        *longest = lines.len().max(*longest);
        *over += usize::from(lines.len() > 400);
        for len in functions(&lines) {
            *function = len.max(*function);
            *functions_over += usize::from(len > 60);
        }
    }
    Ok(figures)
}

fn functions<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = usize> + 'a {
    let starts = |line: &str| {
        let words = line.split("fn ").next().unwrap_or_default();
        let known = |word| ["pub", "pub(crate)", "pub(super)", "async", "const"].contains(&word);
        line.contains("fn ") && words.split_whitespace().all(known)
    };
    let begins = lines
        .iter()
        .enumerate()
        .filter(move |(_, line)| starts(line) && !line.ends_with(['}', ';']));
    begins.map(|(at, line)| {
        let deep = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| {
            line.strip_prefix(deep)
                .is_some_and(|rest| rest == "}" || (rest.starts_with(')') && rest.ends_with(';')))
        };
        lines[at..].iter().position(ends).map_or(0, |last| last + 1)
    })
}
