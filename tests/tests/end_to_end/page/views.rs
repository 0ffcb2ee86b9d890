//! What the views are like: usable by everybody, in every light, in several tabs, and after a restart.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, Member, zip};
use serde_json::json;
use thirtyfour::prelude::*;

use super::browser::{Browser, Look, in_browser};

const VIEWS: [(&str, &str); 5] = [
    ("pods", "Pods"),
    ("activity", "Activity"),
    ("team", "Team"),
    ("storage", "Storage"),
    ("machine", "Machine"),
];

/// A team of three with something in each view.
fn team() -> Result<(Home, Home, Home)> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    let mut carol = Home::new("carol")?;
    carol.start(&[&alice, &bob])?;
    carol.join(&alice.invite(&[])?)?.ok()?;
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
    alice.run(&["follow", "orders"])?.ok()?;
    alice
        .run(&["autosave", "orders", "--on-stop", "--keep", "5"])?
        .ok()?;
    let rule = [
        "retention",
        "set",
        "--keep-last",
        "3",
        "--grace",
        "1h",
        "--yes",
    ];
    alice.run(&rule)?.ok()?;
    Ok((alice, bob, carol))
}

async fn every_view(look: Look, name: &str) -> Result<()> {
    in_browser(look, async |browser| {
        let (alice, bob, carol) = team()?;
        browser.open(&alice, "0").await?;
        browser.sees("invoices of the last quarter").await?;
        let seen = async |view: &str| {
            browser.is_accessible(view).await?;
            if look == Look::Phone {
                browser.fits(view).await?;
            }
            browser.picture(&format!("{view}-{name}")).await
        };
        // Something for the list of what happened.
        bob.run(&["tag", "billing:1", "quarter"])?.ok()?;
        carol.run(&["pull", "billing"])?.ok()?;
        for (view, title) in VIEWS {
            browser.view(&format!("#/payments/{view}")).await?;
            let heading = format!("//h1[text()='{title}']");
            browser.driver.query(By::XPath(heading)).first().await?;
            match view {
                "activity" => browser.sees("set the tag quarter").await?,
                "storage" => {
                    browser.sees("that others have too").await?;
                    browser
                        .sees("newest 3, tagged, younger than 1 hour")
                        .await?;
                }
                "machine" => {
                    browser.click("Look for problems").await?;
                    browser.sees("Look again").await?;
                }
                _ => {}
            }
            seen(view).await?;
        }
        browser.view("#/payments/pods/orders").await?;
        browser.sees("dead letters pile up").await?;
        seen("pod").await?;
        browser.click("trying the new schema").await?;
        browser.sees("Where it lives").await?;
        browser.sees("s3/buckets").await?;
        seen("version").await?;
        browser.view("#/payments/pods/billing").await?;
        browser.click("invoices of the last quarter").await?;
        browser.sees("newest").await?;
        browser.is_accessible("a newest version").await?;
        every_dialog(browser, &seen).await?;
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

/// What opens over the view of a version, and over those where it is set what the team keeps and who may come in.
async fn every_dialog(browser: &Browser, seen: &impl AsyncFn(&str) -> Result<()>) -> Result<()> {
    let dialogs = [
        ("pods/orders", "Save", "save", "Running emulator"),
        ("pods/orders", "Load…", "load", "See what would change"),
        ("team", "Invite…", "ticket", "Make a ticket"),
        (
            "storage",
            "Set a rule…",
            "rule",
            "Versions of the last day always stay",
        ),
        ("activity", "Undo a load…", "undo", "Undo it"),
    ];
    for (view, button, name, says) in dialogs {
        browser.view(&format!("#/payments/{view}")).await?;
        if name == "load" {
            // On a phone a version is a view of its own.
            browser.click("dead letters pile up").await?;
        }
        browser.click(button).await?;
        browser.sees(says).await?;
        seen(name).await?;
        browser.press(Key::Escape + "").await?;
        browser.misses(says).await?;
    }
    Ok(())
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

/// Answers for the daemon with so many versions, of which the newest is a real one.
const MANY: &str = "
    const real = window.fetch;
    window.fetch = async (url, init) => {
        const answer = await real(url, init);
        if (!String(url).endsWith('/versions')) return answer;
        const [newest] = await answer.json();
        const id = (n) => n.toString(16).padStart(64, '0');
        const many = [newest];
        for (let n = 9999; n > 0; n--) many.push({
            ...newest, id: id(n), number: n, reference: `orders:${n}`, message: `change ${n}`, tags: [], tip: false,
            parents: n > 1 ? [id(n - 1)] : [], created_ms: newest.created_ms - (10000 - n) * 60000,
        });
        newest.parents = [id(9999)];
        return new Response(JSON.stringify(many), { headers: { 'content-type': 'application/json' } });
    };
";

/// Scrolls the versions through in a hundred steps; the most rows and elements that there were, the time of the
/// slowest frame, and the last row.
const SCROLL: &str = "
    const list = document.querySelector('[role=listbox]');
    const most = { rows: 0, elements: 0, frame_ms: 0 };
    let [step, last] = [0, performance.now()];
    const frame = () => {
        const now = performance.now();
        most.frame_ms = Math.max(most.frame_ms, now - last);
        last = now;
        const rows = [...list.querySelectorAll('[role=option]')];
        most.rows = Math.max(most.rows, rows.length);
        most.elements = Math.max(most.elements, document.querySelectorAll('*').length);
        most.end = Math.max(...rows.map((row) => Number(row.getAttribute('aria-posinset'))));
        if (++step > 102) return done(most);
        list.scrollTop = list.scrollHeight * Math.min(step, 100) / 100;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
";

#[tokio::test]
async fn ten_thousand_versions_are_a_few_rows_wherever_they_are_scrolled_to() -> Result<()> {
    in_browser(Look::Light, async |browser| {
        let (alice, _bob, _carol) = team()?;
        browser.open(&alice, "0").await?;
        browser.sees("invoices of the last quarter").await?;
        browser.ask(MANY).await?;
        browser.view("#/payments/pods/orders").await?;
        browser.sees("10,000 versions").await?;
        browser.sees("change 9999").await?;
        let most = browser.ask_later(SCROLL).await?;
        println!("{most}");
        ensure!(most["end"] == 10_000, "{most}");
        ensure!(most["rows"].as_u64() < Some(60), "{most}");
        ensure!(most["elements"].as_u64() < Some(2000), "{most}");
        browser.sees("change 1").await?;
        browser.is_accessible("many versions").await?;
        browser.picture("many-light").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_page_is_worked_by_keys_alone() -> Result<()> {
    in_browser(Look::Light, async |browser| {
        let (alice, _bob, _carol) = team()?;
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
        let (mut alice, bob, _carol) = team()?;
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
