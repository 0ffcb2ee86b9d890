//! Two providers that hold the same and can be reached alike: what each of them serves.

use std::time::Duration;

use anyhow::{Context, Result};
use podsync_api::node;

use super::size_in_words;
use crate::{
    Setup,
    homes::{self, Home},
    measure::{Samples, timed},
    report::{Bar, Goal, Report},
    states,
};

const LEAST_SHARE: Bar = Bar::AtLeast(35.0);
/// A newcomer must reach both within this time.
const PATIENCE: Duration = Duration::from_secs(60);
const PEERS_POLL: Duration = Duration::from_millis(10);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    states::noise(&state, setup.size, 21)?;
    let alice = homes::found(setup)?;
    alice.save_and_share("orders", &state)?;
    let bob = homes::join(setup, "bob", &[&alice])?;
    bob.pull("orders")?;

    let (mut rate, mut least) = (Samples::default(), Samples::default());
    for turn in 0..setup.pairs {
        let carol = homes::join(setup, &format!("carol-{turn}"), &[&alice, &bob])?;
        wait_for_two_peers(&carol)?;
        let (ran, cost) = timed(&[], || carol.pull("orders"))?;
        let served = |home: &str| {
            let from = ran
                .answer
                .sources
                .iter()
                .filter(|from| from.name.starts_with(home));
            100.0 * from.map(|from| from.bytes).sum::<u64>() as f64 / ran.answer.fetched as f64
        };
        rate.push(cost.rate(setup.size));
        least.push(served("alice").min(served("bob")));
    }
    Ok(Report {
        title: format!("Two equal providers of {}", size_in_words(setup.size)),
        head: vec!["", "MB/s", "the lesser provider's share, %"],
        lines: vec![vec![
            "pull".to_owned(),
            format!("{rate:.0}"),
            format!("{least:.1}"),
        ]],
        notes: Vec::new(),
        goals: vec![Goal {
            what: "two providers: the lesser share, in the worst turn".to_owned(),
            figure: least.min(),
            bar: LEAST_SHARE,
            digits: 1,
            unit: " %",
        }],
    })
}

fn wait_for_two_peers(home: &Home) -> Result<()> {
    let client = home.client()?;
    let connected = async {
        loop {
            let peers = client.call(&node::GetPeers {}).await?;
            if peers.iter().filter(|peer| peer.connected).count() >= 2 {
                return anyhow::Ok(());
            }
            tokio::time::sleep(PEERS_POLL).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, connected).await })
        .context("a newcomer did not reach both providers")?
}
