//! A save of a state of which a part compresses, into a home that knows nothing of it.

use anyhow::Result;

use super::{SIDES, Side, size_in_words};
use crate::{
    Setup, homes,
    measure::{Samples, timed},
    peers,
    report::{Bar, Goal, Report},
    states,
};

const BESIDE_TAR_ZSTD: Bar = Bar::AtLeast(0.6);
const CORES: Bar = Bar::AtLeast(1.6);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let (state, archive) = (
        scratch.path().join("state"),
        scratch.path().join("state.tar.zst"),
    );
    states::mixed(&state, setup.size, 3)?;
    let missing = peers::missing(&["tar", "zstd"]);

    let (mut podsync, mut peer, mut beside) = <(Side, Side, Samples)>::default();
    let (mut packed, mut archived) = (0, 0);
    for _ in 0..setup.pairs {
        let alice = homes::found(setup)?;
        let (ran, cost) = timed(&[alice.daemon()?], || alice.save("orders", &state))?;
        packed = ran.answer.new_len;
        let len = ran.answer.state_len;
        podsync.push(cost, len, &[alice.peak()?, ran.peak.bytes()]);
        drop(alice);
        if missing.is_none() {
            let turn = peers::tar_zstd(&state, &archive)?;
            archived = std::fs::metadata(&archive)?.len();
            std::fs::remove_file(&archive)?;
            peer.push(turn.cost, len, &turn.peaks);
            beside.push(turn.cost.wall / cost.wall);
        }
    }

    let mut lines = vec![podsync.line("podsync save (daemon, command)")];
    let share = |len: u64| 100.0 * len as f64 / setup.size as f64;
    let mut notes = vec![format!(
        "podsync packs it into {:.1} % of its size.",
        share(packed)
    )];
    let mut goals = vec![Goal {
        what: "save: cores used".to_owned(),
        figure: podsync.cores.median(),
        bar: CORES,
        digits: 2,
        unit: "",
    }];
    match missing {
        Some(program) => notes.push(format!("Without tar | zstd: there is no {program} here.")),
        None => {
            lines.push(peer.line("tar | zstd -1 -T0 (tar, zstd)"));
            notes.push(format!(
                "tar | zstd packs it into {:.1} %.",
                share(archived)
            ));
            notes.push(format!("podsync / tar | zstd: {beside:.2}"));
            goals.push(Goal {
                what: "save: rate beside tar | zstd -1 -T0".to_owned(),
                figure: beside.median(),
                bar: BESIDE_TAR_ZSTD,
                digits: 2,
                unit: " x",
            });
        }
    }
    let title = format!("Save of {}, a third of it noise", size_in_words(setup.size));
    Ok(Report {
        title,
        head: SIDES.to_vec(),
        lines,
        notes,
        goals,
    })
}
