//! podsync as `lstk podsync`, by the documented contract of lstk's extensions.

use std::{
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use anyhow::{Result, ensure};
use podsync_tests::kit::{FakeEmulator, Home, Member, binary, zip};
use serde_json::{Value, json};

const INVALID: i32 = 2;
const INSTANCE: i32 = 8;
const TOKEN: &str = "ls-secret-of-lstk";

fn extension(home: &Home) -> Result<impl Fn(&[&str], &str, &Value) -> Result<Output>> {
    let (link, path) = (home.scratch("lstk-podsync"), home.path());
    symlink(binary()?, &link)?;
    Ok(
        move |arguments: &[&str], version: &str, context: &Value| -> Result<Output> {
            let output = Command::new(&link)
                .args(arguments)
                .env("CI", "true")
                .env("PODSYNC_HOME", &path)
                .env("LSTK_EXT_API_VERSION", version)
                .env("LSTK_EXT_CONTEXT", context.to_string())
                .env_remove("AWS_ENDPOINT_URL")
                .env_remove("LOCALSTACK_AUTH_TOKEN")
                .env_remove("PODSYNC_TEAM")
                .env_remove("PODSYNC_TOKEN")
                .stdin(Stdio::null())
                .output()?;
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            let said = String::from_utf8_lossy(&said);
            ensure!(!said.contains(TOKEN), "it told the token: {said}");
            Ok(output)
        },
    )
}

#[test]
fn lstk_says_where_the_emulator_is_and_its_token_stays_secret() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let emulator = FakeEmulator::start(&zip(&[Member::stored("s3/buckets", &[1; 5000])]))?;
    let lstk = extension(&alice)?;
    let context = json!({
        "configDir": "/nowhere",
        "authToken": TOKEN,
        "endpointUrl": null,
        "json": true,
        "nonInteractive": true,
        "sessionId": "one",
        "emulators": [
            { "type": "azure", "endpoint": "http://127.0.0.1:9", "port": 9 },
            { "type": "aws", "endpoint": emulator.endpoint() },
        ],
        "more": "than is known",
    });
    let saved = lstk(&["save", "orders"], "1", &context)?;
    ensure!(saved.status.success(), "{saved:?}");
    let saved: Value = serde_json::from_slice(&saved.stdout)?;
    ensure!(saved["reference"] == "orders:+1", "{saved}");
    // What the user types comes first.
    let typed = ["save", "orders", "--endpoint", "http://127.0.0.1:9"];
    let absent = lstk(&typed, "1", &context)?;
    ensure!(absent.status.code() == Some(INSTANCE), "{absent:?}");
    let kept = Command::new("grep")
        .args(["-r", "-q", TOKEN])
        .arg(alice.path())
        .status()?;
    ensure!(kept.code() == Some(1), "the token is in the home");
    Ok(())
}

#[test]
fn another_contract_is_refused() -> Result<()> {
    let alice = Home::new("alice")?;
    let lstk = extension(&alice)?;
    for (version, context, says) in [
        ("2", json!({}), "version 2"),
        ("one", json!({}), "no number"),
        (
            "1",
            json!({ "authToken": TOKEN, "endpointUrl": 7 }),
            "documented form",
        ),
        ("1", json!({ "authToken": [TOKEN] }), "documented form"),
    ] {
        let refused = lstk(&["config"], version, &context)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(INVALID), "{refused:?}");
        ensure!(said.contains(says), "{said}");
    }
    Ok(())
}
