//! A fake emulator that misbehaves on request. Otherwise it answers like LocalStack.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;

/// The most bytes of a request's head.
const MAX_HEAD_LEN: u64 = 64 << 10;

/// What it does with one kind of request.
#[derive(Debug, Clone)]
pub enum Conduct {
    /// A status and a body, whole.
    Answer(u16, Vec<u8>),
    /// Promises `promised` bytes, sends these and hangs up.
    BreakOff { promised: usize, sent: Vec<u8> },
    /// Takes the request and never answers.
    Hang,
}

/// Listens on 127.0.0.1 until it is dropped.
pub struct FakeEmulator {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// By the beginning of `METHOD /path`.
    conduct: Mutex<BTreeMap<String, Conduct>>,
    requests: Mutex<Vec<String>>,
    /// What it says to hold.
    services: Mutex<String>,
    heard: Condvar,
    stopped: AtomicBool,
}

impl FakeEmulator {
    /// One that has `state` and takes any other.
    pub fn start(state: &[u8]) -> Result<Self> {
        Self::start_at(0, state)
    }

    /// The same at this port.
    pub fn start_at(port: u16, state: &[u8]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            services: Mutex::new("s3,sqs".to_owned()),
            ..Shared::default()
        });
        let text = |status, text: &str| Conduct::Answer(status, text.as_bytes().to_vec());
        let emulator = Self {
            port,
            shared: Arc::clone(&shared),
        };
        emulator.on(
            "GET /_localstack/health",
            text(
                200,
                r#"{"services":{"s3":"running","sqs":"running"},"edition":"community","version":"4.14.0"}"#,
            ),
        );
        emulator.on(
            "GET /_localstack/info",
            text(200, r#"{"session_id":"fake-1","version":"4.14.0"}"#),
        );
        emulator.on(
            "GET /_localstack/pods/environment",
            text(200, r#"{"localstack_version":"4.14.0","pro":false}"#),
        );
        emulator.on(
            "GET /_localstack/pods/state",
            Conduct::Answer(200, state.to_vec()),
        );
        emulator.on(
            "POST /_localstack/pods?",
            text(
                201,
                "{\"service\":\"s3\",\"status\":\"ok\"}\n{\"service\":\"sqs\",\"status\":\"ok\"}\n",
            ),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // Clients that hang up midway are part of the tests.
                std::thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
            }
        });
        Ok(emulator)
    }

    /// Sets its conduct for requests that begin with `line`.
    pub fn on(&self, line: &str, conduct: Conduct) {
        lock(&self.shared.conduct).insert(line.to_owned(), conduct);
    }

    /// Sets the services that it reports.
    pub fn holds(&self, services: &str) {
        services.clone_into(&mut lock(&self.shared.services));
    }

    /// Forgets all requests so far.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The lines of all requests so far that could have changed something.
    pub fn posts(&self) -> Vec<String> {
        let requests = lock(&self.shared.requests);
        let posts = requests.iter().filter(|line| line.starts_with("POST "));
        posts.cloned().collect()
    }

    /// Waits until a request that begins with `line` has come in.
    pub fn wait_for(&self, line: &str) {
        let mut requests = lock(&self.shared.requests);
        while !requests.iter().any(|request| request.starts_with(line)) {
            requests = self
                .shared
                .heard
                .wait(requests)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for FakeEmulator {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // The thread wakes up on one more connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut head = String::new();
        let mut lines = reader.by_ref().take(MAX_HEAD_LEN);
        while lines.read_line(&mut head)? > 2 {}
        let line = head.lines().next().unwrap_or_default().to_owned();
        let conduct = self.conduct_for(&line);
        lock(&self.requests).push(line);
        self.heard.notify_all();
        let len = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<u64>().ok())?
        });
        match conduct {
            Conduct::Hang => {
                // Until the other side gives up.
                io::copy(&mut reader, &mut io::sink())?;
                Ok(())
            }
            Conduct::Answer(status, body) => {
                io::copy(&mut reader.take(len.unwrap_or(0)), &mut io::sink())?;
                let services = lock(&self.services).clone();
                answer(stream, status, body.len(), &services, &body)
            }
            Conduct::BreakOff { promised, sent } => {
                io::copy(&mut reader.take(len.unwrap_or(0)), &mut io::sink())?;
                let services = lock(&self.services).clone();
                answer(stream, 200, promised, &services, &sent)
            }
        }
    }

    fn conduct_for(&self, line: &str) -> Conduct {
        let conduct = lock(&self.conduct);
        let longest = conduct
            .iter()
            .rev()
            .find(|(begin, _)| line.starts_with(begin.as_str()));
        longest.map_or(Conduct::Answer(404, Vec::new()), |(_, conduct)| {
            conduct.clone()
        })
    }
}

fn answer(
    mut stream: TcpStream,
    status: u16,
    len: usize,
    services: &str,
    body: &[u8],
) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Told\r\ncontent-length: {len}\r\nx-localstack-pod-services: {services}\r\n\
         x-localstack-pod-size: {len}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(body)?;
    stream.flush()?;
    stream.shutdown(Shutdown::Write)
}

/// What is inside is whole after each step.
fn lock<T>(inside: &Mutex<T>) -> MutexGuard<'_, T> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}
