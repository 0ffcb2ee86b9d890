//! From `share` on one device until `list` on another shows it, and until `watch` there has printed it.
//!
//! Both ends are asked over their sockets, so that no process has to start in the time measured.
//! The clock starts as `share` is called, not as it returns: the fsync before the announcement and
//! the announcement itself are inside the call.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use podsync_api::{Client, pods};

use crate::{
    Setup, homes,
    measure::Samples,
    report::{Bar, Goal, Report},
    states,
};

const SHARES: u64 = 50;
const STATE_LEN: u64 = 4096;
/// How long after one `list` the next is asked: the precision of the figures.
const LIST_POLL: Duration = Duration::from_millis(1);
/// An announcement that isn't heard by then will not be.
const PATIENCE: Duration = Duration::from_secs(120);
const MEDIAN: Bar = Bar::AtMost(100.0);
const MEDIAN_OF_WATCH: Bar = Bar::AtMost(200.0);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    let alice = homes::found(setup)?;
    let bob = homes::join(setup, "bob", &[&alice])?;
    let (sharer, hearer) = (alice.client()?, bob.client()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;

    let watch = bob.watch()?;
    let (mut listed, mut returned) = (Samples::default(), Samples::default());
    let mut printed = Samples::default();
    for number in 1..=SHARES {
        states::noise(&state, STATE_LEN, number)?;
        let saved = alice.save("orders", &state)?.answer.reference;
        let begin = Instant::now();
        let (shared, seen) = runtime.block_on(share(&sharer, &hearer, saved, number))?;
        printed.push((watch.shared(number)? - begin).as_secs_f64() * 1e3);
        returned.push(shared.as_secs_f64() * 1e3);
        listed.push(seen.as_secs_f64() * 1e3);
    }
    let line = |name: &str, samples: &Samples| {
        let figures = [
            samples.quantile(0.5),
            samples.quantile(0.99),
            samples.min(),
            samples.max(),
        ];
        let figures = figures.map(|figure| format!("{figure:.1}"));
        [name.to_owned()].into_iter().chain(figures).collect()
    };
    Ok(Report {
        title: format!("From share to list, {SHARES} shares of {STATE_LEN} bytes"),
        head: vec![
            "milliseconds since `share` was called",
            "p50",
            "p99",
            "least",
            "most",
        ],
        lines: vec![
            line("`share` has returned to alice", &returned),
            line("`list` shows it to bob", &listed),
            line("`watch --json` has printed it to bob", &printed),
        ],
        notes: Vec::new(),
        goals: vec![
            Goal {
                what: "latency: share called to listed elsewhere, p50".to_owned(),
                figure: listed.quantile(0.5),
                bar: MEDIAN,
                digits: 1,
                unit: " ms",
            },
            Goal {
                what: "latency: share called to printed by watch elsewhere, p50".to_owned(),
                figure: printed.quantile(0.5),
                bar: MEDIAN_OF_WATCH,
                digits: 1,
                unit: " ms",
            },
        ],
    })
}

/// How long until `share` returned, and until the version was listed elsewhere.
async fn share(
    sharer: &Client,
    hearer: &Client,
    reference: String,
    number: u64,
) -> Result<(Duration, Duration)> {
    let begin = Instant::now();
    let returned = async {
        sharer
            .call(&pods::Share {
                reference,
                durable: false,
                consents: std::collections::BTreeSet::default(),
            })
            .await?;
        anyhow::Ok(begin.elapsed())
    };
    let listed = async {
        loop {
            let pods = hearer.call(&pods::ListPods {}).await?;
            if pods
                .iter()
                .flat_map(|pod| &pod.tips)
                .any(|tip| tip.number == Some(number))
            {
                return anyhow::Ok(begin.elapsed());
            }
            tokio::time::sleep(LIST_POLL).await;
        }
    };
    let both = async { tokio::try_join!(returned, listed) };
    let both = tokio::time::timeout(PATIENCE, both).await;
    both.with_context(|| format!("orders:{number} was not heard of"))?
}
