//! The command line as documentation: `docs/cli.md` is what clap says, and no message names a command
//! that there isn't.
//!
//! `PODSYNC_BLESS=1 cargo test -p podsync reference` writes the page anew.

use std::{fs, path::Path};

use clap::CommandFactory;

use crate::dispatch::Arguments;

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

/// Errors and hints tell people what to type: it has to exist.
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

/// Follows what is said through the program's commands; what it doesn't have.
fn check(said: &str) -> Result<(), &str> {
    let program = Arguments::command();
    let mut command = &program;
    for word in said.split_whitespace() {
        if let Some(flag) = word.strip_prefix("--") {
            let mut arguments = command.get_arguments().chain(program.get_arguments());
            if !arguments.any(|argument| argument.get_long() == Some(flag)) {
                return Err(word);
            }
        } else if command.has_subcommands() && word.bytes().all(|byte| byte.is_ascii_lowercase()) {
            command = command.find_subcommand(word).ok_or(word)?;
        }
    }
    Ok(())
}
