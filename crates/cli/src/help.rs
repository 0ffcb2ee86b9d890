//! How the program's help is laid out: subcommands in groups, and examples under those that people begin with.
//!
//! A command that is in no group, or an example that the program wouldn't take, fails a test.

use std::ffi::OsString;

use clap::Command;

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

/// Subcommands with examples: the calls that a newcomer needs first.
const EXAMPLES: [(&str, &[(&str, &str)]); 15] = [
    (
        "save",
        &[
            (
                "podsync save orders -m \"dead letters pile up\"",
                "the emulator on this machine",
            ),
            (
                "podsync save orders --services sqs,s3 --share",
                "two services, shared",
            ),
            ("podsync save orders --from ./state", "a folder"),
        ],
    ),
    (
        "share",
        &[
            ("podsync share orders", "the newest saved version"),
            (
                "podsync share orders:+2 --wait",
                "until it is in the bucket",
            ),
        ],
    ),
    (
        "pull",
        &[
            ("podsync pull orders", "the newest version"),
            ("podsync pull orders:3 --load", "and load it"),
        ],
    ),
    (
        "load",
        &[
            ("podsync load orders", "the newest version"),
            (
                "podsync load orders:baseline --dry-run",
                "only what would change",
            ),
            ("podsync load orders:3 --services sqs", "one service of it"),
        ],
    ),
    (
        "show",
        &[("podsync show orders:3 --contents", "its resources")],
    ),
    (
        "diff",
        &[("podsync diff orders:2 orders:3", "two versions")],
    ),
    (
        "export",
        &[("podsync export orders:3 orders.snapshot", "a file")],
    ),
    (
        "team",
        &[
            ("podsync team create payments", "a team of your own"),
            ("podsync team invite", "a ticket for a teammate"),
            ("podsync team join", "asks for the ticket"),
        ],
    ),
    (
        "watch",
        &[
            ("podsync watch", "all, until Ctrl-C"),
            (
                "podsync watch orders --kinds shared --exec ./notify.sh",
                "a program for each",
            ),
        ],
    ),
    (
        "follow",
        &[
            ("podsync follow orders", "pulls what teammates share"),
            ("podsync follow orders --load", "and loads it"),
        ],
    ),
    (
        "autosave",
        &[
            (
                "podsync autosave orders --every 10m",
                "while the state changes",
            ),
            ("podsync autosave orders --off", "no longer"),
        ],
    ),
    (
        "gc",
        &[("podsync gc --dry-run --budget 5GB", "what would go")],
    ),
    (
        "service",
        &[
            ("podsync service install", "at login, and after a crash"),
            ("podsync service status", "whether it runs"),
        ],
    ),
    (
        "config",
        &[
            ("podsync config set disk_budget 20GB", "a setting"),
            ("podsync config unset disk_budget", "its default again"),
        ],
    ),
    (
        "logs",
        &[(
            "podsync logs -f --since 1h",
            "the last hour, and what comes",
        )],
    ),
];

/// Columns for the longest name of a subcommand, with a gap.
const NAME_WIDTH: usize = 13;

/// The program with its subcommands in groups.
pub(crate) fn laid_out(mut program: Command) -> Command {
    let groups = groups(&program);
    for (name, examples) in EXAMPLES {
        let examples = examples_of(examples);
        program = program.mut_subcommand(name, |command| command.after_help(examples));
    }
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
    match without_environment(program).try_get_matches_from(typed) {
        Err(alone) if alone.kind() == error.kind() => alone,
        // It is the environment's value that is wrong.
        _ => error,
    }
}

fn without_environment(program: Command) -> Command {
    program
        .mut_args(|argument| argument.env(None::<&'static str>))
        .mut_subcommands(without_environment)
}

fn examples_of(examples: &[(&str, &str)]) -> String {
    let width = examples.iter().map(|(line, _)| line.len()).max();
    let width = width.unwrap_or_default();
    let lines = examples
        .iter()
        .map(|(line, what)| format!("  {line:width$}  # {what}"));
    format!("Examples:\n{}", lines.collect::<Vec<_>>().join("\n"))
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
        for (_, examples) in EXAMPLES {
            for line in examples_of(examples).lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
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
        for (line, _) in EXAMPLES.iter().flat_map(|(_, examples)| examples.iter()) {
            let words = line.replace("\"dead letters pile up\"", "message");
            let taken = Arguments::command().try_get_matches_from(words.split(' '));
            assert!(taken.is_ok(), "{line}: {taken:?}");
        }
    }
}
