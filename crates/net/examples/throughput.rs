//! Moves one blob between two processes over loopback and prints MB/s and CPU-seconds per GiB.
//!
//! `cargo run --release --example throughput -p podsync-net [MIB] [tcp|quic]`

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use iroh_blobs::store::fs::FsStore;
use podsync_core::{BlobId, DeviceId};
use podsync_net::{BlobRange, Gate, Multiaddr, Net, NetConfig, NetEvent};
use tokio_util::sync::CancellationToken;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MIB: usize = 1024 * 1024;

struct Everybody;

impl Gate for Everybody {
    fn is_member(&self, _: DeviceId) -> bool {
        true
    }

    fn may_fetch(&self, _: DeviceId, _: BlobId) -> bool {
        true
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    podsync_net::install_crypto();
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "provide") {
        return provide(args[1].parse()?).await;
    }
    let mib = args.first().map_or(Ok(1024), |mib| mib.parse())?;
    let quic = args.get(1).is_some_and(|transport| transport == "quic");
    fetch(mib, quic).await
}

/// Prints the blob, its length and the addresses; serves until stdin ends; prints its CPU time.
async fn provide(mib: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = FsStore::load(dir.path()).await?;
    let tag = store.blobs().add_bytes(noise(mib * MIB)).await?;
    let cancel = CancellationToken::new();
    let (net, mut events) = Net::spawn(
        &NetConfig::loopback(),
        [1; 32],
        (*store).clone(),
        Arc::new(Everybody),
        cancel.clone(),
    )?;
    let before = cpu_seconds()?;
    println!("{}", net.device());
    println!("{}", BlobId::from_bytes(*tag.hash.as_bytes()));
    for _ in 0..2 {
        if let Some(NetEvent::Listening { addr }) = events.recv().await {
            println!("{addr}");
        }
    }
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    println!("{}", cpu_seconds()? - before);
    cancel.cancel();
    net.stopped().await;
    Ok(())
}

async fn fetch(mib: usize, quic: bool) -> Result<()> {
    let mut provider = Command::new(env::current_exe()?)
        .args(["provide", &mib.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(provider.stdout.take().ok_or("no stdout")?).lines();
    let mut next = || {
        lines
            .next()
            .ok_or("the provider ended")
            .map_err(Box::<dyn Error>::from)
    };
    let device: DeviceId = next()??.parse()?;
    let blob: BlobId = next()??.parse()?;
    let addrs: Vec<Multiaddr> = vec![next()??.parse()?, next()??.parse()?];
    let addrs = addrs
        .into_iter()
        .filter(|addr| addr.to_string().contains("quic") == quic)
        .collect();

    let dir = tempfile::tempdir()?;
    let store = FsStore::load(dir.path()).await?;
    let cancel = CancellationToken::new();
    let (net, mut events) = Net::spawn(
        &NetConfig::loopback(),
        [2; 32],
        (*store).clone(),
        Arc::new(Everybody),
        cancel.clone(),
    )?;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    net.connect(device, addrs).await?;

    let (before, started) = (cpu_seconds()?, Instant::now());
    let stats = net
        .fetch(device, &BlobRange::whole(blob, (mib * MIB) as u64), |_| ())
        .await?;
    let (took, ours) = (started.elapsed().as_secs_f64(), cpu_seconds()? - before);
    provider.stdin.take().ok_or("no stdin")?.write_all(b"\n")?;
    let theirs: f64 = next()??.parse()?;
    provider.wait()?;
    let gib = mib as f64 / 1024.0;
    println!(
        "{:.0} MB/s, {:.2} CPU-s/GiB ({:.2} fetching, {:.2} providing), {:.1} MB resident at most",
        stats.payload as f64 / took / 1e6,
        (ours + theirs) / gib,
        ours / gib,
        theirs / gib,
        peak_resident_mb()?,
    );
    cancel.cancel();
    net.stopped().await;
    store.shutdown().await?;
    Ok(())
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// User and system time of this process, from `/proc`: at 100 ticks a second on Linux.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn peak_resident_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .ok_or("no peak in /proc")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}
