//! `podsync watch`: one line an event, and a program for each.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::Home;
use serde_json::Value;

use crate::{events::share, share::alice_and_bob};

const INVALID: i32 = 2;

/// A watch that has begun.
struct Watch {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
    notes: BufReader<ChildStderr>,
}

impl Watch {
    fn start(home: &Home, arguments: &[&str]) -> Result<Self> {
        let mut child = home.spawn(&[&["watch"], arguments].concat(), &[])?;
        let mut watch = Self {
            lines: child.stdout.take().map(BufReader::new),
            notes: BufReader::new(child.stderr.take().context("no stderr")?),
            child,
        };
        watch.wait_for_note("Watching")?;
        Ok(watch)
    }

    fn next(&mut self) -> Result<Value> {
        let mut line = String::new();
        let lines = self.lines.as_mut().context("no stdout")?;
        lines.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("not a line of JSON: {line:?}"))
    }

    fn wait_for_note(&mut self, text: &str) -> Result<String> {
        let mut note = String::new();
        while self.notes.read_line(&mut note)? > 0 {
            if note.contains(text) {
                return Ok(note);
            }
            note.clear();
        }
        anyhow::bail!("no {text:?} was said")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_prints_what_teammates_share_and_goes_on_after_a_restart() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    let mut watch = Watch::start(&bob, &["orders", "--kinds", "shared,missed"])?;
    share(&alice, "billing", 1)?;
    share(&alice, "orders", 1)?;
    let first = watch.next()?;
    ensure!(first["reference"] == "orders:1", "{first}");
    ensure!(
        first["kind"] == "shared" && first["author"] == "alice",
        "{first}"
    );

    bob.stop()?;
    watch.wait_for_note("has ended")?;
    bob.start(&[&alice])?;
    watch.wait_for_note("is back")?;
    let missed = watch.next()?;
    ensure!(missed["kind"] == "missed", "{missed}");
    share(&alice, "orders", 2)?;
    let second = watch.next()?;
    ensure!(second["reference"] == "orders:2", "{second}");
    Ok(())
}

#[test]
fn a_command_is_run_for_each_event_one_at_a_time() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let (out, lock) = (bob.scratch("out"), bob.scratch("lock"));
    // Each waits for a word: the second event happens while the first command runs.
    let word = bob.scratch("word");
    ensure!(Command::new("mkfifo").arg(&word).status()?.success());
    let script = format!(
        "mkdir '{lock}' || echo overlap >> '{out}'
        read _ < '{word}'
        echo \"$PODSYNC_EVENT $PODSYNC_REFERENCE $PODSYNC_AUTHOR $PODSYNC_MESSAGE\" >> '{out}'
        rmdir '{lock}'
        test $PODSYNC_POD = orders",
        lock = lock.display(),
        out = out.display(),
        word = word.display(),
    );
    let mut watch = Watch::start(&bob, &["--kinds", "shared", "--exec", &script])?;
    share(&alice, "orders", 1)?;
    watch.next()?;
    share(&alice, "billing", 1)?;
    std::fs::write(&word, "go on\n")?;
    watch.next()?;
    std::fs::write(&word, "go on\n")?;
    // A failed command is reported, and the next event still comes.
    watch.wait_for_note("failed for `shared`")?;
    let said = std::fs::read_to_string(&out)?;
    ensure!(
        said == "shared orders:1 alice see here\nshared billing:1 alice see here\n",
        "{said}"
    );
    Ok(())
}

#[test]
fn a_command_that_takes_too_long_is_ended() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let arguments = [
        "--kinds",
        "shared",
        "--exec",
        "sleep 600",
        "--exec-limit",
        "100ms",
    ];
    let mut watch = Watch::start(&bob, &arguments)?;
    share(&alice, "orders", 1)?;
    watch.next()?;
    watch.wait_for_note("was ended")?;
    share(&alice, "orders", 2)?;
    watch.next()?;
    Ok(())
}

#[test]
fn a_watch_that_nobody_reads_ends_and_a_wrong_one_does_not_begin() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let mut watch = Watch::start(&bob, &["--kinds", "shared"])?;
    watch.lines = None;
    share(&alice, "orders", 1)?;
    ensure!(watch.child.wait()?.success());

    for wrong in [
        &["watch", "../orders"][..],
        &["watch", "--kinds", "shard"],
        &["watch", "--exec-limit", "soon"],
    ] {
        bob.run(wrong)?.failed(INVALID)?;
    }
    Ok(())
}
