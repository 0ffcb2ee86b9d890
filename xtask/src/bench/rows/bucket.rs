//! An upload to a bucket and a download from it, beside the programs that people copy files to S3 with.
//!
//! All of them meet the same server. podsync uploads what it has packed before, as they upload a file; its
//! download is verified, stored and synced, theirs is a synced file.

use anyhow::Result;

use super::{SIDES, Side, size_in_words};
use crate::bench::{
    Ground, homes,
    measure::{Cost, Samples, timed},
    peers::{self, Copier, Turn},
    report::{Bar, Goal, Report},
    servers::Kind,
    states,
};

const BESIDE_AWS: f64 = 1.5;
const BESIDE_RCLONE: f64 = 1.0;
/// How often a changed state has the size of a copied one, and where it changes.
const CHANGED: u64 = 2;
const PLACES: u64 = 16;
/// What a pack is filled to.
const PACK_LEN: u64 = 32 << 20;
const SENT_PER_CHANGED: Bar = Bar::AtMost(1.15);

pub(crate) fn measure(ground: &Ground) -> Result<Report> {
    let mut report = Report {
        title: format!(
            "A bucket: upload and download of {}, incompressible",
            size_in_words(ground.size)
        ),
        head: SIDES.to_vec(),
        lines: Vec::new(),
        notes: vec![
            "CPU and memory are the clients': daemon and command, aws, rclone. The servers' are not in it."
                .to_owned(),
        ],
        goals: Vec::new(),
    };
    for copier in Copier::ALL {
        if let Some(program) = peers::missing(&[copier.program()]) {
            let name = copier.name();
            report
                .notes
                .push(format!("Not beside {name}: there is no {program} here."));
        }
    }
    for kind in Kind::ALL {
        if kind.is_here() {
            copies(ground, kind, &mut report)?;
        } else {
            let name = kind.name();
            report.notes.push(format!(
                "Not on {name}: it isn't here (`cargo xtask garage` builds it)."
            ));
        }
    }
    change(ground, &mut report)?;
    Ok(report)
}

/// One way through the bucket: podsync's turns, and each copier's with podsync's rate beside it.
#[derive(Default)]
struct Way {
    podsync: Side,
    copiers: [(Side, Samples); Copier::ALL.len()],
}

impl Way {
    fn push(&mut self, copier: usize, turn: &Turn, podsync: Cost, bytes: u64) {
        let (side, beside) = &mut self.copiers[copier];
        side.push(turn.cost, bytes, &turn.peaks);
        beside.push(turn.cost.wall / podsync.wall);
    }

    fn report(&self, way: &str, kind: Kind, report: &mut Report) {
        let on = kind.name();
        let line = |side: &Side, who: &str| side.line(&format!("{way}, {on}: {who}"));
        report
            .lines
            .push(line(&self.podsync, "podsync (daemon, command)"));
        for (copier, (side, beside)) in Copier::ALL.into_iter().zip(&self.copiers) {
            if beside.is_empty() {
                continue;
            }
            let name = copier.name();
            report.lines.push(line(side, name));
            report
                .notes
                .push(format!("{way}, {on}: podsync / {name}: {beside:.2}"));
            report.goals.push(Goal {
                what: format!("bucket: {way}, {on}: rate beside {name}"),
                figure: beside.median(),
                bar: Bar::AtLeast(match copier {
                    Copier::Aws => BESIDE_AWS,
                    Copier::Rclone => BESIDE_RCLONE,
                }),
                digits: 2,
                unit: " x",
            });
        }
    }
}

fn copies(ground: &Ground, kind: Kind, report: &mut Report) -> Result<()> {
    let scratch = tempfile::tempdir_in(ground.folder.path())?;
    let (state, copy) = (
        scratch.path().join("state.bin"),
        scratch.path().join("copy"),
    );
    states::noise(&state, ground.size, 11)?;
    let here = Copier::ALL.map(|copier| peers::missing(&[copier.program()]).is_none());
    let copiers = || {
        Copier::ALL
            .into_iter()
            .enumerate()
            .filter(|(at, _)| here[*at])
    };
    let (mut up, mut down) = <(Way, Way)>::default();
    for _ in 0..ground.pairs {
        let mut alice = homes::found(ground)?;
        alice.save_and_share("orders", &state)?;
        // What uploading costs in memory, not what saving did.
        alice.restart()?;
        let server = kind.start(ground, &alice.team()?)?;
        let (ran, cost) = timed(&[alice.daemon()?], || {
            alice.set_hub(&server.url)?;
            alice.share_durably("orders")
        })?;
        let peaks = [alice.peak()?, ran.peak.bytes()];
        up.podsync.push(cost, ground.size, &peaks);
        for (at, copier) in copiers() {
            let turn = copier.upload(&state, &server.bucket)?;
            up.push(at, &turn, cost, ground.size);
        }

        let bob = homes::join(ground, "bob", &[&alice])?;
        let (ran, cost) = timed(&[bob.daemon()?], || bob.pull_from_bucket("orders"))?;
        let peaks = [bob.peak()?, ran.peak.bytes()];
        down.podsync.push(cost, ground.size, &peaks);
        drop(bob);
        for (at, copier) in copiers() {
            let turn = copier.download(&state, &server.bucket, &copy)?;
            down.push(at, &turn, cost, ground.size);
        }
    }
    up.report("upload", kind, report);
    down.report("download", kind, report);
    Ok(())
}

/// What a second version puts, where 5 % of the state changed.
fn change(ground: &Ground, report: &mut Report) -> Result<()> {
    let scratch = tempfile::tempdir_in(ground.folder.path())?;
    let state = scratch.path().join("state.bin");
    let size = CHANGED * ground.size;
    states::noise(&state, size, 13)?;
    let alice = homes::found(ground)?;
    let server = Kind::Embedded.start(ground, &alice.team()?)?;
    alice.set_hub(&server.url)?;
    let put = || -> Result<Put> {
        let saved = alice.save_and_share("orders", &state)?;
        alice.share_durably(&saved.answer.reference)?;
        let (packs, bytes) = server.objects("packs")?;
        let (outboards, _) = server.objects("outboards")?;
        let (manifests, _) = server.objects("manifests")?;
        Ok(Put {
            packs,
            bytes,
            others: outboards + manifests,
        })
    };
    let first = put()?;
    let part = size / 20 / PLACES;
    let changed = states::change(&state, PLACES, part as usize, 17)?;
    let second = put()?.since(&first);
    for (version, put) in [("the first version", &first), ("the second", &second)] {
        report.notes.push(format!(
            "{} with 5 % changed in {PLACES} places, {version}: {} PUTs of packs, {:.2} MB, and {} of other objects",
            size_in_words(size),
            put.packs,
            put.bytes as f64 / 1e6,
            put.others
        ));
    }
    let packs = |what: &str, put: &Put, bytes: u64| Goal {
        what: format!("bucket: PUTs of packs, {what}"),
        figure: put.packs as f64,
        bar: Bar::AtMost(bytes.div_ceil(PACK_LEN) as f64),
        digits: 0,
        unit: "",
    };
    report.goals.extend([
        packs("a first version", &first, size),
        packs("5 % changed", &second, changed),
        Goal {
            what: "bucket: bytes of packs put per byte changed".to_owned(),
            figure: second.bytes as f64 / changed as f64,
            bar: SENT_PER_CHANGED,
            digits: 3,
            unit: " x",
        },
    ]);
    Ok(())
}

/// What lies in a bucket.
struct Put {
    packs: u64,
    bytes: u64,
    others: u64,
}

impl Put {
    fn since(&self, before: &Self) -> Self {
        Self {
            packs: self.packs - before.packs,
            bytes: self.bytes - before.bytes,
            others: self.others - before.others,
        }
    }
}
