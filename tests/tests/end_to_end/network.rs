//! The network changes during a pull: it continues by itself, ends complete, and accuses nobody.
//!
//! Machines are network namespaces. A pull is of 24 MB unless `PODSYNC_TEST_LARGE` is set: then it is of
//! 200 MB, and what is printed of seconds is held to the limits too.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Family, Home, Lan, fill, finish, same_tree};
use serde_json::Value;

const MB: usize = 1_000_000;
/// The rate of the puller's line, in Mbit/s.
const RATE: u32 = 40;
/// How long something that is to come by itself is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// In how many seconds `peers` and `status` have to tell the truth.
const TRUTH: Duration = Duration::from_secs(5);
/// What the headers of packets and the proofs of blobs add to a state at most, in percent.
const OVERHEAD: u64 = 10;

fn is_large() -> bool {
    std::env::var_os("PODSYNC_TEST_LARGE").is_some()
}

fn len() -> usize {
    if is_large() { 200 * MB } else { 24 * MB }
}

/// Bytes that may travel a second time.
fn again() -> u64 {
    if is_large() { 32 << 20 } else { 8 << 20 }
}

/// Alice has shared a state, and bob has joined her team and heard of it.
struct Scene {
    lan: Lan,
    alice: Home,
    bob: Home,
}

impl Scene {
    fn on(lan: Lan) -> Result<Self> {
        let mut alice = Home::within("alice", lan.prefix(1))?;
        let mut bob = Home::within("bob", lan.prefix(2))?;
        alice.found("payments")?;
        alice.start_with(&["daemon"], &[])?;
        bob.start_with(&["daemon"], &[])?;
        bob.join(&alice.invite(&[])?)?.ok()?;
        let mut scene = Self { lan, alice, bob };
        scene.share(len())?;
        Ok(scene)
    }

    fn share(&mut self, len: usize) -> Result<()> {
        let state = self.alice.scratch("state");
        fill(&state, 8, len / 8, 1)?;
        let from = state.to_string_lossy().into_owned();
        let save = ["save", "orders", "--share", "--from", &from];
        self.alice.run(&save)?.ok().map(drop)
    }

    /// Pulls, and has something happen when a third is there.
    fn pull(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<Value> {
        let before = self.lan.received(2)?;
        let pull = self.bob.spawn(&["pull", "orders"], &[])?;
        let third = len() as u64 / 3;
        let begun = until(PATIENCE, || {
            Ok((self.lan.received(2)? - before >= third).then_some(()))
        });
        begun.context("the pull didn't begin")?;
        change(self)?;
        self.ends_well(pull, before)
    }

    fn ends_well(&mut self, pull: Child, before: u64) -> Result<Value> {
        let pulled = finish(pull)?.ok()?;
        let travelled = self.lan.received(2)? - before;
        let most = len() as u64 * (100 + OVERHEAD) / 100 + again();
        println!("{travelled} bytes travelled for {}: {pulled}", len());
        ensure!(travelled <= most, "{travelled} bytes travelled, not {most}");
        let out = self.bob.scratch("out");
        self.bob
            .run(&["export", "orders", &out.to_string_lossy()])?
            .ok()?;
        same_tree(&self.alice.scratch("state"), &out)?;
        self.nobody_is_accused()?;
        Ok(pulled)
    }

    fn nobody_is_accused(&self) -> Result<()> {
        for home in [&self.alice, &self.bob] {
            let log = home.log();
            let accusing = [
                "hash is wrong",
                "wrong hash",
                "contradicts",
                "invalid",
                " ERROR ",
            ];
            let mut ours = log.lines().filter(|line| line.contains(" podsync"));
            let accused = ours.find(|line| accusing.iter().any(|word| line.contains(word)));
            ensure!(accused.is_none(), "{}: {accused:?}", home.name);
        }
        Ok(())
    }
}

/// Polls until there is a value.
fn until<T>(patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        ensure!(Instant::now() < end, "not seen within {patience:?}");
        // There is no event for it: this polls a program, or counts bytes.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a report is right.
fn told(what: &str, mut is_told: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    until(PATIENCE, || Ok(is_told()?.then_some(()))).context(what.to_owned())?;
    println!("{what} after {:.1} s", begun.elapsed().as_secs_f64());
    ensure!(
        !is_large() || begun.elapsed() <= TRUTH,
        "{what} after {:?}",
        begun.elapsed()
    );
    Ok(())
}

/// How `home` sees a teammate, by the beginning of its name.
fn peer(home: &Home, name: &str) -> Result<Value> {
    let peers = home.run(&["peers"])?.ok()?;
    let mut peers = peers.as_array().into_iter().flatten();
    let found = peers.find(|peer| {
        let named = peer["name"].as_str();
        named.is_some_and(|named| named.starts_with(name))
    });
    Ok(found.cloned().unwrap_or_default())
}

fn sees(home: &Home, name: &str, connected: bool) -> Result<bool> {
    Ok(peer(home, name)?["connected"] == connected)
}

/// Whether `home` is connected to a teammate that is at this address.
fn sees_at(home: &Home, name: &str, address: &str) -> Result<bool> {
    let peer = peer(home, name)?;
    Ok(peer["connected"] == true && peer["address"].to_string().contains(address))
}

fn listens_at(home: &Home, address: &str) -> Result<bool> {
    let status = home.run(&["status"])?.ok()?;
    Ok(status["listening"].to_string().contains(address))
}

/// Waits until both see each other at their present addresses.
fn see_each_other(scene: &Scene) -> Result<()> {
    told("alice sees bob", || sees(&scene.alice, "bob", true))?;
    told("bob sees alice", || sees(&scene.bob, "alice", true))
}

fn bridged() -> Result<Option<Scene>> {
    let Some(lan) = Lan::new(2)? else {
        return Ok(None);
    };
    let scene = Scene::on(lan)?;
    scene.lan.limit(1, RATE)?;
    Ok(Some(scene))
}

#[test]
fn the_receivers_address_changes() -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    scene.pull(|scene| {
        scene.lan.readdress(2, 102)?;
        told("bob's new address is told", || {
            Ok(listens_at(&scene.bob, "10.77.0.102")? && !listens_at(&scene.bob, "10.77.0.2/")?)
        })?;
        told("alice sees bob there", || {
            sees_at(&scene.alice, "bob", "10.77.0.102")
        })?;
        see_each_other(scene)
    })?;
    Ok(())
}

#[test]
fn the_senders_address_changes() -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    scene.pull(|scene| {
        scene.lan.readdress(1, 101)?;
        told("bob sees alice there", || {
            sees_at(&scene.bob, "alice", "10.77.0.101")
        })?;
        see_each_other(scene)
    })?;
    // Tickets name only what is there.
    let invited = scene.alice.run(&["team", "invite"])?.ok()?;
    let ticket = invited["ticket"].as_str().context("no ticket")?;
    let mut carol = Home::within("carol", scene.lan.prefix(2))?;
    scene.bob.stop()?;
    carol.start_with(&["daemon", "--no-mdns"], &[])?;
    carol.join(ticket)?.ok()?;
    Ok(())
}

#[test]
fn the_link_is_down_for_a_while() -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    scene.pull(|scene| {
        scene.lan.plug(2, false)?;
        let down = Instant::now();
        told("bob misses alice", || sees(&scene.bob, "alice", false))?;
        told("alice misses bob", || sees(&scene.alice, "bob", false))?;
        std::thread::sleep(Duration::from_secs(20).saturating_sub(down.elapsed()));
        scene.lan.plug(2, true)?;
        see_each_other(scene)
    })?;
    Ok(())
}

#[test]
fn the_provider_is_stopped_and_goes_on() -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    let long = Duration::from_secs(if is_large() { 60 } else { 30 });
    scene.pull(|scene| {
        scene.alice.signal("STOP")?;
        let stopped = Instant::now();
        told("bob misses alice", || sees(&scene.bob, "alice", false))?;
        std::thread::sleep(long.saturating_sub(stopped.elapsed()));
        scene.alice.signal("CONT")?;
        see_each_other(scene)
    })?;
    Ok(())
}

#[test]
fn both_sides_restart() -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    let before = scene.lan.received(2)?;
    let pull = scene.bob.spawn(&["pull", "orders"], &[])?;
    until(PATIENCE, || {
        Ok((scene.lan.received(2)? - before >= len() as u64 / 3).then_some(()))
    })?;
    scene.alice.kill()?;
    scene.bob.kill()?;
    // Its command went with the daemon; another one goes on where it was.
    let _ = finish(pull)?;
    scene.alice.start_with(&["daemon"], &[])?;
    scene.bob.start_with(&["daemon"], &[])?;
    see_each_other(&scene)?;
    let pull = scene.bob.spawn(&["pull", "orders"], &[])?;
    scene.ends_well(pull, before)?;
    Ok(())
}

/// From one network into another with other addresses, as from home to the office, behind a router.
#[test]
fn a_machine_goes_into_another_network() -> Result<()> {
    let Some(lan) = Lan::apart(2)? else {
        return Ok(());
    };
    let mut scene = Scene::on(lan)?;
    scene.lan.limit(1, RATE)?;
    scene.pull(|scene| {
        scene.lan.move_to(2, 4)?;
        told("bob's new address is told", || {
            Ok(listens_at(&scene.bob, "10.77.4.2")? && !listens_at(&scene.bob, "10.77.2.2")?)
        })?;
        told("alice sees bob there", || {
            sees_at(&scene.alice, "bob", "10.77.4.2")
        })
    })?;
    // And both within seconds: each finds the other where it is by then.
    scene.lan.move_to(2, 6)?;
    told("alice sees bob in the next network", || {
        sees_at(&scene.alice, "bob", "10.77.6.2")
    })?;
    scene.lan.move_to(1, 5)?;
    told("bob sees alice in another network", || {
        sees_at(&scene.bob, "alice", "10.77.5.2")
    })?;
    see_each_other(&scene)?;
    scene.nobody_is_accused()
}

/// Neither knows where the other one is now: multicast says it.
#[test]
fn both_addresses_change_at_once_on_one_network() -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    scene.pull(|scene| {
        scene.lan.readdress(1, 101)?;
        scene.lan.readdress(2, 102)?;
        told("bob sees alice there", || {
            sees_at(&scene.bob, "alice", "10.77.0.101")
        })?;
        told("alice sees bob there", || {
            sees_at(&scene.alice, "bob", "10.77.0.102")
        })
    })?;
    Ok(())
}

/// Neither knows where the other one is now, and no multicast passes: a third that both know says it.
#[test]
fn both_go_into_other_networks_at_once_and_a_third_stays() -> Result<()> {
    let Some(lan) = Lan::apart(3)? else {
        return Ok(());
    };
    let mut scene = Scene::on(lan)?;
    let mut carol = Home::within("carol", scene.lan.prefix(3))?;
    carol.start_with(&["daemon"], &[])?;
    carol.join(&scene.alice.invite(&[])?)?.ok()?;
    told("carol sees bob", || sees(&carol, "bob", true))?;
    scene.lan.limit(1, RATE)?;
    scene.pull(|scene| {
        scene.lan.move_to(1, 4)?;
        scene.lan.move_to(2, 5)?;
        told("bob sees alice there", || {
            sees_at(&scene.bob, "alice", "10.77.4.2")
        })?;
        told("alice sees bob there", || {
            sees_at(&scene.alice, "bob", "10.77.5.2")
        })
    })?;
    Ok(())
}

/// No multicast passes between the networks, and bob and carol know alice alone.
#[test]
fn two_who_both_know_a_third_meet_across_networks() -> Result<()> {
    let Some(lan) = Lan::apart(3)? else {
        return Ok(());
    };
    let mut scene = Scene::on(lan)?;
    let mut carol = Home::within("carol", scene.lan.prefix(3))?;
    carol.start_with(&["daemon"], &[])?;
    carol.join(&scene.alice.invite(&[])?)?.ok()?;
    told("carol sees bob", || sees(&carol, "bob", true))?;
    told("bob sees carol", || sees(&scene.bob, "carol", true))?;
    scene.alice.stop()?;
    let state = carol.scratch("state");
    fill(&state, 2, MB, 7)?;
    let from = state.to_string_lossy().into_owned();
    carol
        .run(&["save", "billing", "--share", "--from", &from])?
        .ok()?;
    scene.bob.run(&["pull", "billing"])?.ok()?;
    Ok(())
}

#[test]
fn there_is_only_ipv6() -> Result<()> {
    let Some(lan) = Lan::without_v4(2)? else {
        return Ok(());
    };
    let mut scene = Scene::on(lan)?;
    ensure!(listens_at(&scene.bob, "/ip6/fd77::2/tcp/7637")?);
    scene.lan.limit(1, RATE)?;
    scene.pull(|_| Ok(()))?;
    see_each_other(&scene)
}

/// Full packets vanish on the way, and nobody says so.
#[test]
fn the_path_takes_small_packets_only() -> Result<()> {
    let Some(lan) = Lan::through_a_narrow_wire(1280, Family::V4)? else {
        return Ok(());
    };
    let mut scene = Scene::on(lan)?;
    scene.lan.limit(1, RATE)?;
    scene.pull(|_| Ok(()))?;
    Ok(())
}

/// IPv6 routers never fragment packets.
#[test]
fn the_path_takes_small_packets_only_and_there_is_only_ipv6() -> Result<()> {
    let Some(lan) = Lan::through_a_narrow_wire(1280, Family::V6)? else {
        return Ok(());
    };
    let mut scene = Scene::on(lan)?;
    scene.lan.limit(1, RATE)?;
    scene.pull(|_| Ok(()))?;
    Ok(())
}

#[test]
fn one_packet_in_a_hundred_is_lost() -> Result<()> {
    packets_are_lost(10)
}

#[test]
fn one_packet_in_twenty_is_lost() -> Result<()> {
    packets_are_lost(50)
}

fn packets_are_lost(per_mille: u32) -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    scene.lan.lose(2, per_mille)?;
    scene.pull(|_| Ok(()))?;
    see_each_other(&scene)
}

/// A slow connection is not a dead one: no peer counts as lost while it is busy.
#[test]
fn the_line_is_slow() -> Result<()> {
    let Some(mut scene) = bridged()? else {
        return Ok(());
    };
    scene.lan.limit(1, 5)?;
    let before = connections(&scene.bob);
    scene.pull(|_| Ok(()))?;
    ensure!(connections(&scene.bob) == before, "it was connected anew");
    Ok(())
}

/// How often a home's daemon was connected to somebody.
fn connections(home: &Home) -> usize {
    home.log().matches(" connected ").count()
}

#[test]
fn clocks_are_hours_apart() -> Result<()> {
    let Some(lan) = Lan::new(2)? else {
        return Ok(());
    };
    let mut alice = Home::within("alice", lan.prefix(1))?;
    let mut bob = Home::within("bob", lan.prefix(2))?;
    let late = [("PODSYNC_TEST_CLOCK_S", "-10800")];
    alice.found("payments")?;
    alice.start_with(&["daemon"], &[])?;
    bob.start_with(&["daemon"], &late)?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    let mut scene = Scene { lan, alice, bob };
    scene.share(len())?;
    scene.lan.limit(1, RATE)?;
    scene.pull(|scene| {
        // Bob's record of his new address is three hours old by its date, and alice's is of the
        // future.
        scene.lan.readdress(2, 102)?;
        see_each_other(scene)?;
        scene.lan.readdress(1, 101)?;
        see_each_other(scene)
    })?;
    Ok(())
}

/// As on Monday at nine.
#[test]
fn twenty_five_daemons_start_at_once() -> Result<()> {
    const HOMES: usize = 25;
    let Some(lan) = Lan::new(HOMES as u8)? else {
        return Ok(());
    };
    let mut first = Home::within("m1", lan.prefix(1))?;
    first.found("payments")?;
    first.start_with(&["daemon"], &[])?;
    let ticket = first.invite(&["--uses", &HOMES.to_string()])?;
    let mut homes = vec![first];
    for number in 2..=HOMES {
        let mut home = Home::within(&format!("m{number}"), lan.prefix(number))?;
        home.start_with(&["daemon"], &[])?;
        home.join(&ticket)?.ok()?;
        let state = home.scratch("state");
        fill(&state, 1, 1000, number as u64)?;
        let (pod, from) = (format!("pod-{number}"), state.to_string_lossy());
        home.run(&["save", &pod, "--share", "--from", &from])?
            .ok()?;
        home.stop()?;
        homes.push(home);
    }
    homes[0].stop()?;

    let begun = Instant::now();
    std::thread::scope(|scope| {
        let starting = homes
            .iter_mut()
            .map(|home| scope.spawn(move || home.start_with(&["daemon"], &[])));
        let starting: Vec<_> = starting.collect();
        starting
            .into_iter()
            .try_for_each(|started| started.join().map_err(|_| anyhow::anyhow!("it panicked"))?)
    })?;
    println!("all serve after {:.1} s", begun.elapsed().as_secs_f64());
    let pods = |home: &Home| -> Result<usize> {
        let list = home.run(&["list"])?.ok()?;
        Ok(list.as_array().map_or(0, Vec::len))
    };
    for home in &homes {
        until(PATIENCE, || Ok((pods(home)? == HOMES - 1).then_some(())))
            .with_context(|| format!("{} hasn't heard of all", home.name))?;
    }
    println!("one catalog after {:.1} s", begun.elapsed().as_secs_f64());
    ensure!(!is_large() || begun.elapsed() < Duration::from_secs(10));
    for home in &homes {
        let status = home.run(&["status"])?.ok()?;
        let connected = status["peers_connected"].as_u64().unwrap_or(u64::MAX);
        let pid = home.daemon_id().context("no daemon")?;
        let kib = resident_kib(pid)?;
        println!("{}: {connected} connections, {kib} KiB", home.name);
        ensure!((1..=24).contains(&connected) && kib < 200 << 10);
    }
    Ok(())
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.context("no VmRSS")?.parse()?)
}

/// How far a stranger goes before it says nothing more.
const STALLS: [(&str, &[u8]); 3] = [
    ("in TCP", b""),
    // Multistream-select is spoken, Noise is agreed on, and then nothing comes.
    ("in Noise", b"\x13/multistream/1.0.0\n\x07/noise\n"),
    // Noise is begun: its first message is 32 bytes of a key, behind their length.
    (
        "in the handshake of Noise",
        b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20aaaabbbbccccddddeeeeffffgggghhhh",
    ),
];

#[test]
fn five_hundred_strangers_stall_and_members_get_in() -> Result<()> {
    const STRANGERS: usize = 500;
    let (mut alice, mut bob) = crate::share::alice_and_bob()?;
    bob.stop()?;
    let address = alice.address()?;
    let port: u16 = address
        .split('/')
        .nth(4)
        .context("no port")?
        .parse()
        .context(address.clone())?;
    for (stage, words) in STALLS {
        let mut strangers = Vec::new();
        for _ in 0..STRANGERS {
            strangers.push(stall(port, words)?);
        }
        let begun = Instant::now();
        bob.start(&[&alice])?;
        until(PATIENCE, || Ok(sees(&alice, "bob", true)?.then_some(())))
            .with_context(|| format!("strangers who stall {stage} keep bob out"))?;
        let took = begun.elapsed();
        println!(
            "bob got in after {:.1} s beside {STRANGERS} who stall {stage}",
            took.as_secs_f64()
        );
        ensure!(!is_large() || took < Duration::from_secs(2));
        let kept = strangers.iter().filter(|stream| is_open(stream)).count();
        println!("{kept} of them are still there");
        ensure!(kept <= 200, "{kept} strangers have a place");
        bob.stop()?;
    }
    alice.stop()?;
    Ok(())
}

fn stall(port: u16, words: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(words)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn is_open(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 256];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
