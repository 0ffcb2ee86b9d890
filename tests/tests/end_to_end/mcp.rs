//! `podsync mcp`: an agent's tools over pipes, to a real daemon.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{FakeEmulator, Home, Member, binary, fill, zip};
use serde_json::{Value, json};

use crate::share::alice_and_bob;

/// A client that speaks the protocol line by line.
struct Agent {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    asked: u64,
}

impl Agent {
    /// A server that has been greeted.
    fn start(home: &Home, arguments: &[&str]) -> Result<Self> {
        let mut agent = Self::silent(home, arguments)?;
        let greeted = agent.ask(
            "initialize",
            &json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }),
        )?;
        let server = &greeted["result"];
        ensure!(server["serverInfo"]["name"] == "podsync", "{greeted}");
        ensure!(server["capabilities"]["tools"].is_object(), "{greeted}");
        agent.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(agent)
    }

    fn silent(home: &Home, arguments: &[&str]) -> Result<Self> {
        let mut child = home
            .typed(&[&["mcp"], arguments].concat())?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        Ok(Self {
            to: child.stdin.take(),
            from: BufReader::new(child.stdout.take().context("no stdout")?),
            child,
            asked: 0,
        })
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        let to = self.to.as_mut().context("it was closed")?;
        writeln!(to, "{message}")?;
        Ok(to.flush()?)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let answer: Value =
            serde_json::from_str(&line).with_context(|| format!("stdout has {line:?}"))?;
        ensure!(answer["id"] == id, "{answer}");
        Ok(answer)
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let params = json!({"name": tool, "arguments": arguments});
        let answer = self.ask("tools/call", &params)?;
        Ok(answer["result"].clone())
    }

    /// What a tool answers that succeeds: the same as text and as structure.
    fn succeed(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let result = self.call(tool, arguments)?;
        ensure!(result["isError"] == false, "{tool}: {result}");
        let structure = result["structuredContent"].clone();
        let text = text(&result)?;
        ensure!(structure == text, "{structure} is not {text}");
        Ok(structure)
    }

    /// The API's error that a tool fails with. It says what happened and what to do next.
    fn fail(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let result = self.call(tool, arguments)?;
        ensure!(result["isError"] == true, "{tool}: {result}");
        let error = text(&result)?;
        for part in ["message", "hint", "code"] {
            ensure!(error[part].is_string(), "no {part}: {error}");
        }
        Ok(error)
    }

    /// The end of input ends the server, and nothing else is on stdout.
    fn end(mut self) -> Result<()> {
        drop(self.to.take());
        let mut rest = String::new();
        self.from.read_to_string(&mut rest)?;
        ensure!(rest.is_empty(), "stdout has {rest:?}");
        ensure!(self.child.wait()?.success(), "it failed");
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(result: &Value) -> Result<Value> {
    let text = result["content"][0]["text"].as_str().context("no text")?;
    Ok(serde_json::from_str(text)?)
}

fn state(home: &Home, name: &str, seed: u64) -> Result<String> {
    let folder = home.scratch(name);
    fill(&folder, 3, 1000, seed)?;
    Ok(folder.to_string_lossy().into_owned())
}

#[test]
fn an_agent_saves_shares_shows_and_compares() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let mut agent = Agent::start(&alice, &[])?;
    let tools = agent.ask("tools/list", &json!({}))?;
    let tools = tools["result"]["tools"].as_array().context("no tools")?;
    let names: Vec<_> = tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    let expected = [
        "list", "show", "diff", "forecast", "save", "load", "undo", "share",
    ];
    ensure!(names == expected, "{names:?}");
    for tool in tools {
        ensure!(tool["inputSchema"]["type"] == "object", "{tool}");
        ensure!(tool["outputSchema"]["type"] == "object", "{tool}");
        ensure!(tool["description"].is_string(), "{tool}");
    }

    let empty = agent.succeed("list", &json!({}))?;
    ensure!(empty == json!({"pods": [], "left_out": 0}), "{empty}");
    let first = json!({"pod": "orders", "from": state(&alice, "one", 1)?, "message": "see here"});
    let saved = agent.succeed("save", &first)?;
    ensure!(saved["reference"] == "orders:+1", "{saved}");
    let shared = agent.succeed("share", &json!({"version": "orders"}))?;
    ensure!(shared["reference"] == "orders:1", "{shared}");
    let second = json!({"pod": "orders", "from": state(&alice, "two", 2)?, "share": true});
    let saved = agent.succeed("save", &second)?;
    ensure!(saved["reference"] == "orders:2", "{saved}");

    let list = agent.succeed("list", &json!({}))?;
    ensure!(
        list["pods"][0]["tips"][0]["reference"] == "orders:2",
        "{list}"
    );
    let versions = agent.succeed("list", &json!({"pod": "orders", "limit": 1}))?;
    ensure!(versions["left_out"] == 1, "{versions}");
    let shown = json!({"version": "orders:1", "contents": true, "limit": 2});
    let shown = agent.succeed("show", &shown)?;
    ensure!(shown["version"]["message"] == "see here", "{shown}");
    ensure!(
        shown["entries"].as_array().map(Vec::len) == Some(2),
        "{shown}"
    );
    ensure!(shown["left_out"] == 1, "{shown}");
    let diff = json!({"before": "orders:1", "after": "orders:2"});
    let diff = agent.succeed("diff", &diff)?;
    ensure!(diff["changes"]["changed"] == 3, "{diff}");
    agent.end()?;

    let pulled = bob.run(&["pull", "orders:1"])?.ok()?;
    ensure!(pulled["author"] == "alice", "{pulled}");
    Ok(())
}

#[test]
fn what_asks_a_person_is_refused_unless_the_server_was_started_with_it() -> Result<()> {
    let (alice, _bob) = alice_and_bob()?;
    let empty = alice.scratch("empty");
    std::fs::create_dir_all(&empty)?;
    let save = json!({"pod": "orders", "from": empty.to_string_lossy()});
    let mut agent = Agent::start(&alice, &["--allow", "older-state", "--allow", "remote"])?;
    let refused = agent.fail("save", &save)?;
    ensure!(refused["code"] == "unconfirmed", "{refused}");
    ensure!(refused["consent"] == "empty-state", "{refused}");
    let hint = refused["hint"].as_str().context("no hint")?;
    ensure!(hint.contains("podsync mcp --allow empty-state"), "{hint}");
    agent.end()?;

    let mut agent = Agent::start(&alice, &["--allow", "empty-state"])?;
    let saved = agent.succeed("save", &save)?;
    ensure!(saved["reference"] == "orders:+1", "{saved}");
    agent.end()?;

    // A secret is saved by nobody but a person.
    let secret = alice.scratch("secret");
    std::fs::create_dir_all(&secret)?;
    std::fs::write(secret.join("notes.md"), alice.invite(&[])?)?;
    let consents = ["empty-state", "older-state", "new-signer", "remote"];
    let allowed: Vec<_> = consents
        .iter()
        .flat_map(|name| ["--allow", *name])
        .collect();
    let mut agent = Agent::start(&alice, &allowed)?;
    let save = json!({"pod": "orders", "from": secret.to_string_lossy()});
    let refused = agent.fail("save", &save)?;
    ensure!(refused["code"] == "unconfirmed", "{refused}");
    ensure!(refused["consent"].is_null(), "{refused}");
    let hint = refused["hint"].as_str().context("no hint")?;
    ensure!(hint.contains("`podsync save --allow-secrets`"), "{hint}");
    ensure!(hint.contains("only the person you work for"), "{hint}");
    agent.end()?;

    let unknown = alice.run(&["mcp", "--allow", "everything"])?.failed(2)?;
    ensure!(unknown.contains("new-signer"), "{unknown}");
    Ok(())
}

#[test]
fn a_load_of_a_new_signer_needs_the_word_of_who_started_the_server() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let emulator = FakeEmulator::start(&zip(&[Member::stored("s3/buckets", &[1; 5000])]))?;
    let endpoint = emulator.endpoint();
    let save = ["save", "orders", "--share", "--endpoint", &endpoint];
    alice.run(&save)?.ok()?;

    let load = json!({"version": "orders", "merge": "overwrite"});
    let mut agent = Agent::start(&bob, &["--endpoint", &endpoint, "--allow", "remote"])?;
    let refused = agent.fail("load", &load)?;
    ensure!(refused["consent"] == "new-signer", "{refused}");
    agent.end()?;

    let mut agent = Agent::start(&bob, &["--endpoint", &endpoint, "--allow", "new-signer"])?;
    let forecast = agent.succeed("forecast", &load)?;
    ensure!(forecast["reference"] == "orders:1", "{forecast}");
    let loaded = agent.succeed("load", &load)?;
    ensure!(loaded["reference"] == "orders:1", "{loaded}");
    let undone = agent.succeed("undo", &json!({}))?;
    ensure!(undone["checkpoint"] == loaded["checkpoint"], "{undone}");
    agent.end()
}

#[test]
fn wrong_calls_are_errors_that_the_agent_reads_and_the_server_goes_on() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut agent = Agent::start(&alice, &["--endpoint", "http://127.0.0.1:9"])?;
    let long = "o".repeat(100_000);
    let wrong = [
        ("show", json!({"version": "../secrets"}), "invalid"),
        ("show", json!({"version": long}), "invalid"),
        ("show", json!({}), "invalid"),
        ("show", json!({"version": "orders", "yes": true}), "invalid"),
        ("show", json!({"version": "orders"}), "not_found"),
        ("list", json!({"pod": "../orders"}), "invalid"),
        ("list", json!({"limit": 0}), "invalid"),
        ("save", json!({"pod": "orders", "from": "state"}), "invalid"),
        ("save", json!({"pod": "orders"}), "instance"),
        (
            "load",
            json!({"version": "orders", "merge": "all"}),
            "invalid",
        ),
        (
            "load",
            json!({"version": "orders", "endpoint": "http://x"}),
            "invalid",
        ),
        (
            "load",
            json!({"version": "orders", "consents": ["remote"]}),
            "invalid",
        ),
    ];
    for (tool, arguments, code) in wrong {
        let error = agent.fail(tool, &arguments)?;
        ensure!(error["code"] == code, "{tool} {arguments}: {error}");
    }
    let unknown = agent.ask("tools/call", &json!({"name": "drop", "arguments": {}}))?;
    ensure!(unknown["error"]["message"].is_string(), "{unknown}");
    for (method, params, code) in [
        (
            "tools/call",
            json!({"name": "list", "arguments": "x"}),
            -32602,
        ),
        ("tools/call", json!({"arguments": {}}), -32602),
        ("tools/drop", json!({}), -32601),
    ] {
        let answer = agent.ask(method, &params)?;
        ensure!(answer["error"]["code"] == code, "{answer}");
    }
    agent.end()?;

    Agent::silent(&alice, &[])?.end()?;
    Ok(())
}

#[test]
fn what_cannot_be_read_is_answered_and_the_server_goes_on() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut agent = Agent::start(&alice, &[])?;
    let list = |pod: &str| format!("{{\"name\":\"list\",\"arguments\":{{\"pod\":{pod}}}}}");
    let long = list(&format!("\"{}\"", "x".repeat(3 << 20)));
    let deep = list(&format!("{}{}", "[".repeat(140), "]".repeat(140)));
    for (line, id, code) in [
        (
            format!(r#"{{"method":"tools/call","params":{long},"jsonrpc":"2.0","id":70}}"#),
            json!(70),
            -32600,
        ),
        (
            format!(r#"{{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{deep}}}"#),
            json!("a"),
            -32600,
        ),
        ("no JSON".to_owned(), Value::Null, -32700),
    ] {
        let to = agent.to.as_mut().context("it was closed")?;
        writeln!(to, "{line}")?;
        let mut answer = String::new();
        agent.from.read_line(&mut answer)?;
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer["id"] == id, "{answer}");
        ensure!(answer["error"]["code"] == code, "{answer}");
        agent.succeed("list", &json!({}))?;
    }
    agent.end()
}

const SCRIPT: &str = r#"
import asyncio, json, sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    program, home, state = sys.argv[1:]
    server = StdioServerParameters(command=program, args=["mcp", "--home", home])
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            tools = await session.list_tools()
            print("tools", " ".join(tool.name for tool in tools.tools))
            saved = await session.call_tool("save", {"pod": "orders", "from": state})
            print("saved", json.loads(saved.content[0].text)["reference"])
            for tool, given in [
                ("list", {}),
                ("show", {"version": "orders:+1", "contents": True}),
                ("diff", {"before": "orders:+1", "after": "orders:+1"}),
            ]:
                answer = await session.call_tool(tool, given)
                print("answered", tool, answer.content[0].text)
            missing = await session.call_tool("show", {"version": "billing"})
            print("refused", missing.content[0].text)


asyncio.run(main())
"#;

/// The protocol's own client for Python checks every answer against the schema that the tool has.
#[test]
fn the_python_client_understands_it() -> Result<()> {
    let mut alice = Home::new("alice")?;
    let place = alice.scratch("python");
    let python = match install(&place) {
        Ok(python) => python,
        Err(error) => {
            eprintln!("NOT RUN: Python can't install its client of the protocol: {error:#}");
            return Ok(());
        }
    };
    alice.found("payments")?;
    alice.start(&[])?;
    let state = state(&alice, "state", 1)?;
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .args([binary()?, alice.path()])
        .arg(state)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{why}");
    for part in [
        "tools list show diff forecast save load undo share",
        "saved orders:+1",
        "answered list {",
        "answered show {",
        "answered diff {",
        "refused {\"code\":\"not_found\"",
    ] {
        ensure!(said.contains(part), "no {part:?}: {said}\n{why}");
    }
    Ok(())
}

/// An environment with the `mcp` package; its interpreter.
fn install(place: &Path) -> Result<std::path::PathBuf> {
    let python = place.join("bin/python");
    let steps = [
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(place)
            .output(),
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--timeout",
                "15",
                "--retries",
                "1",
            ])
            .args(["--disable-pip-version-check", "mcp"])
            .output(),
    ];
    for step in steps {
        let output = step?;
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", why.trim());
    }
    Ok(python)
}
