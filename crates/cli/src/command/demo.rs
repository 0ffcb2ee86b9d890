//! `podsync demo`: the whole story on one machine, with real daemons and a real hub on loopback.
//!
//! Everything lies in one temporary folder and every program is a child of this process, so that
//! nothing is left behind, whichever way the demo ends.

mod bucket;
mod home;
mod hub;
mod state;
mod teller;

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use podsync_api::{ApiError, ErrorCode, pods, team};
use podsync_core::{MemberName, PodName, TeamName};

use self::{home::DemoHome, hub::Program, state::State, teller::Teller};
use crate::{
    files::temporary_folder,
    output::{Printer, bytes},
};

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Size of the demo state, in MB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=8192))]
    size: u64,
}

/// A pull may wait this long for its providers.
const WAIT_S: u64 = 30;
/// Where LocalStack is looked for.
const LOCALSTACK: &str = "http://localhost:4566";
/// Said while daemons end.
const STOPPING: &str = "the daemons stop";
/// The pod that the story is about.
const POD: &str = "orders";

pub(crate) async fn run(printer: &Printer, demo: &Demo) -> Result<(), ApiError> {
    let hub = Program::find(printer).await?;
    let folder = temporary_folder("podsync-demo-").map_err(local)?;
    let teller = Teller::new(printer);
    let mut team = gather(&teller, folder.path()).await?;
    save_localstack(&teller, &team).await?;
    let size = demo.size * 1_000_000;
    let made = format!("making up a state of {}", bytes(size));
    let path = folder.path().join("state");
    let state = State::make(&path, size);
    let state = teller.during(&made, state).await?;
    let mut shared = share_and_pull(&teller, &team, &state).await?;
    shared += change(&teller, &team, &state).await?;
    shared += lose_a_provider(&teller, &mut team, &state).await?;
    let carol_sees = folder.path().join("carol-sees");
    let compare = async {
        team.carol.export(POD, &carol_sees).await?;
        state.assert_equal(&carol_sees).await
    };
    let what = "writing carol's copy out, to compare it with alice's state";
    teller.during(what, compare).await?;
    teller.say("carol's copy is byte for byte what alice saved");
    match hub {
        Ok(program) => bucket::act(&teller, team, &state, shared, folder.path(), &program).await?,
        Err(absent) => {
            teller.say(format!(
                "skipped the last part, in which only the hub is online: {absent}"
            ));
            teller.during(STOPPING, team.go_offline()).await;
        }
    }
    folder.close().map_err(local)?;
    teller.say("all daemons stopped; nothing is left behind");
    Ok(())
}

struct Team {
    alice: DemoHome,
    /// `None` once the demo has killed his daemon.
    bob: Option<DemoHome>,
    carol: DemoHome,
}

impl Team {
    fn bob(&self) -> Result<&DemoHome, ApiError> {
        self.bob.as_ref().ok_or_else(|| invalid("bob is gone"))
    }

    async fn go_offline(self) {
        self.alice.stop().await;
        self.carol.stop().await;
        if let Some(bob) = self.bob {
            bob.stop().await;
        }
    }
}

async fn gather(teller: &Teller<'_>, folder: &Path) -> Result<Team, ApiError> {
    teller.say("starting three devices on 127.0.0.1, each with its own key and daemon");
    let start = async {
        let alice = DemoHome::start(folder, "alice", &[]).await?;
        let bob = DemoHome::start(folder, "bob", &[&alice]).await?;
        let carol = DemoHome::start(folder, "carol", &[&alice, &bob]).await?;
        Ok::<_, ApiError>((alice, bob, carol))
    };
    let (alice, bob, carol) = teller.during("their daemons start", start).await?;
    let created = team::CreateTeam {
        name: TeamName::new("demo").map_err(invalid)?,
        member: member("alice")?,
        label: "laptop".to_owned(),
        consents: BTreeSet::new(),
    };
    let invite = async {
        alice.client().call(&created).await?;
        alice.invite(2).await
    };
    let what = "alice founds a team and makes a ticket";
    let ticket = teller.during(what, invite).await?;
    for home in [&bob, &carol] {
        let what = format!("{} looks for alice and joins", home.name());
        teller.during(&what, home.join(&ticket)).await?;
        teller.say(format_args!("{} joins with alice's ticket", home.name()));
    }
    let bob = Some(bob);
    Ok(Team { alice, bob, carol })
}

/// Where a LocalStack runs, its state makes the way too.
async fn save_localstack(teller: &Teller<'_>, team: &Team) -> Result<(), ApiError> {
    let what = format!("looking for a LocalStack at {LOCALSTACK}");
    let answers = home::localstack_answers(LOCALSTACK);
    if !teller.during(&what, answers).await {
        return Ok(());
    }
    teller.say(format_args!(
        "LocalStack is running at {LOCALSTACK}, so alice saves its state first"
    ));
    let from = pods::StateSource::Endpoint(LOCALSTACK.to_owned());
    let save = save(from, "localstack", "from a running LocalStack")?;
    let saved = team.alice.client().call(&save);
    let saved = teller
        .during("alice saves LocalStack's state", saved)
        .await?;
    teller.say(format_args!(
        "alice saved and shared {} ({})",
        reference(&saved),
        bytes(saved.state_len)
    ));
    let pulled = team.bob()?.pull(reference(&saved), |_| ());
    let pulled = teller.during("bob pulls it", pulled).await?;
    teller.say(format_args!("bob pulled it: {}", sources(&pulled)));
    Ok(())
}

/// How many sealed bytes were shared, as the acts after it.
async fn share_and_pull(teller: &Teller<'_>, team: &Team, state: &State) -> Result<u64, ApiError> {
    let at = Instant::now();
    let saved = team.alice.save(state, "dead letters pile up");
    let what = "alice packs the state and shares it";
    let saved = teller.during(what, saved).await?;
    teller.say(format_args!(
        "alice saves and shares {} of {}: {}",
        reference(&saved),
        bytes(saved.state_len),
        rate(saved.state_len, at)
    ));

    let at = Instant::now();
    let pulled = team.bob()?.pull(reference(&saved), |_| ());
    let pulled = teller.during("bob pulls it from alice", pulled).await?;
    teller.say(format_args!(
        "bob pulls it: {}; {}",
        sources(&pulled),
        rate(pulled.fetched, at)
    ));

    let at = Instant::now();
    let pulled = team.carol.pull(reference(&saved), |_| ());
    let what = "carol pulls it from alice and bob";
    let pulled = teller.during(what, pulled).await?;
    teller.say(format_args!(
        "carol pulls it from both: {}; {}",
        sources(&pulled),
        rate(pulled.fetched, at)
    ));
    Ok(saved.new_len)
}

async fn change(teller: &Teller<'_>, team: &Team, state: &State) -> Result<u64, ApiError> {
    let what = "5 % of the state changes, alice shares it again and bob pulls";
    let act = async {
        let changed = state.change(5).await?;
        let saved = team.alice.save(state, "five per cent later").await?;
        let pulled = team.bob()?.pull(reference(&saved), |_| ()).await?;
        Ok::<_, ApiError>((changed, saved, pulled))
    };
    let (changed, saved, pulled) = teller.during(what, act).await?;
    teller.say(format_args!(
        "5 % of the state changes ({}): alice shares {}, and bob downloads only {}",
        bytes(changed),
        reference(&saved),
        bytes(pulled.fetched)
    ));
    Ok(saved.new_len)
}

async fn lose_a_provider(
    teller: &Teller<'_>,
    team: &mut Team,
    state: &State,
) -> Result<u64, ApiError> {
    let renew = async {
        state.replace().await?;
        let saved = team.alice.save(state, "everything anew").await?;
        team.bob()?.pull(reference(&saved), |_| ()).await?;
        Ok::<_, ApiError>(saved)
    };
    let what = "all of the state changes, alice shares it and bob pulls it";
    let saved = teller.during(what, renew).await?;
    let at = Instant::now();
    let bob = &mut team.bob;
    let pulled = team.carol.pull(reference(&saved), |done| {
        if done > saved.new_len / 4
            && let Some(bob) = bob.take()
        {
            bob.kill();
            teller.say("kill -9 stops bob in the middle of carol's pull");
        }
    });
    let what = "carol pulls it from alice and bob";
    let pulled = teller.during(what, pulled).await?;
    teller.say(format_args!(
        "carol still gets all of {}: {}; {}",
        pulled.reference,
        sources(&pulled),
        rate(pulled.fetched, at)
    ));
    Ok(saved.new_len)
}

fn save(from: pods::StateSource, pod: &str, message: &str) -> Result<pods::Save, ApiError> {
    let pod = PodName::new(pod).map_err(invalid)?;
    Ok(pods::Save {
        pod,
        message: message.to_owned(),
        from,
        token: crate::arguments::auth_token(),
        services: Vec::new(),
        share: true,
        durable: false,
        consents: BTreeSet::new(),
        allow_secrets: false,
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
    ApiError::new(
        ErrorCode::Disk,
        format!("the demo failed on this disk: {error}"),
    )
    .hint("set TMPDIR to a folder with more free space")
}
