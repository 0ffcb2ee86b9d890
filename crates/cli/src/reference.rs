//! The command line as documentation: `docs/cli.md` is what clap says, and no message names a command
//! that there isn't.
//!
//! `PODSYNC_BLESS=1 cargo test -p podsync reference` writes the page anew.

use std::{fs, path::Path};

use clap::{Command, CommandFactory, Parser};
use podsync_api::Consent;

use crate::{context::robot::Use, dispatch::Arguments};

const HEAD: &str = "\
# The command line

Made from the program's own help by `crates/cli/src/reference.rs`; a test keeps it current. What the exit
codes mean is in [operations](operations.md#exit-codes), what a reference may look like in the
[glossary](glossary.md).

";

#[test]
fn the_page_is_what_the_program_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let options = clap_markdown::MarkdownOptions::new()
        .show_footer(false)
        .show_table_of_contents(false)
        .title("podsync".to_owned());
    let body = clap_markdown::help_markdown_custom::<Arguments>(&options);
    let made = format!("{HEAD}{}\n", body.trim_start_matches("# podsync").trim());
    if std::env::var_os("PODSYNC_BLESS").is_some() {
        fs::write(&page, &made).unwrap();
    }
    let kept = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        kept == made,
        "docs/cli.md is not current: PODSYNC_BLESS=1 cargo test -p podsync reference"
    );
}

/// Errors and hints name commands to type. These commands must exist.
#[test]
fn every_command_that_a_message_names_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = 0;
    for file in walkdir::WalkDir::new(crates) {
        let file = file.unwrap();
        let path = file.path();
        let is_this = path.ends_with("cli/src/reference.rs");
        if is_this || path.extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for after in text.split("`podsync ").skip(1) {
            let said = after.split('`').next().unwrap_or_default();
            if let Err(unknown) = check(said) {
                panic!("{}: `podsync {said}`: no {unknown}", path.display());
            }
            found += 1;
        }
    }
    assert!(found > 20, "only {found} commands were found in messages");
}

/// Looks the words up among the program's commands, and returns what doesn't exist.
fn check(said: &str) -> Result<(), &str> {
    let program = Arguments::command();
    let mut command = &program;
    for word in said.split_whitespace() {
        if let Some(flag) = word.strip_prefix("--") {
            let mut arguments = command.get_arguments().chain(program.get_arguments());
            if !arguments.any(|argument| argument.get_long() == Some(flag)) {
                return Err(word);
            }
        } else if command.has_subcommands()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        {
            command = command.find_subcommand(word).ok_or(word)?;
        }
    }
    Ok(())
}

/// A user can say yes beforehand, to one question or to all.
#[test]
fn every_command_that_may_ask_takes_the_flag_that_answers() {
    let program = Arguments::command();
    for consent in Consent::ALL {
        for path in asked_by(consent) {
            let command = subcommand(&program, path).unwrap();
            for flag in [consent.flag(), "--yes"] {
                let taken = takes(command, flag);
                assert!(
                    taken,
                    "`podsync {path}` asks for {consent:?} without {flag}"
                );
            }
            let short = command
                .get_arguments()
                .any(|flag| flag.get_short() == Some('y'));
            assert!(short, "`podsync {path}` has no -y");
        }
    }
}

const fn asked_by(consent: Consent) -> &'static [&'static str] {
    match consent {
        Consent::Remote | Consent::NewSigner | Consent::WithoutCheckpoint => {
            &["load", "pull", "restore", "run-hook"]
        }
        Consent::OnlyCopies => &["gc"],
        Consent::LastAdmin => &["team leave", "team remove", "team role"],
        Consent::SameName => &["team create"],
        Consent::NotExact => &["drop"],
        Consent::LetGo => &["retention set"],
        Consent::Leave => &["team leave", "team remove"],
        Consent::Remove => &["team remove"],
        Consent::OlderState => &["save", "share"],
        Consent::EmptyState => &["save"],
    }
}

/// Flags that messages outside of a command's own file name, and the commands that show these messages. All of them
/// must take the flag: a message must not name a flag that the command under way lacks.
const SHOWN_BY: &[(&str, &str, &[&str])] = &[
    ("cli/src/interruption.rs", "--merge", LOADS),
    ("cli/src/lockfile.rs", "--file", &["lock"]),
    (
        "cli/src/requirements.rs",
        "--lock-file",
        &["pull", "load", "export"],
    ),
    ("core/src/membership/wire.rs", "--as", &["team join"]),
    ("daemon/src/init.rs", "--moved", &["init"]),
    ("daemon/src/page/listener.rs", "--port", &["ui"]),
    ("daemon/src/service/absent.rs", "--wait", FINDS),
    ("daemon/src/service/autosave.rs", "--every", &["autosave"]),
    ("daemon/src/service/autosave.rs", "--keep", &["autosave"]),
    ("daemon/src/service/autosave.rs", "--on-stop", &["autosave"]),
    ("daemon/src/service/follow.rs", "--load", &["follow"]),
    ("daemon/src/service/load/fitting.rs", "--merge", &["load"]),
    (
        "daemon/src/service/load/fitting.rs",
        "--services",
        &["load"],
    ),
    (
        "daemon/src/service/pull/fetch.rs",
        "--source",
        &["pull", "load", "export"],
    ),
    (
        "daemon/src/service/pull/lack.rs",
        "--source",
        &["pull", "load", "export"],
    ),
    ("daemon/src/service/save/capture.rs", "--from", &["save"]),
    (
        "daemon/src/service/save/capture.rs",
        "--services",
        &["save"],
    ),
    (
        "daemon/src/service/team.rs",
        "--label",
        &["team create", "team join"],
    ),
    (
        "daemon/src/service/team/invites.rs",
        "--expires",
        &["team invite"],
    ),
    (
        "daemon/src/service/team/invites.rs",
        "--uses",
        &["team invite"],
    ),
    (
        "daemon/src/service/team/robot.rs",
        "--max-age",
        &["pull", "load", "export"],
    ),
    (
        "daemon/src/service/team/robot.rs",
        "--name",
        &["team invite"],
    ),
    (
        "daemon/src/service/team/robot.rs",
        "--wait",
        &["pull", "load", "export"],
    ),
    ("instance/src/compatibility.rs", "--services", &["load"]),
    ("instance/src/endpoint.rs", "--endpoint", MEETS_EMULATOR),
    ("instance/src/error.rs", "--endpoint", MEETS_EMULATOR),
    ("instance/src/error.rs", "--services", &["save"]),
    ("pack/src/source/error.rs", "--from", &["save"]),
    ("store/src/error.rs", "--moved", &["init"]),
];
const LOADS: &[&str] = &["load", "pull", "restore", "run-hook"];
const FINDS: &[&str] = &["pull", "load", "export", "lock", "pin"];
const MEETS_EMULATOR: &[&str] = &[
    "autosave", "follow", "load", "mcp", "pull", "restore", "run-hook", "save", "undo",
];

/// End-to-end tests look at every hint that they see.
#[test]
fn every_flag_that_a_message_names_is_one_of_the_command_that_shows_it() {
    let program = Arguments::command();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut found, mut wrong) = (0, Vec::new());
    for room in [
        "api", "bucket", "cli", "core", "daemon", "instance", "net", "pack", "store",
    ] {
        for file in walkdir::WalkDir::new(crates.join(room).join("src")) {
            let file = file.unwrap();
            let path = file.path();
            let is_test = ["reference.rs", "tests.rs", "help.rs"]
                .iter()
                .any(|name| path.ends_with(name));
            if is_test || path.extension().is_none_or(|kind| kind != "rs") {
                continue;
            }
            for flag in bare_flags(&fs::read_to_string(path).unwrap()) {
                found += 1;
                let is_everywhere = flag == "--help" || takes(&program, &flag);
                if !is_everywhere && !is_taken(&program, path, &flag) {
                    wrong.push(format!("{}: {flag}", path.display()));
                }
            }
        }
    }
    assert!(found > 20, "only {found} flags were found in messages");
    assert!(
        wrong.is_empty(),
        "flags that a command which shows them lacks, or that SHOWN_BY doesn't have: {wrong:#?}"
    );
}

/// A robot whose team can't be reached is told to wait longer only where the command has a flag for that.
#[test]
fn a_robots_command_takes_the_flag_that_waits_longer() {
    let program = Arguments::command();
    let mut waits = 0;
    for line in [
        "pull orders",
        "load orders",
        "export orders out",
        "lock orders",
        "run-hook ready",
        "list",
        "versions orders",
        "show orders",
        "diff orders:1 orders:2",
    ] {
        let typed = ["podsync"].into_iter().chain(line.split(' '));
        let command = Arguments::try_parse_from(typed).unwrap().command.unwrap();
        let name = line.split(' ').next().unwrap();
        let taken = |flag| takes(subcommand(&program, name).unwrap(), flag);
        match command.robot_use() {
            Use::Runs(Some((_, flag))) => {
                assert!(taken(flag), "{name} {flag}");
                waits += 1;
            }
            Use::Runs(None) => assert!(!taken("--wait"), "{name}"),
            _ => panic!("{name} is a robot's too"),
        }
    }
    assert_eq!(waits, 5);
}

/// Whether each command that shows messages of this file takes the flag. For a command's own file one of its
/// subcommands is enough.
fn is_taken(program: &Command, path: &Path, flag: &str) -> bool {
    let owners = owners(program, path);
    if !owners.is_empty() {
        return owners.iter().any(|command| takes(command, flag));
    }
    let mut shown = SHOWN_BY
        .iter()
        .filter(|(file, named, _)| path.ends_with(file) && *named == flag);
    shown.next().is_some_and(|(_, _, commands)| {
        commands
            .iter()
            .all(|command| subcommand(program, command).is_some_and(|command| takes(command, flag)))
    })
}

/// The commands in whose own file the messages are. None for a file that many commands share.
fn owners<'a>(program: &'a Command, path: &Path) -> Vec<&'a Command> {
    let mut rest = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    let named = rest
        .any(|part| part == "command")
        .then(|| rest.next())
        .flatten();
    let names: Vec<String> = match named.as_deref().map(|name| name.trim_end_matches(".rs")) {
        Some("disk") => vec!["pin".to_owned(), "unpin".to_owned(), "gc".to_owned()],
        Some("list") => vec!["list".to_owned(), "versions".to_owned()],
        // Also what `pull --load` says.
        Some("load") => vec!["load".to_owned(), "pull".to_owned(), "undo".to_owned()],
        Some("autosave") => vec!["autosave".to_owned(), "restore".to_owned()],
        Some("follow") => vec!["follow".to_owned(), "unfollow".to_owned()],
        Some("status") => vec!["status".to_owned(), "peers".to_owned()],
        Some(name) => vec![name.replace('_', "-")],
        None => Vec::new(),
    };
    let named = program
        .get_subcommands()
        .filter(|command| names.iter().any(|name| name == command.get_name()));
    named
        .flat_map(|command| std::iter::once(command).chain(nested(command)))
        .collect()
}

fn nested(command: &Command) -> impl Iterator<Item = &Command> {
    let below = command.get_subcommands();
    below.flat_map(|command| std::iter::once(command).chain(command.get_subcommands()))
}

/// `--flag` in text, without those in a whole command, and those that are no text but an argument.
fn bare_flags(source: &str) -> Vec<String> {
    let mut flags = Vec::new();
    let lines = source
        .split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines();
    for line in lines.filter(|line| !line.trim_start().starts_with("//")) {
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (at, _) in outside.match_indices("--") {
            let name: String = outside[at + 2..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                .collect();
            let before = outside[..at].chars().next_back();
            let after = outside[at + 2 + name.len()..].chars().next();
            let is_argument = before == Some('"') && after == Some('"');
            if !name.is_empty() && !is_argument && before.is_some_and(|c| " \"(".contains(c)) {
                flags.push(format!("--{name}"));
            }
        }
    }
    flags
}

fn takes(command: &Command, flag: &str) -> bool {
    command
        .get_arguments()
        .any(|argument| Some(&flag[2..]) == argument.get_long())
}

fn subcommand<'a>(program: &'a Command, path: &str) -> Option<&'a Command> {
    path.split(' ')
        .try_fold(program, |command, word| command.find_subcommand(word))
}
