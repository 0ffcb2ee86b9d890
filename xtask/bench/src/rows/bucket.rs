//! An upload to a bucket and a download from it, beside the programs that people copy files to S3 with.
//!
//! All of them meet the same server. podsync uploads what it has packed before, as they upload a file; its
//! download is verified, stored and synced, theirs is a synced file.

use std::time::Instant;

use anyhow::Result;

use super::{SIDES, Side, in_turn, size_in_words};
use crate::{
    Setup, homes,
    measure::{Cost, GIB, Samples, timed},
    peers::{self, Copier, Turn},
    report::{Bar, Goal, Report},
    servers::{Arriving, Kind, Server},
    states,
};

const DOWNLOAD_BESIDE_AWS: f64 = 1.5;
const UPLOAD_BESIDE_AWS: f64 = 1.8;
/// Servers by others spend more than both clients, so less is left to win.
const UPLOAD_BESIDE_AWS_ELSEWHERE: f64 = 1.2;
const BESIDE_RCLONE: f64 = 1.0;
/// From the command until the bucket's server has the first byte, in milliseconds.
const FIRST_BYTE: Bar = Bar::AtMost(200.0);
const UPLOAD: &str = "upload";
const DOWNLOAD: &str = "download";
/// How often a changed state has the size of a copied one, and where it changes.
const CHANGED: u64 = 2;
const PLACES: u64 = 16;
/// What a pack is filled to.
const PACK_LEN: u64 = 32 << 20;
const SENT_PER_CHANGED: Bar = Bar::AtMost(1.15);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let mut report = Report {
        title: format!(
            "A bucket: upload and download of {}, incompressible",
            size_in_words(setup.size)
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
            copies(setup, kind, &mut report)?;
        } else {
            let (name, hint) = (kind.name(), kind.hint());
            report.notes.push(format!("Not on {name}: {hint}."));
        }
    }
    change(setup, &mut report)?;
    Ok(report)
}

/// One way through the bucket: podsync's turns, and each copier's with podsync's rate beside it.
#[derive(Default)]
struct Way {
    podsync: Side,
    /// CPU-seconds of the server a GiB that goes to podsync or comes from it.
    served: Samples,
    copiers: [Beside; Copier::ALL.len()],
}

#[derive(Default)]
struct Beside {
    side: Side,
    ratio: Samples,
    served: Samples,
}

/// What was measured, and the CPU-seconds of the server meanwhile.
struct Served<T>(T, f64);

impl<T> Served<T> {
    fn by(server: &Server, work: impl FnOnce() -> Result<T>) -> Result<Self> {
        let before = server.process().cpu_seconds()?;
        let done = work()?;
        Ok(Self(done, server.process().cpu_seconds()? - before))
    }
}

impl Way {
    fn push(
        &mut self,
        Served(cost, served): Served<Cost>,
        peaks: [u64; 2],
        copied: Vec<(usize, Served<Turn>)>,
        bytes: u64,
    ) {
        let per_gib = |seconds: f64| seconds / (bytes as f64 / GIB);
        self.podsync.push(cost, bytes, &peaks);
        self.served.push(per_gib(served));
        for (copier, Served(turn, served)) in copied {
            let beside = &mut self.copiers[copier];
            beside.side.push(turn.cost, bytes, &turn.peaks);
            beside.ratio.push(turn.cost.wall / cost.wall);
            beside.served.push(per_gib(served));
        }
    }

    fn report(&self, way: &str, kind: Kind, report: &mut Report) {
        let on = kind.name();
        let line = |side: &Side, who: &str| side.line(&format!("{way}, {on}: {who}"));
        report
            .lines
            .push(line(&self.podsync, "podsync (daemon, command)"));
        let mut served = format!(
            "{way}, {on}: the server's own CPU-s a GiB: podsync {:.2}",
            self.served
        );
        for (copier, beside) in Copier::ALL.into_iter().zip(&self.copiers) {
            if beside.ratio.is_empty() {
                continue;
            }
            let name = copier.name();
            report.lines.push(line(&beside.side, name));
            report.notes.push(format!(
                "{way}, {on}: podsync / {name}: {:.2}",
                beside.ratio
            ));
            served.push_str(&format!(", {name} {:.2}", beside.served));
            report.goals.push(Goal {
                what: format!("bucket: {way}, {on}: rate beside {name}"),
                figure: beside.ratio.median(),
                bar: Bar::AtLeast(match (copier, way) {
                    (Copier::Aws, UPLOAD) if kind.is_embedded() => UPLOAD_BESIDE_AWS,
                    (Copier::Aws, UPLOAD) => UPLOAD_BESIDE_AWS_ELSEWHERE,
                    (Copier::Aws, _) => DOWNLOAD_BESIDE_AWS,
                    (Copier::Rclone, _) => BESIDE_RCLONE,
                }),
                digits: 2,
                unit: " x",
            });
        }
        report.notes.push(served);
    }
}

fn copies(setup: &Setup, kind: Kind, report: &mut Report) -> Result<()> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    states::noise(&state, setup.size, 11)?;
    let here = Copier::ALL.map(|copier| peers::missing(&[copier.program()]).is_none());
    let copiers = || {
        Copier::ALL
            .into_iter()
            .enumerate()
            .filter(|(at, _)| here[*at])
    };
    let (mut up, mut down) = <(Way, Way)>::default();
    let mut first_byte = Samples::default();
    for turn in 0..setup.pairs {
        let podsync_first = turn % 2 == 0;
        // Files of a turn stay until its end, so that no side gets memory that the other has just freed.
        let copies = tempfile::tempdir_in(setup.folder.path())?;
        let mut alice = homes::found(setup)?;
        alice.save("orders", &state)?;
        // What uploading costs in memory, not what saving did.
        alice.restart()?;
        let server = kind.start(setup, &alice.team()?)?;
        // The hub makes the bucket, which all of them copy to.
        alice.set_hub(&server.url)?;
        let daemon = alice.daemon()?;
        let (Served((ran, cost), served), copied) = in_turn(
            podsync_first,
            || {
                Served::by(&server, || {
                    timed(&[daemon], || {
                        let (begun, arriving) = (Instant::now(), server.first_upload());
                        let ran = alice.share_durably("orders")?;
                        if let Some(first) = arriving.and_then(Arriving::seen) {
                            first_byte.push(first.duration_since(begun).as_secs_f64() * 1e3);
                        }
                        Ok(ran)
                    })
                })
            },
            || {
                let upload = |(at, copier): (usize, Copier)| {
                    let turn = Served::by(&server, || copier.upload(&state, &server.bucket))?;
                    Ok((at, turn))
                };
                copiers().map(upload).collect::<Result<Vec<_>>>()
            },
        )?;
        let peaks = [alice.peak()?, ran.peak.bytes()];
        up.push(Served(cost, served), peaks, copied, setup.size);

        let bob = homes::join(setup, "bob", &[&alice])?;
        let daemon = bob.daemon()?;
        let (Served((ran, cost), served), copied) = in_turn(
            podsync_first,
            || {
                Served::by(&server, || {
                    timed(&[daemon], || bob.pull_from_bucket("orders"))
                })
            },
            || {
                let download = |(at, copier): (usize, Copier)| {
                    let copy = copies.path().join(copier.program());
                    let turn =
                        Served::by(&server, || copier.download(&state, &server.bucket, &copy))?;
                    Ok((at, turn))
                };
                copiers().map(download).collect::<Result<Vec<_>>>()
            },
        )?;
        let peaks = [bob.peak()?, ran.peak.bytes()];
        down.push(Served(cost, served), peaks, copied, setup.size);
    }
    up.report(UPLOAD, kind, report);
    down.report(DOWNLOAD, kind, report);
    report.goals.extend(until_first_byte(kind, &first_byte));
    Ok(())
}

/// None where nobody looked out for it.
fn until_first_byte(kind: Kind, took: &Samples) -> Option<Goal> {
    (!took.is_empty()).then(|| Goal {
        what: format!("bucket: {UPLOAD}, {}: until its first byte", kind.name()),
        figure: took.median(),
        bar: FIRST_BYTE,
        digits: 0,
        unit: " ms",
    })
}

/// What a second version puts, where 5 % of the state changed.
fn change(setup: &Setup, report: &mut Report) -> Result<()> {
    let scratch = tempfile::tempdir_in(setup.folder.path())?;
    let state = scratch.path().join("state.bin");
    let size = CHANGED * setup.size;
    states::noise(&state, size, 13)?;
    let alice = homes::found(setup)?;
    let server = Kind::Embedded.start(setup, &alice.team()?)?;
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
