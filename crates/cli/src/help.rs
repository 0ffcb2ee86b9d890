//! How the program's help is laid out: subcommands in groups, and examples under each.
//!
//! A command that is in no group or has no example, or an example that the program wouldn't take, fails a test.

use std::ffi::OsString;

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Groups of subcommands by task, in the order in which a newcomer needs them.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Daily",
        &[
            "save", "share", "pull", "load", "undo", "list", "versions", "show", "diff", "tag",
            "drop", "export", "lock", "restore", "autosave", "run-hook",
        ],
    ),
    (
        "Team",
        &[
            "team",
            "peers",
            "watch",
            "follow",
            "unfollow",
            "retention",
            "ui",
        ],
    ),
    ("Storage", &["du", "pin", "unpin", "gc", "verify"]),
    (
        "Machine",
        &[
            "init",
            "status",
            "doctor",
            "service",
            "daemon",
            "restart",
            "stop",
            "pause",
            "resume",
            "logs",
            "config",
            "plugin",
            "mcp",
            "demo",
            "man",
            "completions",
        ],
    ),
];

/// Calls, each with what it is for. The first ones of a command are the ones that a newcomer needs.
const EXAMPLES: &str = include_str!("help/examples.txt");
/// More examples than this are not read.
const MAX_EXAMPLES: usize = 3;

/// Columns for the longest name of a subcommand, with a gap.
const NAME_WIDTH: usize = 13;

/// The program with its subcommands in groups.
pub(crate) fn laid_out(program: Command) -> Command {
    let groups = groups(&program);
    let program = program.mut_subcommands(|command| with_examples(command, "podsync"));
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
    );
    program.help_template(template).after_help(
        "`podsync` alone shows what is new and what to do next. The help of each command has examples.",
    )
}

/// A list of the subcommands.
pub(crate) fn groups(program: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.push_str(&format!("{title}:\n"));
        for name in names {
            let Some(command) = program.find_subcommand(name) else {
                continue;
            };
            let about = command.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            text.push_str(&format!("  {name:NAME_WIDTH$}{about}\n"));
        }
        text.push('\n');
    }
    text
}

/// The usage error of what was typed alone. With what the environment adds, its usage would show options that nobody
/// typed, such as `--home`.
pub(crate) fn as_typed(
    error: clap::Error,
    program: Command,
    typed: impl IntoIterator<Item = OsString>,
) -> clap::Error {
    if !error.use_stderr() {
        // It is no error but the help, which shows the variables.
        return error;
    }
    let alone = without_environment(program.clone()).try_get_matches_from(typed);
    let error = match alone {
        Err(alone) if alone.kind() == error.kind() => alone,
        // It is the environment's value that is wrong.
        _ => error,
    };
    with_group(error, &program)
}

/// The error for a word that is a command only below another one, such as `join`: it proposes `team join`, and no
/// word that looks alike.
fn with_group(mut error: clap::Error, program: &Command) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let groups = program.get_subcommands().filter(|group| {
        let mut below = group.get_subcommands();
        below.any(|command| command.get_name() == word)
    });
    let whole = groups.map(|group| format!("{} {word}", group.get_name()));
    let whole: Vec<_> = whole.collect();
    if !whole.is_empty() {
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(whole),
        );
    }
    error
}

fn without_environment(program: Command) -> Command {
    program
        .mut_args(|argument| argument.env(None::<&'static str>))
        .mut_subcommands(without_environment)
}

/// A command and those below it, each with its examples.
fn with_examples(command: Command, above: &str) -> Command {
    let path = format!("{above} {}", command.get_name());
    let command = match examples_of(&path) {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    command.mut_subcommands(|below| with_examples(below, &path))
}

/// The examples of a command. Those of the commands below it are its own, too.
fn examples_of(path: &str) -> Option<String> {
    let is_of_it = |(call, _): &(&str, &str)| {
        let rest = call.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let examples: Vec<_> = examples().filter(is_of_it).take(MAX_EXAMPLES).collect();
    let width = examples.iter().map(|(call, _)| call.len()).max()?;
    let lines = examples
        .iter()
        .map(|(call, what)| format!("  {call:width$}  # {what}"));
    Some(format!(
        "Examples:\n{}",
        lines.collect::<Vec<_>>().join("\n")
    ))
}

fn examples() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXAMPLES.lines().filter_map(|line| line.split_once("  # "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::dispatch::Arguments;

    #[test]
    fn every_command_is_in_one_group() {
        let program = Arguments::command();
        let grouped: Vec<_> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let once: BTreeSet<_> = grouped.iter().copied().collect();
        assert_eq!(once.len(), grouped.len(), "one is in two groups");
        let there = program
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let there: BTreeSet<_> = there.map(Command::get_name).collect();
        let missing: Vec<_> = there.difference(&once).collect();
        assert!(missing.is_empty(), "in no group: {missing:?}");
    }

    #[test]
    fn help_holds_80_columns() {
        let groups = groups(&Arguments::command());
        for line in groups.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let mut paths = Vec::new();
        find_paths(&Arguments::command(), "podsync", &mut paths);
        for line in paths.iter().filter_map(|path| examples_of(path)) {
            let longest = line.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(80), "{line}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        let mut paths = Vec::new();
        find_paths(&Arguments::command(), "podsync", &mut paths);
        assert!(paths.iter().any(|path| path == "podsync team invite list"));
        paths.retain(|path| examples_of(path).is_none());
        assert!(paths.is_empty(), "without an example: {paths:?}");
    }

    /// Finds the commands below a command.
    fn find_paths(command: &Command, path: &str, paths: &mut Vec<String>) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            find_paths(below, &path, paths);
            paths.push(path);
        }
    }

    #[test]
    fn a_usage_error_shows_what_was_typed() {
        // As if the environment named a home.
        let program = Arguments::command().mut_arg("home", |home| home.env("PATH"));
        let typed = ["podsync", "save"].map(OsString::from);
        let error = program.clone().try_get_matches_from(&typed).unwrap_err();
        assert!(error.to_string().contains("--home"), "{error}");
        let told = as_typed(error, program, typed).to_string();
        assert!(told.contains("Usage: podsync save"), "{told}");
        assert!(!told.contains("--home"), "{told}");
    }

    #[test]
    fn a_command_of_a_group_is_found_without_its_group() {
        for (word, whole, others) in [
            ("join", "'team join'", "'pin'"),
            ("invite", "'team invite'", "'init'"),
            ("members", "'team members'", "'peers'"),
        ] {
            let program = Arguments::command();
            let typed = ["podsync", word].map(OsString::from);
            let error = program.clone().try_get_matches_from(&typed).unwrap_err();
            let told = as_typed(error, program, typed).to_string();
            assert!(told.contains(whole), "{told}");
            assert!(!told.contains(others), "{told}");
        }
        let program = Arguments::command();
        let typed = ["podsync", "shares"].map(OsString::from);
        let error = program.clone().try_get_matches_from(&typed).unwrap_err();
        let told = as_typed(error, program, typed).to_string();
        assert!(told.contains("'share'"), "{told}");
    }

    #[test]
    fn global_options_stand_at_the_end_of_a_commands_help() {
        let mut program = Arguments::command();
        program.build();
        for command in program.get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            let Some((own, global)) = help.split_once("Global options:") else {
                continue;
            };
            for argument in Arguments::command().get_arguments() {
                let Some(flag) = argument.get_long() else {
                    continue;
                };
                let line = |text: &str| {
                    let mut lines = text.lines();
                    lines.any(|line| line.trim_start().starts_with(&format!("--{flag}")))
                };
                assert!(!line(own), "{}: --{flag}", command.get_name());
                let short = argument.get_short().is_some();
                assert!(short || line(global), "{}: --{flag}", command.get_name());
            }
        }
    }

    #[test]
    fn examples_are_what_the_program_takes() {
        let written = EXAMPLES.lines().filter(|line| !line.is_empty());
        assert_eq!(examples().count(), written.count());
        for (line, _) in examples() {
            let words = line.replace("\"dead letters pile up\"", "message");
            let taken = Arguments::command().try_get_matches_from(words.split(' '));
            assert!(taken.is_ok(), "{line}: {taken:?}");
        }
    }
}
