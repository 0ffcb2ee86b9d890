//! The program as a shell runs it.
//!
//! Because these tests run it, cargo builds it together with the tests of the whole workspace, with the same
//! features: the end-to-end tests need no build of their own.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by panicking what went wrong"
)]

mod service;

use std::process::{Command, Output};

fn podsync(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podsync"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn the_version_is_the_package_s() {
    let said = podsync(&["--version"]);
    assert!(said.status.success());
    let expected = format!("podsync {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&said.stdout), expected);
}

#[test]
fn a_wrong_command_line_exits_with_2_and_leaves_stdout_empty() {
    for wrong in [&["lod", "orders"][..], &["load", "--nonsense"]] {
        let said = podsync(wrong);
        assert_eq!(said.status.code(), Some(2), "{wrong:?}");
        assert!(said.stdout.is_empty(), "{wrong:?}");
        assert!(!said.stderr.is_empty(), "{wrong:?}");
    }
}
