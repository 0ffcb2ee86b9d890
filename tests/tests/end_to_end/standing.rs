//! What `status` says of teammates and the hub: what it does not know it does not say.

use anyhow::{Result, ensure};
use podsync_tests::kit::{Home, Hub, fill};

use crate::share::alice_and_bob;

fn shown(home: &Home, command: &[&str]) -> Result<String> {
    let output = home.typed(command)?.output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn last_contact_is_told_for_each_team() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    alice.found("billing")?;
    let connected = || -> Result<Vec<u64>> {
        let status = alice.run(&["status"])?.ok()?;
        let teams = ["payments", "billing"].map(|name| {
            let mut teams = status["teams"].as_array().into_iter().flatten();
            let team = teams.find(|team| team["name"] == name);
            team.and_then(|team| team["connected"].as_u64())
        });
        Ok(teams.into_iter().flatten().collect())
    };
    while connected()? != [1, 0] {}
    let text = shown(&alice, &["status"])?;
    let now = "last contact with a teammate now";
    ensure!(text.matches(now).count() == 1, "{text}");
    let payments = text.split("payments:").nth(1).unwrap_or_default();
    let next = payments.lines().nth(1).unwrap_or_default();
    ensure!(next.contains(now), "{text}");
    bob.stop()?;
    while connected()? != [0, 0] {}
    let text = shown(&alice, &["status"])?;
    ensure!(!text.contains(now), "{text}");
    Ok(())
}

#[test]
fn what_came_from_a_peer_is_remembered_when_it_has_gone() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 1, 1_000_000, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    while bob.run(&["list"])?.ok()?.as_array().map_or(0, Vec::len) != 1 {}
    bob.run(&["pull", "orders"])?.ok()?;
    let seen = || -> Result<serde_json::Value> { Ok(bob.run(&["peers"])?.ok()?[0].clone()) };
    let heard = || -> Result<u64> { Ok(seen()?["heard_ms"].as_u64().unwrap_or_default()) };
    // A device signs a statement every hour. What it sends counts too.
    for _ in 0..3 {
        let before = heard()?;
        while heard()? <= before {}
    }
    let (received, last) = (seen()?["received"].clone(), heard()?);
    ensure!(received.as_u64() > Some(900_000), "{received}");
    alice.stop()?;
    while seen()?["connected"] == true {}
    let gone = seen()?;
    ensure!(gone["received"] == received, "{gone}");
    ensure!(gone["heard_ms"].as_u64() >= Some(last), "{gone}");
    // It comes back, and the counters go on.
    alice.start(&[&bob])?;
    while seen()?["connected"] == false {}
    ensure!(seen()?["received"] == received, "{}", seen()?);
    Ok(())
}

#[test]
fn what_the_bucket_lacks_is_unknown_until_the_hub_has_answered() -> Result<()> {
    let mut hub = Hub::start()?;
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    alice.run(&["team", "set-hub", &hub.url()])?.ok()?;
    let state = alice.scratch("state");
    fill(&state, 1, 1000, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--wait", "--from", &from])?
        .ok()?;
    alice.stop()?;
    hub.kill()?;

    // What was there before the restart is there still, and this daemon was not told.
    alice.start(&[])?;
    let status = alice.run(&["status"])?.ok()?;
    let known = &status["teams"][0]["hub"];
    ensure!(
        known["waiting"].is_null() && known["heard_ms"].is_null(),
        "{known}"
    );
    for command in [&["status"][..], &[]] {
        let text = shown(&alice, command)?;
        ensure!(
            text.contains("not reached since the daemon started"),
            "{text}"
        );
        ensure!(text.contains("is not known"), "{text}");
    }
    let text = shown(&alice, &["share", "orders:1"])?;
    ensure!(
        text.contains("not known to be in the team's bucket"),
        "{text}"
    );

    hub.run()?;
    let waiting = || -> Result<serde_json::Value> {
        let status = alice.run(&["status"])?.ok()?;
        Ok(status["teams"][0]["hub"]["waiting"].clone())
    };
    while waiting()? != 0 {}
    let text = shown(&alice, &["status"])?;
    ensure!(
        text.contains("everything shared here is in the bucket"),
        "{text}"
    );
    Ok(())
}
