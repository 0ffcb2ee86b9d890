//! A community LocalStack with our plugin, on 127.0.0.1 and in a folder of its own.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// LocalStack is up within seconds; a loaded machine gets more.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// The Python that runs LocalStack, as `cargo xtask test` sets it up. Where there is none the reason
/// is printed, never passed over in silence.
pub fn localstack_python() -> Option<PathBuf> {
    let python = std::env::var_os("PODSYNC_TEST_LOCALSTACK").map(PathBuf::from);
    if python.is_none() {
        eprintln!("NOT RUN: no LocalStack here (`cargo xtask test` sets PODSYNC_TEST_LOCALSTACK)");
    }
    python
}

pub struct LocalStack {
    child: Child,
    port: u16,
    python: PathBuf,
    /// The plugin's source, if it is another one than the installed.
    plugin: Option<PathBuf>,
    folder: TempDir,
}

impl LocalStack {
    pub fn start(python: &Path) -> Result<Self> {
        Self::run(python, None)
    }

    /// With the plugin in this folder of sources.
    pub fn start_with(python: &Path, plugin: &Path) -> Result<Self> {
        Self::run(python, Some(plugin))
    }

    fn run(python: &Path, plugin: Option<&Path>) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("podsync-localstack-")
            .tempdir()?;
        // Given back at once: LocalStack binds it itself.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut instance = Self {
            child: run(python, plugin, port, folder.path())?,
            port,
            python: python.to_owned(),
            plugin: plugin.map(Path::to_owned),
            folder,
        };
        instance.wait_until_healthy()?;
        Ok(instance)
    }

    /// Ends it, and starts another one in its place. A community LocalStack forgets everything.
    pub fn restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let plugin = self.plugin.as_deref();
        self.child = run(&self.python, plugin, self.port, self.folder.path())?;
        self.wait_until_healthy()
    }

    fn wait_until_healthy(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_PATIENCE {
            ensure!(
                self.child.try_wait()?.is_none(),
                "LocalStack ended at its start"
            );
            if self.answers() {
                return Ok(());
            }
            // A process that doesn't listen yet offers nothing to wait for.
            std::thread::park_timeout(Duration::from_millis(50));
        }
        anyhow::bail!("LocalStack doesn't answer")
    }

    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                stream,
                "GET /_localstack/health HTTP/1.0\r\nHost: localhost\r\n\r\n"
            )?;
            let mut answer = vec![0; 64];
            let len = stream.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
        };
        ask().is_ok_and(|answer| answer.contains(" 200 "))
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Fills it through the AWS API.
    pub fn fill(&self) -> Result<()> {
        self.script("fill").map(drop)
    }

    /// One queue with one message more than [`Self::fill`] made.
    pub fn fill_more(&self) -> Result<()> {
        self.script("more").map(drop)
    }

    /// So many random bytes in a bucket.
    pub fn fill_with_bytes(&self, len: u64) -> Result<()> {
        self.script_with(&["large", "--bytes", &len.to_string()])
            .map(drop)
    }

    /// So many objects in a bucket, each of `len` bytes, or of some five where that is less.
    pub fn fill_with_objects(&self, count: u32, len: u64) -> Result<()> {
        let (count, len) = (count.to_string(), len.to_string());
        self.script_with(&["many", "--objects", &count, "--bytes", &len])
            .map(drop)
    }

    /// A hash of all keys, lengths, ETags and times in S3.
    pub fn digest(&self) -> Result<String> {
        self.script("digest")
    }

    /// The bytes that its process has resident at most since it began.
    pub fn peak_memory(&self) -> Result<u64> {
        peak_memory(self.child.id())
    }

    /// Everything that the AWS API tells of it, canonically.
    pub fn dump(&self) -> Result<String> {
        self.script("dump")
    }

    fn script(&self, what: &str) -> Result<String> {
        self.script_with(&[what])
    }

    fn script_with(&self, what: &[&str]) -> Result<String> {
        let output = Command::new(&self.python)
            .arg(scripts().join("fill_and_compare.py"))
            .args(what)
            .args(["--endpoint", &self.endpoint()])
            .output()?;
        ensure!(
            output.status.success(),
            "{what:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn run(python: &Path, plugin: Option<&Path>, port: u16, folder: &Path) -> Result<Child> {
    let log = File::create(folder.join("log"))?;
    let mut command = Command::new(python);
    if let Some(plugin) = plugin {
        command.env("PYTHONPATH", plugin);
    }
    command
        .arg(scripts().join("run.py"))
        .env("LOCALSTACK_TEST_PORT", port.to_string())
        .env("LOCALSTACK_TEST_HOME", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", python.display()))
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most bytes that a process had resident since it began; 0 where the system doesn't tell.
pub fn peak_memory(process: u32) -> Result<u64> {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else {
        return Ok(0);
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    Ok(words.unwrap_or("0").parse::<u64>()? * 1024)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("localstack")
}
