//! `podsync demo`, as a newcomer sees it: the whole story, and nothing of it left behind.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use podsync_tests::kit;
use tempfile::TempDir;

/// The smallest that the demo takes.
const SIZE: &str = "16";

/// A demo that runs, all of it in a folder of its own.
struct Demo {
    folder: TempDir,
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Demo {
    fn start(program: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("podsync-test-").tempdir()?;
        let mut child = Command::new(program)
            .args(["demo", "--size", SIZE])
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = BufReader::new(child.stderr.take().context("no stderr")?);
        Ok(Self {
            folder,
            child,
            said,
        })
    }

    /// Reads on until it says so.
    fn until(&mut self, text: &str) -> Result<()> {
        let mut seen = String::new();
        while !seen.contains(text) {
            let more = self.said.read_line(&mut seen)?;
            ensure!(more > 0, "it never said {text:?}: {seen}");
        }
        Ok(())
    }

    fn interrupt(&self) -> Result<()> {
        let id = self.child.id().to_string();
        let signal = Command::new("kill").args(["-INT", &id]).status()?;
        ensure!(signal.success(), "kill failed");
        Ok(())
    }

    /// All that it said from here on; nothing of it may be left then.
    fn finish(mut self, code: i32) -> Result<String> {
        let mut seen = String::new();
        self.said.read_to_string(&mut seen)?;
        let ended = self.child.wait()?;
        ensure!(ended.code() == Some(code), "{ended}: {seen}");
        let left: Vec<_> = fs::read_dir(self.folder.path())?.collect();
        ensure!(left.is_empty(), "it left {left:?}");
        let listed = Command::new("ps")
            .args(["-A", "-ww", "-o", "args="])
            .output()?;
        ensure!(listed.status.success(), "ps failed");
        let listed = String::from_utf8_lossy(&listed.stdout);
        let folder = self.folder.path().to_string_lossy();
        if let Some(process) = listed.lines().find(|process| process.contains(&*folder)) {
            bail!("still there: {process}");
        }
        Ok(seen)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line of the story that has `text`.
fn line<'a>(story: &'a str, text: &str) -> Result<&'a str> {
    let mut lines = story.lines();
    lines
        .find(|line| line.contains(text))
        .with_context(|| format!("it never said {text:?}: {story}"))
}

#[test]
fn the_demo_tells_its_story_to_the_last_act_and_leaves_nothing_behind() -> Result<()> {
    let story = Demo::start(&kit::binary()?)?.finish(0)?;
    let acts = [
        "carol still gets all of orders:3",
        "carol's copy is byte for byte",
        "a hub starts with a bucket on this disk",
        "everyone goes offline except the hub",
        "dave, a new member, joins through the hub",
        "dave pulls orders:3",
        "dave's copy is byte for byte what alice saved",
        "nothing is left behind",
    ];
    let mut rest = story.as_str();
    for act in acts {
        let (_, after) = rest
            .split_once(act)
            .with_context(|| format!("{act:?} in {story}"))?;
        rest = after;
    }
    let pulled = line(&story, "dave pulls orders:3")?;
    ensure!(
        pulled.contains("from the bucket") && !pulled.contains(" + "),
        "{pulled}"
    );
    Ok(())
}

#[test]
fn a_demo_that_is_interrupted_in_its_last_act_leaves_nothing_behind() -> Result<()> {
    let mut demo = Demo::start(&kit::binary()?)?;
    demo.until("everyone goes offline")?;
    demo.interrupt()?;
    demo.finish(130).map(drop)
}

#[test]
fn a_demo_without_a_hub_beside_it_says_so_and_leaves_out_the_last_act() -> Result<()> {
    let elsewhere = tempfile::Builder::new().prefix("podsync-test-").tempdir()?;
    let binary = kit::binary()?;
    let name = binary.file_name().unwrap_or(OsStr::new("podsync"));
    let program = elsewhere.path().join(name);
    fs::copy(&binary, &program)?;
    let story = Demo::start(&program)?.finish(0)?;
    line(&story, "carol's copy is byte for byte")?;
    let told = line(&story, "skipped the last part")?;
    ensure!(
        told.contains("podsync-hub is not in") && told.contains("cargo install"),
        "{told}"
    );
    ensure!(!story.contains("dave"), "{story}");
    Ok(())
}
