//! The page's first view in a browser that runs: from going there until the pods are painted.

use anyhow::{Context, Result};
use podsync_api::pods;
use serde_json::json;

use crate::{
    Setup,
    chromium::Chromium,
    homes,
    measure::Samples,
    report::{Bar, Goal, Report},
    states,
};

const PODS: u64 = 1000;
const STATE_LEN: u64 = 512;
const VIEWS: u32 = 21;
const PAINTED: Bar = Bar::AtMost(200.0);

/// Milliseconds since the browser was told to go there until the pods were painted, and those for which the
/// daemon was asked for them.
const LOOK: &str = "
    const done = arguments[0];
    new PerformanceObserver((seen) => {
        const row = seen.getEntries().find((entry) => entry.element?.closest('.pod-row'));
        const asked = performance.getEntriesByType('resource').find(({ name }) => name.endsWith('/pods'));
        if (row) done([row.startTime, asked.duration]);
    }).observe({ type: 'largest-contentful-paint', buffered: true });
";

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let chromium = Chromium::start()?;
    let alice = homes::found(setup)?;
    fill(setup, &alice)?;

    let url = alice.page()?;
    let (page, _) = url.split_once('#').context("no token in the URL")?;
    chromium.go(&url)?;
    let (mut painted, mut asked) = (Samples::default(), Samples::default());
    for _ in 0..VIEWS {
        chromium.go("about:blank")?;
        chromium.go(page)?;
        let [when, answer]: [f64; 2] = serde_json::from_value(chromium.run(LOOK)?)?;
        painted.push(when);
        asked.push(answer);
    }

    let line = |name: &str, samples: &Samples| {
        let figures = [samples.median(), samples.min(), samples.max()];
        let figures = figures.map(|figure| format!("{figure:.0}"));
        [name.to_owned()].into_iter().chain(figures).collect()
    };
    Ok(Report {
        title: format!("The page's first view, {PODS} pods, {VIEWS} times"),
        head: vec!["milliseconds", "p50", "least", "most"],
        lines: vec![
            line("until the pods are painted", &painted),
            line("of these, the call that lists them", &asked),
        ],
        notes: Vec::new(),
        goals: vec![Goal {
            what: format!("the page's first view with {PODS} pods, p50"),
            figure: painted.median(),
            bar: PAINTED,
            digits: 0,
            unit: " ms",
        }],
    })
}

/// Shares a version of each pod.
fn fill(setup: &Setup, home: &homes::Home) -> Result<()> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    let client = home.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for number in 0..PODS {
        states::noise(&state, STATE_LEN, number)?;
        let save: pods::Save = serde_json::from_value(json!({
            "pod": format!("pod-{number}"),
            "message": format!("state {number}, after the checkout of three carts"),
            "from": { "path": &state },
            "services": [],
            "share": true,
        }))?;
        runtime.block_on(client.call(&save))?;
    }
    Ok(())
}
