//! Programs that answer as podsync does where a release is made of them, and a server for a folder.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Result, ensure};

const SOURCE: &str = r##"
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--version"] => println!("podsync VERSION"),
        ["completions", shell] => println!("# for {shell}"),
        ["man", folder] => std::fs::write(format!("{folder}/podsync.1"), ".TH podsync 1").expect("a folder"),
        // Until its standard input is closed.
        ["daemon"] => drop(std::io::stdin().read_line(&mut String::new())),
        _ => std::process::exit(2),
    }
}
"##;
/// Where an ELF file says which machine it is for.
const MACHINE: usize = 18;

/// `podsync` and `podsync-hub`, as real ELF files.
pub(crate) struct Binaries(tempfile::TempDir);

impl Binaries {
    pub(crate) fn build(version: &str) -> Result<Self> {
        let binaries = Self(tempfile::tempdir()?);
        let source = binaries.0.path().join("source.rs");
        fs::write(&source, SOURCE.replace("VERSION", version))?;
        let ended = Command::new("rustc")
            .args(["--edition", "2024", "-Cstrip=symbols", "-o"])
            .arg(binaries.podsync())
            .arg(&source)
            .output()?;
        ensure!(ended.status.success(), "{ended:?}");
        fs::copy(binaries.podsync(), binaries.folder().join("podsync-hub"))?;
        Ok(binaries)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn podsync(&self) -> PathBuf {
        self.folder().join("podsync")
    }
}

/// The same program, said to be for aarch64, or for x86_64 if it is for that.
pub(crate) fn of_another_machine(program: &[u8]) -> Vec<u8> {
    const X86_64: u8 = 62;
    const AARCH64: u8 = 183;
    let mut other = program.to_vec();
    if let Some(machine) = other.get_mut(MACHINE) {
        *machine = if *machine == X86_64 { AARCH64 } else { X86_64 };
    }
    other
}

/// Serves the files of a folder on loopback until the test's process ends.
pub(crate) fn served(folder: PathBuf) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever went away needs no answer.
            let _ = answer(stream, &folder);
        }
    });
    Ok(url)
}

fn answer(mut stream: TcpStream, folder: &Path) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let name = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match fs::read(folder.join(name.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    Ok(stream.write_all(&body)?)
}
