//! The programs that podsync is measured beside, each doing its part of the work as well as it can.
//!
//! Their output is made durable within the time measured, as podsync's is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use xtask::tools::has;

use super::{
    measure::{Cost, Peak, Process, fsync, timed},
    ports::{free_port, wait_until_it_listens},
    servers::Bucket,
};

/// What socat reads and writes at once; larger gains nothing.
const SOCAT_BLOCK: &str = "262144";

/// One turn of a competitor: its cost, and the peak memory of each of its processes.
pub(super) struct Turn {
    pub(super) cost: Cost,
    pub(super) peaks: Vec<u64>,
}

/// The first of `programs` that isn't on this machine.
pub(super) fn missing(programs: &[&'static str]) -> Option<&'static str> {
    programs.iter().copied().find(|program| match *program {
        "socat" => !has("socat", &["-V"]),
        "nginx" => nginx().is_none(),
        other => !has(other, &["--version"]),
    })
}

/// A file over plain TCP to another file.
pub(super) fn socat(source: &Path, into: &Path) -> Result<Turn> {
    let port = free_port()?;
    let run = || {
        let mut receiver = Command::new("socat")
            .args(["-u", "-b", SOCAT_BLOCK])
            .arg(format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"))
            .arg(format!("CREATE:{}", into.display()))
            .spawn()?;
        let mut sender = Command::new("socat")
            .args(["-u", "-b", SOCAT_BLOCK])
            .arg(format!("OPEN:{},rdonly", source.display()))
            .arg(format!("TCP:127.0.0.1:{port},retry=1000,interval=0.01"))
            .spawn()?;
        let peaks = [
            Process(receiver.id()).follow(),
            Process(sender.id()).follow(),
        ];
        let (sent, received) = (sender.wait()?, receiver.wait()?);
        fsync(into)?;
        ensure!(
            sent.success() && received.success(),
            "socat failed: {sent}, {received}"
        );
        Ok(peaks)
    };
    let (peaks, cost) = timed(&[], run)?;
    let peaks = peaks.map(Peak::bytes).to_vec();
    whole(source, into)?;
    Ok(Turn { cost, peaks })
}

/// A tree into one compressed file.
pub(super) fn tar_zstd(source: &Path, into: &Path) -> Result<Turn> {
    let run = || {
        let mut tar = Command::new("tar")
            .args(["-cf", "-", "."])
            .current_dir(source)
            .stdout(Stdio::piped())
            .spawn()?;
        let stream = tar.stdout.take().context("tar has no stdout")?;
        let mut zstd = Command::new("zstd")
            .args(["-1", "-T0", "-q", "-f", "-o"])
            .arg(into)
            .stdin(stream)
            .spawn()?;
        let peaks = [Process(tar.id()).follow(), Process(zstd.id()).follow()];
        let (read, packed) = (tar.wait()?, zstd.wait()?);
        fsync(into)?;
        ensure!(
            read.success() && packed.success(),
            "tar | zstd failed: {read}, {packed}"
        );
        Ok(peaks)
    };
    let (peaks, cost) = timed(&[], run)?;
    let peaks = peaks.map(Peak::bytes).to_vec();
    Ok(Turn { cost, peaks })
}

/// An nginx of its own that serves one folder over TLS 1.3; ends with it.
pub(super) struct Nginx {
    child: Child,
    port: u16,
    certificate: PathBuf,
}

impl Nginx {
    /// Keeps its configuration and its certificate in `scratch`.
    pub(super) fn start(serves: &Path, scratch: &Path) -> Result<Self> {
        fs::create_dir_all(scratch)?;
        let (certificate, key) = (scratch.join("certificate.pem"), scratch.join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.key_pair.serialize_pem())?;
        let port = free_port()?;
        let config = scratch.join("nginx.conf");
        fs::write(&config, configuration(serves, scratch, port))?;
        let program = nginx().context("nginx isn't on this machine")?;
        let child = Command::new(program)
            .arg("-p")
            .arg(scratch)
            .arg("-e")
            .arg(scratch.join("error.log"))
            .arg("-c")
            .arg(&config)
            .spawn()?;
        let mut nginx = Self {
            child,
            port,
            certificate,
        };
        wait_until_it_listens(&mut nginx.child, port, &scratch.join("error.log"))
            .context("nginx")?;
        Ok(nginx)
    }

    /// curl fetches `source`, a file of the folder, and checks the certificate.
    pub(super) fn curl(&self, source: &Path, into: &Path) -> Result<Turn> {
        let name = source
            .file_name()
            .and_then(|name| name.to_str())
            .context("no file name")?;
        let server = Process(self.child.id());
        let run = || {
            let mut curl = Command::new("curl")
                .args([
                    "--silent",
                    "--show-error",
                    "--fail",
                    "--tlsv1.3",
                    "--noproxy",
                    "*",
                ])
                .arg("--cacert")
                .arg(&self.certificate)
                .arg("--output")
                .arg(into)
                .arg(format!("https://127.0.0.1:{}/{name}", self.port))
                .spawn()?;
            let peak = Process(curl.id()).follow();
            let ended = curl.wait()?;
            fsync(into)?;
            ensure!(ended.success(), "curl failed: {ended}");
            Ok(peak)
        };
        let (peak, cost) = timed(&[server], run)?;
        whole(source, into)?;
        Ok(Turn {
            cost,
            peaks: vec![peak.bytes(), server.peak().unwrap_or_default()],
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process, so that its CPU and memory are those of its id.
fn configuration(serves: &Path, scratch: &Path, port: u16) -> String {
    let (serves, scratch) = (serves.display(), scratch.display());
    let buffers: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|module| format!("  {module}_temp_path \"{scratch}/{module}\";\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid \"{scratch}/nginx.pid\";\n\
         events {{ worker_connections 16; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n{buffers}\
           server {{\n    listen 127.0.0.1:{port} ssl;\n    ssl_protocols TLSv1.3;\n\
             ssl_certificate \"{scratch}/certificate.pem\";\n    ssl_certificate_key \"{scratch}/key.pem\";\n\
             root \"{serves}\";\n  }}\n}}\n"
    )
}

/// Debian keeps it where only an administrator's search path looks.
fn nginx() -> Option<&'static str> {
    ["nginx", "/usr/sbin/nginx"]
        .into_iter()
        .find(|program| has(program, &["-v"]))
}

/// A competitor that stopped half way would look fast.
fn whole(source: &Path, into: &Path) -> Result<()> {
    let (wanted, got) = (fs::metadata(source)?.len(), fs::metadata(into)?.len());
    ensure!(
        wanted == got,
        "{} has {got} bytes of {wanted}",
        into.display()
    );
    Ok(())
}

/// An emulator's state into a file.
pub(super) fn curl_state(endpoint: &str, into: &Path) -> Result<Turn> {
    let url = format!("{endpoint}/_localstack/pods/state");
    let run = || {
        let peak = curl(&["--output", &into.to_string_lossy(), &url])?;
        fsync(into)?;
        Ok(peak)
    };
    let (peak, cost) = timed(&[], run)?;
    Ok(Turn {
        cost,
        peaks: vec![peak.bytes()],
    })
}

/// A file into an emulator, in place of all that is there.
pub(super) fn curl_load(endpoint: &str, state: &Path) -> Result<Turn> {
    let url = format!("{endpoint}/_localstack/pods?merge=overwrite");
    let file = state.to_string_lossy();
    let arguments = [
        "--request",
        "POST",
        "--header",
        "content-type: application/octet-stream",
        "--upload-file",
        &file,
        "--output",
        "/dev/null",
        &url,
    ];
    let (peak, cost) = timed(&[], || curl(&arguments))?;
    Ok(Turn {
        cost,
        peaks: vec![peak.bytes()],
    })
}

/// An emulator as it was at its start.
pub(super) fn curl_reset(endpoint: &str) -> Result<()> {
    let url = format!("{endpoint}/_localstack/state/reset");
    curl(&["--request", "POST", "--output", "/dev/null", &url]).map(drop)
}

fn curl(arguments: &[&str]) -> Result<Peak> {
    let mut child = Command::new("curl")
        .args(["--silent", "--show-error", "--fail"])
        .args(arguments)
        .spawn()?;
    let peak = Process(child.id()).follow();
    let status = child.wait()?;
    ensure!(
        status.success(),
        "curl {} failed: {status}",
        arguments.join(" ")
    );
    Ok(peak)
}

/// A program that people copy files to and from S3 with.
#[derive(Clone, Copy)]
pub(super) enum Copier {
    Aws,
    Rclone,
}

impl Copier {
    pub(super) const ALL: [Self; 2] = [Self::Aws, Self::Rclone];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws s3 cp",
            Self::Rclone => "rclone copyto",
        }
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Rclone => "rclone",
        }
    }

    /// A file into a bucket.
    pub(super) fn upload(self, source: &Path, bucket: &Bucket) -> Result<Turn> {
        let source = source.to_string_lossy();
        let (peak, cost) = timed(&[], || self.copy(&source, &self.object(bucket), bucket))?;
        Ok(Turn {
            cost,
            peaks: vec![peak.bytes()],
        })
    }

    /// What [`Self::upload`] left there, which was `source`, into a file.
    pub(super) fn download(self, source: &Path, bucket: &Bucket, into: &Path) -> Result<Turn> {
        let run = || {
            let peak = self.copy(&self.object(bucket), &into.to_string_lossy(), bucket)?;
            fsync(into)?;
            Ok(peak)
        };
        let (peak, cost) = timed(&[], run)?;
        whole(source, into)?;
        Ok(Turn {
            cost,
            peaks: vec![peak.bytes()],
        })
    }

    fn object(self, bucket: &Bucket) -> String {
        let name = &bucket.name;
        match self {
            Self::Aws => format!("s3://{name}/copied/by-aws"),
            Self::Rclone => format!("bench:{name}/copied/by-rclone"),
        }
    }

    /// With nothing of the settings of the person who measures.
    fn copy(self, from: &str, to: &str, bucket: &Bucket) -> Result<Peak> {
        let mut command = Command::new(self.program());
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            if bytes.starts_with(b"AWS_") || bytes.starts_with(b"RCLONE_") {
                command.env_remove(name);
            }
        }
        match self {
            Self::Aws => command
                .args(["s3", "cp", "--only-show-errors", from, to])
                .env("AWS_CONFIG_FILE", "/dev/null")
                .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
                .env("AWS_ENDPOINT_URL", &bucket.endpoint)
                .env("AWS_DEFAULT_REGION", &bucket.region)
                .env("AWS_ACCESS_KEY_ID", &bucket.access_key)
                .env("AWS_SECRET_ACCESS_KEY", &bucket.secret_key),
            Self::Rclone => command
                .args(["copyto", "--s3-no-check-bucket", from, to])
                .env("RCLONE_CONFIG", "/dev/null")
                .env("RCLONE_CONFIG_BENCH_TYPE", "s3")
                .env("RCLONE_CONFIG_BENCH_PROVIDER", "Other")
                .env("RCLONE_CONFIG_BENCH_ENDPOINT", &bucket.endpoint)
                .env("RCLONE_CONFIG_BENCH_REGION", &bucket.region)
                .env("RCLONE_CONFIG_BENCH_ACCESS_KEY_ID", &bucket.access_key)
                .env("RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY", &bucket.secret_key),
        };
        let mut child = command.env("NO_PROXY", "*").stdin(Stdio::null()).spawn()?;
        let peak = Process(child.id()).follow();
        let status = child.wait()?;
        ensure!(status.success(), "{} failed: {status}", self.name());
        Ok(peak)
    }
}
