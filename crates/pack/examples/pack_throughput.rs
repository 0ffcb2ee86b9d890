//! How fast a state is saved and rebuilt: `pack_throughput PATH WORK` for a file or folder of your own.
//!
//! Saves it, changes 5 % of its largest file in 16 places (and takes that back), saves again on top of
//! the first, rebuilds the first as a zip and checks it. Packs are synced like the daemon's.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement has nobody to report an error to"
)]

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

use podsync_core::manifest::{Manifest, PackRef, Source as StateSource};
use podsync_pack::{
    Base, ChunkIndex, PackReader, PackSink, SaveOptions, Saved, SavedState, Source, Version, save,
};

const MIB: f64 = (1 << 20) as f64;
const PLACES: u64 = 16;

fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(path), Some(work)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: pack_throughput PATH WORK");
        std::process::exit(2);
    };
    let mut packs = Packs(work);
    fs::create_dir_all(&packs.0).unwrap();

    let (first, saved) = measured("save", || save_state(&path, &[], &mut packs));
    println!(
        "  {} packs, {:.1} MiB sealed of {:.1}",
        saved.packs.len(),
        saved.stats.sealed_new as f64 / MIB,
        saved.state_len as f64 / MIB
    );
    measured("save again, unchanged", || {
        save_state(&path, &[&first], &mut packs)
    });

    let file = largest(&path);
    let changed = change(&file);
    let (_, second) = measured("save again, 5 % changed", || {
        save_state(&path, &[&first], &mut packs)
    });
    let ratio = second.stats.sealed_new as f64 / changed as f64;
    println!(
        "  {:.2} MiB changed, {:.2} MiB sealed: {ratio:.3}",
        changed as f64 / MIB,
        second.stats.sealed_new as f64 / MIB
    );
    change(&file);

    let version = Version::new(&first, &packs);
    measured("verify", || {
        ((), version.verify(&()).map(|()| saved.state_len).unwrap())
    });
    measured("rebuild a zip", || {
        version.to_zip(&mut Sink, &()).unwrap();
        ((), saved.state_len)
    });
    let folder = packs.0.join("rebuilt");
    if version.to_folder(&folder, &()).is_ok() {
        fs::remove_dir_all(&folder).unwrap();
        measured("rebuild a folder", || {
            version.to_folder(&folder, &()).unwrap();
            ((), saved.state_len)
        });
        fs::remove_dir_all(&folder).unwrap();
    }
    println!("peak memory {:.0} MiB", status("VmHWM:") / 1024.0);
}

/// Prints what `work` cost; its second value has the bytes it went through.
fn measured<T, B: Bytes>(what: &str, work: impl FnOnce() -> (T, B)) -> (T, B) {
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let done = work();
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let bytes = done.1.bytes() as f64;
    println!(
        "{what}: {:.0} MB/s, {wall:.2} s, {:.2} cores, {:.2} CPU-s/GiB",
        bytes / 1e6 / wall,
        cpu / wall,
        cpu * 1024.0 * MIB / bytes
    );
    done
}

trait Bytes {
    fn bytes(&self) -> u64;
}

impl Bytes for u64 {
    fn bytes(&self) -> u64 {
        *self
    }
}

impl Bytes for SavedState {
    fn bytes(&self) -> u64 {
        self.state_len
    }
}

fn save_state(path: &Path, parents: &[&Manifest], packs: &mut Packs) -> (Manifest, SavedState) {
    let reader = Packs(packs.0.clone());
    let index = ChunkIndex::new(parents, &reader, &packs.0).unwrap();
    let base = Base {
        chunks: &index,
        packs: &reader,
    };
    let options = SaveOptions {
        spool: &reader.0,
        unless: None,
        allow_secrets: false,
    };
    let mut random = File::open("/dev/urandom").unwrap();
    let mut entropy = || {
        let mut key = [0; 32];
        io::Read::read_exact(&mut random, &mut key).unwrap();
        key
    };
    let saved = save(
        Source::open(path).unwrap(),
        base,
        packs,
        &options,
        &mut entropy,
        &(),
    )
    .unwrap();
    let Saved::Version(saved) = saved else {
        unreachable!("nothing says that it is unchanged")
    };
    let manifest = Manifest {
        pod: "bench".parse().unwrap(),
        parents: Vec::new(),
        message: String::new(),
        source: StateSource {
            emulator: None,
            services: Vec::new(),
        },
        created_ms: 0,
        container: saved.container,
        state_len: saved.state_len,
        entry_count: saved.entry_count,
        content: saved.content,
        entries: saved.entries.clone(),
        chunks: saved.chunks.clone(),
        packs: saved.packs.clone(),
    };
    (manifest, saved)
}

struct Packs(PathBuf);

impl PackSink for Packs {
    fn create(&mut self) -> io::Result<File> {
        File::create(self.0.join("writing"))
    }

    fn finish(&mut self, file: File, pack: &PackRef) -> io::Result<()> {
        file.sync_data()?;
        fs::rename(self.0.join("writing"), self.0.join(pack.id.to_string()))
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PackReader for Packs {
    fn read(&self, pack: &PackRef, offset: u64, into: &mut [u8]) -> io::Result<()> {
        File::open(self.0.join(pack.id.to_string()))?.read_exact_at(into, offset)
    }
}

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn largest(path: &Path) -> PathBuf {
    if path.is_file() {
        return path.to_owned();
    }
    let files = fs::read_dir(path)
        .unwrap()
        .map(|child| child.unwrap().path())
        .filter(|path| path.is_file());
    files
        .max_by_key(|path| path.metadata().unwrap().len())
        .expect("the folder has a file at its top")
}

/// Inverts 5 % of the file in 16 places; done twice, the file is what it was.
fn change(path: &Path) -> u64 {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let piece = len / 20 / PLACES;
    let mut bytes = vec![0; piece as usize];
    for place in 0..PLACES {
        let at = len / PLACES * place + len / PLACES / 3;
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        file.write_all_at(&bytes, at).unwrap();
    }
    piece * PLACES
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn status(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
