//! `podsync demo`: the whole story on one machine, with real daemons on loopback.
//!
//! Everything lies in one temporary folder and every daemon is a child of this process, so that
//! nothing is left behind, whichever way the demo ends.

mod home;
mod state;

use std::time::{Duration, Instant};

use clap::Args;
use podsync_api::{ApiError, ErrorCode, pods, team};
use podsync_core::{MemberName, PodName, TeamName};

use self::home::DemoHome;
use crate::output::{Printer, bytes};

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How much state to make up, in MB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=8192))]
    size: u64,
}

/// A pull may wait this long for its providers.
const WAIT_S: u64 = 30;
/// Where LocalStack is looked for.
const LOCALSTACK: &str = "http://localhost:4566";

pub(crate) async fn run(printer: &Printer, demo: &Demo) -> Result<(), ApiError> {
    let folder = tempfile::Builder::new()
        .prefix("podsync-demo-")
        .tempdir()
        .map_err(local)?;
    let started = Instant::now();
    let say = |text: String| {
        printer.note(format_args!(
            "{:6.2} s  {text}",
            started.elapsed().as_secs_f32()
        ))
    };

    say("three homes, each with a key and a daemon of its own on 127.0.0.1".to_owned());
    let alice = DemoHome::start(folder.path(), "alice", &[]).await?;
    let bob = DemoHome::start(folder.path(), "bob", &[&alice]).await?;
    let carol = DemoHome::start(folder.path(), "carol", &[&alice, &bob]).await?;

    let name = TeamName::new("demo").map_err(invalid)?;
    let created = team::CreateTeam {
        name,
        member: member("alice")?,
        label: "laptop".to_owned(),
    };
    alice.client().call(&created).await?;
    let invite = team::Invite {
        role: team::Role::Publisher,
        expires_s: 3600,
        uses: 2,
    };
    let ticket = alice.client().call(&invite).await?.ticket;
    for home in [&bob, &carol] {
        let join = team::Join {
            ticket: ticket.clone(),
            member: member(home.name())?,
            label: "laptop".to_owned(),
        };
        home.client().call(&join).await?;
        say(format!("{} joins with alice's ticket", home.name()));
    }

    let state = state::State::make(&folder.path().join("state"), demo.size * 1_000_000)?;
    let source = if home::localstack_answers(LOCALSTACK).await {
        say(format!(
            "a LocalStack answers at {LOCALSTACK}: its state is saved first"
        ));
        let save = save(
            pods::StateSource::Endpoint(LOCALSTACK.to_owned()),
            "localstack",
            "from a running LocalStack",
        )?;
        let saved = alice.client().call(&save).await?;
        say(format!(
            "alice saved and shared {} ({})",
            reference(&saved),
            bytes(saved.state_len)
        ));
        let pulled = bob.pull(reference(&saved), |_| ()).await?;
        say(format!("bob pulled it: {}", sources(&pulled)));
        pods::StateSource::Path(state.path().to_owned())
    } else {
        pods::StateSource::Path(state.path().to_owned())
    };

    let at = Instant::now();
    let saved = alice
        .client()
        .call(&save(source.clone(), "orders", "dead letters pile up")?)
        .await?;
    say(format!(
        "alice saves and shares {} of {}: {}",
        reference(&saved),
        bytes(saved.state_len),
        rate(saved.state_len, at)
    ));

    let at = Instant::now();
    let pulled = bob.pull(reference(&saved), |_| ()).await?;
    say(format!(
        "bob pulls it: {}; {}",
        sources(&pulled),
        rate(pulled.fetched, at)
    ));

    let at = Instant::now();
    let pulled = carol.pull(reference(&saved), |_| ()).await?;
    say(format!(
        "carol pulls it from both: {}; {}",
        sources(&pulled),
        rate(pulled.fetched, at)
    ));

    let changed = state.change(5)?;
    let saved = alice
        .client()
        .call(&save(source.clone(), "orders", "five per cent later")?)
        .await?;
    let pulled = bob.pull(reference(&saved), |_| ()).await?;
    say(format!(
        "5 % of the state changes ({}): {} is shared, and {} travel to bob",
        bytes(changed),
        reference(&saved),
        bytes(pulled.fetched)
    ));

    state.replace()?;
    let saved = alice
        .client()
        .call(&save(source, "orders", "everything anew")?)
        .await?;
    bob.pull(reference(&saved), |_| ()).await?;
    let total = saved.shared.as_ref().map_or(0, |_| saved.new_len);
    let at = Instant::now();
    let mut victim = Some(bob);
    let pulled = carol
        .pull(reference(&saved), |done| {
            if done > total / 4
                && let Some(bob) = victim.take()
            {
                bob.kill();
                say("kill -9: bob is gone in the middle of carol's pull".to_owned());
            }
        })
        .await?;
    say(format!(
        "carol has all of {} nonetheless: {}; {}",
        pulled.reference,
        sources(&pulled),
        rate(pulled.fetched, at)
    ));

    let export = folder.path().join("carol-sees");
    let request = pods::Export {
        reference: "orders".to_owned(),
        to: export.clone(),
        wait_s: WAIT_S,
        sources: pods::Sources::Any,
    };
    carol.client().call(&request).await?;
    state.assert_equal(&export)?;
    say("what carol has is, byte for byte, what alice saved".to_owned());

    alice.stop().await;
    carol.stop().await;
    if let Some(bob) = victim {
        bob.stop().await;
    }
    folder.close().map_err(local)?;
    say("all daemons ended, nothing left behind".to_owned());
    Ok(())
}

fn save(from: pods::StateSource, pod: &str, message: &str) -> Result<pods::Save, ApiError> {
    let pod = PodName::new(pod).map_err(invalid)?;
    Ok(pods::Save {
        pod,
        message: message.to_owned(),
        from,
        services: Vec::new(),
        share: true,
        durable: false,
    })
}

fn reference(saved: &pods::Saved) -> &str {
    saved
        .shared
        .as_ref()
        .map_or(&saved.reference, |shared| &shared.reference)
}

fn sources(pulled: &pods::Pulled) -> String {
    let each = pulled
        .sources
        .iter()
        .map(|source| format!("{} from {}", bytes(source.bytes), source.name));
    each.collect::<Vec<_>>().join(" + ")
}

fn rate(len: u64, since: Instant) -> String {
    let passed = since.elapsed().max(Duration::from_millis(1));
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = len as f64 / 1e6 / passed.as_secs_f64();
    format!("{:.2} s, {rate:.0} MB/s", passed.as_secs_f32())
}

fn member(name: &str) -> Result<MemberName, ApiError> {
    MemberName::new(name).map_err(invalid)
}

fn invalid(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Internal, error.to_string())
}

fn local(error: std::io::Error) -> ApiError {
    ApiError::new(ErrorCode::Disk, format!("demo: {error}"))
        .hint("set TMPDIR to a folder with more room")
}
