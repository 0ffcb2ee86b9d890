//! A team of three, of which one works in the page: each act, and what the others do appears by itself.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{FakeEmulator, Home, Member, zip};

use super::browser::{Look, in_browser};

/// How a load begins.
const LOAD: &str = "POST /_localstack/pods?";

/// An emulator's state; another number is another state.
fn state(number: u8) -> Vec<u8> {
    zip(&[
        Member::stored("s3/buckets", &[number; 5000]),
        Member::stored("sqs/queues", &[2; 5000]),
    ])
}

/// Alice founded the team, bob is in it; both daemons run.
fn alice_and_bob() -> Result<(Home, Home)> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    Ok((alice, bob))
}

#[tokio::test]
async fn versions_are_saved_shared_pulled_loaded_and_taken_back_in_the_page() -> Result<()> {
    in_browser(Look::Light, async |browser| {
        let (alice, bob) = alice_and_bob()?;
        let emulator = FakeEmulator::start(&state(1))?;
        browser.open(&alice, "0").await?;

        browser.sees("payments has no pods yet").await?;
        browser.click("Save a state").await?;
        browser.fill("Pod", "orders").await?;
        browser.fill("Message", "dead letters pile up").await?;
        browser.fill("Emulator", &emulator.endpoint()).await?;
        browser.click("Save").await?;
        browser.sees("Saved orders:+1").await?;

        browser.click("dead letters pile up").await?;
        browser.sees("Where it lives").await?;
        browser.click("Share").await?;
        browser.sees("Shared orders:1").await?;

        // What bob does is seen without being asked for.
        bob.run(&["pull", "orders"])?.ok()?;
        let changed = FakeEmulator::start(&state(7))?;
        let arguments = ["save", "orders", "--share", "-m", "bob was here"];
        bob.run(&[&arguments[..], &["--endpoint", &changed.endpoint()]].concat())?
            .ok()?;
        browser.sees("bob was here").await?;
        browser.click("bob was here").await?;
        browser.sees("Pull it to see what is in it").await?;
        browser.click("Pull").await?;
        browser.sees("Pulled orders:2").await?;

        browser.click("Tag…").await?;
        browser.fill("Tag", "baseline").await?;
        browser.click("Set the tag").await?;
        browser.sees("orders:2 is baseline now").await?;

        // The forecast comes first. Then the page asks about the author, of whom nothing was loaded here
        // before.
        browser.click("Load…").await?;
        browser.click("See what would change").await?;
        browser.sees("What it would change").await?;
        let loads = || {
            emulator
                .posts()
                .iter()
                .filter(|post| post.starts_with(LOAD))
                .count()
        };
        ensure!(loads() == 0, "{:?}", emulator.posts());
        browser.click("Load it").await?;
        browser.sees("Load something by a new author?").await?;
        browser.click("Trust and load").await?;
        browser.sees("Loaded orders:2").await?;
        ensure!(loads() == 1, "{:?}", emulator.posts());

        browser.click("Activity").await?;
        browser.click("Undo a load…").await?;
        browser.click("Undo it").await?;
        browser.sees("Brought back").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_snapshot_goes_out_as_a_download_and_comes_in_by_dropping_it() -> Result<()> {
    in_browser(Look::Light, async |browser| {
        let mut alice = Home::new("alice")?;
        alice.found("payments")?;
        alice.start(&[])?;
        let file = alice.scratch("state.snapshot");
        std::fs::write(&file, state(3))?;
        let from = file.to_string_lossy().into_owned();
        let arguments = ["save", "orders", "--share", "-m", "from a file", "--from"];
        alice.run(&[&arguments[..], &[&from]].concat())?.ok()?;

        browser.open(&alice, "0").await?;
        browser.click("from a file").await?;
        browser.sees("Where it lives").await?;
        browser.click("Export").await?;
        browser.sees("Exported orders:1").await?;
        let exported = browser.downloaded("orders-1.snapshot").await?;
        ensure!(exported.starts_with(b"PK"), "no zip");

        browser.click("All pods").await?;
        browser.sees("1 pod").await?;
        browser.drop_file("billing-1.snapshot", &exported).await?;
        browser.sees("billing-1.snapshot").await?;
        browser.fill("Message", "dropped here").await?;
        browser.click("Save").await?;
        browser.sees("Saved billing:+1").await?;
        let pods = alice.run(&["list"])?.ok()?;
        let names: Vec<_> = pods
            .as_array()
            .context("no list")?
            .iter()
            .filter_map(|pod| pod["name"].as_str())
            .collect();
        ensure!(names == ["billing", "orders"]);

        browser.click("dropped here").await?;
        browser.click("Drop…").await?;
        browser.sees("can't be brought back").await?;
        browser.click("Drop it").await?;
        browser.sees("Dropped billing:+1").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_teammate_is_invited_given_a_role_and_removed_in_the_page() -> Result<()> {
    in_browser(Look::Light, async |browser| {
        let (alice, bob) = alice_and_bob()?;
        browser.open(&alice, "0").await?;
        browser.click("Team").await?;
        browser.sees("2 members").await?;
        browser.click("Invite…").await?;
        browser.choose("Role", "reader").await?;
        browser.click("Make a ticket").await?;
        browser.sees("This page does not show it again").await?;
        browser.is_accessible("the ticket").await?;
        browser.picture("invite").await?;
        let ticket = browser
            .ask("return document.querySelector('dialog .secret code').textContent")
            .await?;
        let ticket = ticket.as_str().context("no ticket")?;

        let mut carol = Home::new("carol")?;
        carol.start(&[&alice, &bob])?;
        carol.join(ticket)?.ok()?;
        browser.click("Done").await?;
        browser.sees("3 members").await?;
        let kept = browser
            .ask("return document.documentElement.outerHTML")
            .await?;
        ensure!(
            !kept.to_string().contains(ticket),
            "the ticket is still there"
        );

        let carols = "Role of carol";
        let name = browser
        .ask(&format!(
            "return document.querySelector('[aria-label^=\"{carols}\"]').getAttribute('aria-label')"
        ))
        .await?;
        browser
            .choose(name.as_str().context("no carol")?, "publisher")
            .await?;
        browser.sees("carol is publisher now").await?;
        browser.click("Remove carol").await?;
        browser.sees("keeps what it downloaded before").await?;
        browser.click("Remove it").await?;
        browser.sees("Removed 1 device of carol").await?;
        browser.sees("2 members").await?;
        let left = alice.run(&["team", "members"])?.ok()?;
        ensure!(left.as_array().map(Vec::len) == Some(2), "{left}");
        Ok(())
    })
    .await
}
