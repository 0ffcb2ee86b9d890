//! What the views are like: usable by everybody, in every light, in several tabs, and after a restart.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, Member, zip};
use serde_json::json;
use thirtyfour::prelude::*;

use super::browser::{Look, in_browser};

const VIEWS: [(&str, &str); 5] = [
    ("pods", "Pods"),
    ("activity", "Activity"),
    ("team", "Team"),
    ("storage", "Storage"),
    ("machine", "Machine"),
];

/// A team with something in each view.
fn team() -> Result<(Home, Home)> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    alice.invite(&[])?;
    let save = |home: &Home, pod: &str, number: u8, message: &str, share: bool| {
        let file = home.scratch("state.snapshot");
        let (buckets, queues) = (vec![number; 60_000], vec![2; 5000]);
        let bytes = zip(&[
            Member::stored("s3/buckets", &buckets),
            Member::stored("sqs/queues", &queues),
        ]);
        std::fs::write(&file, bytes)?;
        let from = file.to_string_lossy().into_owned();
        let mut arguments = vec!["save", pod, "-m", message, "--from", &from];
        if share {
            arguments.push("--share");
        }
        home.run(&arguments)?.ok()
    };
    save(&alice, "orders", 1, "empty queues", true)?;
    save(&alice, "orders", 2, "checkout with three carts", true)?;
    bob.run(&["pull", "orders"])?.ok()?;
    save(&bob, "orders", 3, "dead letters pile up", true)?;
    save(&bob, "billing", 4, "invoices of the last quarter", true)?;
    alice.run(&["pull", "orders"])?.ok()?;
    alice.run(&["tag", "orders:2", "baseline"])?.ok()?;
    save(&alice, "orders", 5, "trying the new schema", false)?;
    save(&alice, "search-index", 6, "after the migration", true)?;
    Ok((alice, bob))
}

async fn every_view(look: Look, name: &str) -> Result<()> {
    in_browser(look, async |browser| {
        let (alice, _bob) = team()?;
        browser.open(&alice, "0").await?;
        browser.sees("invoices of the last quarter").await?;
        for (view, title) in VIEWS {
            browser.view(&format!("#/payments/{view}")).await?;
            let heading = format!("//h1[text()='{title}']");
            browser.driver.query(By::XPath(heading)).first().await?;
            if view == "machine" {
                browser.click("Look for problems").await?;
                browser.sees("Look again").await?;
            }
            browser.is_accessible(view).await?;
            browser.picture(&format!("{view}-{name}")).await?;
        }
        browser.view("#/payments/pods/orders").await?;
        browser.sees("dead letters pile up").await?;
        browser.is_accessible("a pod").await?;
        browser.click("trying the new schema").await?;
        browser.sees("Where it lives").await?;
        browser.sees("s3/buckets").await?;
        browser.is_accessible("a version").await?;
        browser.picture(&format!("version-{name}")).await?;
        // Nothing but the page's own files and calls was ever asked for.
        let others = browser
            .ask(
                "return performance.getEntriesByType('resource').map((e) => e.name)\
             .filter((name) => !name.startsWith(location.origin))",
            )
            .await?;
        ensure!(others == json!([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_view_is_for_everybody_in_the_light() -> Result<()> {
    every_view(Look::Light, "light").await
}

#[tokio::test]
async fn every_view_is_for_everybody_in_the_dark() -> Result<()> {
    every_view(Look::Dark, "dark").await
}

#[tokio::test]
async fn every_view_is_for_everybody_on_a_phone() -> Result<()> {
    every_view(Look::Phone, "phone").await
}

#[tokio::test]
async fn the_page_is_worked_by_keys_alone() -> Result<()> {
    in_browser(Look::Light, async |browser| {
        let (alice, _bob) = team()?;
        browser.open(&alice, "0").await?;
        browser.sees("invoices of the last quarter").await?;
        browser.press("/").await?;
        browser.press("orders").await?;
        browser.misses("invoices of the last quarter").await?;
        // From the filter over the button to the list.
        browser.press(Key::Tab + "").await?;
        browser.press(Key::Tab + "").await?;
        browser.press(Key::Enter + "").await?;
        browser.sees("Where it lives").await?;
        let list = browser.driver.find(By::Css("[role=listbox]")).await?;
        list.focus().await?;
        browser.press(Key::Down + "").await?;
        browser.sees("orders:3").await?;
        browser.press("d").await?;
        browser.sees("Differences").await?;
        browser.press("l").await?;
        browser.sees("See what would change").await?;
        browser.is_accessible("a load").await?;
        browser.press(Key::Escape + "").await?;
        browser.misses("See what would change").await?;
        browser.press("3").await?;
        browser.sees("Open invites").await?;
        browser.press("?").await?;
        browser.sees("Single letters and digits act").await?;
        browser.is_accessible("help").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_tab_and_a_daemon_that_restarts() -> Result<()> {
    in_browser(Look::Light, async |browser| {
        let (mut alice, bob) = team()?;
        let opened = alice.run(&["ui", "--print-url", "--port", "0"])?.ok()?;
        let address = opened["url"].as_str().and_then(|url| url.split('#').next());
        let address = address.context("no url")?.to_owned();
        for wrong in [String::new(), format!("#token={}", "0".repeat(64))] {
            browser.driver.goto(format!("{address}{wrong}")).await?;
            browser.sees("This page is locked").await?;
        }
        browser.is_accessible("a page without a session").await?;
        ensure!(browser.open(&alice, "0").await? == address);
        browser.sees("invoices of the last quarter").await?;
        let first = browser.driver.window().await?;
        // The token is in no history, and the second tab needs none.
        let shown = browser.driver.current_url().await?;
        ensure!(!shown.as_str().contains("token"), "{shown}");
        let second = browser.driver.new_tab().await?;
        browser.driver.switch_to_window(second).await?;
        browser.driver.goto(&address).await?;
        browser.sees("invoices of the last quarter").await?;
        browser.view("#/payments/pods/billing").await?;
        browser.sees("Where it lives").await?;

        // Both tabs hear of what happens, over one stream.
        bob.run(&["tag", "billing:1", "quarter"])?.ok()?;
        browser.sees("quarter").await?;

        alice.stop()?;
        browser.sees("Daemon away").await?;
        alice.start(&[&bob])?;
        let port = address
            .trim_end_matches('/')
            .rsplit(':')
            .next()
            .context("no port")?
            .to_owned();
        // The new daemon doesn't know the old session. A new token in one tab serves both.
        browser.driver.switch_to_window(first).await?;
        browser.open(&alice, &port).await?;
        browser.sees("invoices of the last quarter").await?;
        let tabs = browser.driver.windows().await?;
        let second = tabs.last().context("no second tab")?.clone();
        browser.driver.switch_to_window(second).await?;
        browser.sees("Where it lives").await?;
        browser.misses("This page is locked").await?;

        Ok(())
    })
    .await
}
