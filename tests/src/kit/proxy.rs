//! A proxy that misbehaves on request, between a device and its hub or bucket. With several servers behind
//! it, it connects to one that is up.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;

/// The most bytes of a request's head.
const MAX_HEAD_LEN: u64 = 64 << 10;
const PIECE_LEN: usize = 16 << 10;

/// What the proxy does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is closed at once.
    HangUp,
    /// Each request is taken whole, and answered with this status and body by the proxy itself.
    Answer(u16, &'static str),
    /// A GET of a path with this text in it is answered with this status by the proxy itself. All else goes through,
    /// one request a connection.
    AnswerGets(u16, &'static str),
    /// It is closed once so many bytes of the client went through.
    CutUp(u64),
    /// It is closed once so many bytes of the server went through.
    CutDown(u64),
    /// So many bytes of the server go through, and then none, while it stays open.
    StallDown(u64),
}

/// S3's answer to too many requests.
pub const SLOW_DOWN: Fault = Fault::Answer(
    503,
    "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
);
/// S3's answer to an expired URL.
pub const EXPIRED: Fault = Fault::Answer(
    403,
    "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
);

/// Listens on 127.0.0.1 until it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    servers: Mutex<Vec<SocketAddr>>,
    plan: Mutex<Plan>,
    met: Condvar,
    /// Both ends of what is open.
    open: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Plan {
    /// Counts the plans.
    round: u64,
    fault: Option<Fault>,
    /// How many more connections get the fault.
    left: usize,
    /// How many have got it.
    met: usize,
    connections: u64,
}

impl Proxy {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let proxy = Self {
            port,
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // Clients that hang up midway are part of the tests.
                std::thread::spawn(move || client.and_then(|client| shared.serve(client)));
            }
        });
        Ok(proxy)
    }

    /// Sets the servers behind the proxy.
    pub fn lead_to(&self, servers: &[SocketAddr]) {
        *lock(&self.shared.servers) = servers.to_vec();
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every connection gets this fault until [`Self::heal`]. Open ones are closed.
    pub fn fail(&self, fault: Fault) {
        self.fail_times(usize::MAX, fault);
    }

    /// The next connections get this fault.
    pub fn fail_times(&self, times: usize, fault: Fault) {
        self.plan(Some(fault), times);
    }

    pub fn heal(&self) {
        self.plan(None, 0);
    }

    fn plan(&self, fault: Option<Fault>, left: usize) {
        let mut plan = lock(&self.shared.plan);
        (plan.fault, plan.left, plan.met) = (fault, left, 0);
        plan.round += 1;
        drop(plan);
        let open = std::mem::take(&mut *lock(&self.shared.open));
        for end in open.into_values().flatten() {
            close(&end);
        }
    }

    /// Waits until so many connections have got the last fault.
    pub fn wait_for(&self, times: usize) {
        let mut plan = lock(&self.shared.plan);
        while plan.met < times {
            let waited = self.shared.met.wait(plan);
            plan = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> u64 {
        lock(&self.shared.plan).connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.heal();
        // The thread wakes up on one more connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn serve(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        let (number, round, fault) = self.fault_for_next();
        match fault {
            Some(Fault::HangUp) => {
                self.note(fault);
                close(&client);
                return Ok(());
            }
            Some(Fault::Answer(status, body)) => {
                let answered = answer(&client, status, body);
                self.note(fault);
                return answered;
            }
            _ => {}
        }
        let mut begun = String::new();
        if let Some(Fault::AnswerGets(status, name)) = fault {
            let head = head(&client)?;
            let line = head.lines().next().unwrap_or_default();
            if line.starts_with("GET ") && line.contains(name) {
                let answered = tell(&client, status, "");
                self.note(fault);
                return answered;
            }
            begun = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        }
        let mut server = self.connect(number)?;
        server.write_all(begun.as_bytes())?;
        let ends = [client.try_clone()?, server.try_clone()?];
        lock(&self.open).insert(number, ends);
        if lock(&self.plan).round != round {
            // It came too late to be closed with the others.
            close(&client);
            close(&server);
        }
        let up = {
            let shared = Arc::clone(&self);
            let (from, to) = (client.try_clone()?, server.try_clone()?);
            let bound = match fault {
                Some(Fault::CutUp(len)) => Some(len),
                _ => None,
            };
            std::thread::spawn(move || shared.pass(from, to, bound, fault))
        };
        let bound = match fault {
            Some(Fault::CutDown(len) | Fault::StallDown(len)) => Some(len),
            _ => None,
        };
        Arc::clone(&self).pass(server, client, bound, fault);
        let _ = up.join();
        lock(&self.open).remove(&number);
        Ok(())
    }

    /// Its number, the plan's, and what it meets.
    fn fault_for_next(&self) -> (u64, u64, Option<Fault>) {
        let mut plan = lock(&self.plan);
        plan.connections += 1;
        let fault = plan.fault.filter(|_| plan.left > 0);
        if fault.is_some() {
            plan.left -= 1;
        }
        (plan.connections, plan.round, fault)
    }

    /// Records that a fault has happened.
    fn note(&self, fault: Option<Fault>) {
        let mut plan = lock(&self.plan);
        if fault.is_some() && plan.fault == fault {
            plan.met += 1;
            self.met.notify_all();
        }
    }

    /// Connects to one of the servers that are up, in turn.
    fn connect(&self, number: u64) -> io::Result<TcpStream> {
        let servers = lock(&self.servers).clone();
        let first = usize::try_from(number).unwrap_or(0) % servers.len().max(1);
        let mut failed = io::Error::from(io::ErrorKind::NotConnected);
        for server in servers.iter().cycle().skip(first).take(servers.len()) {
            match TcpStream::connect(server) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Forwards bytes, up to the bound if there is one. Then the fault happens.
    fn pass(
        self: Arc<Self>,
        mut from: TcpStream,
        mut to: TcpStream,
        bound: Option<u64>,
        fault: Option<Fault>,
    ) {
        let mut left = bound.unwrap_or(u64::MAX);
        let mut piece = [0; PIECE_LEN];
        loop {
            if left == 0 {
                self.note(fault);
                if matches!(fault, Some(Fault::StallDown(_))) {
                    // What comes goes nowhere, until one of them hangs up.
                    let _ = io::copy(&mut from, &mut io::sink());
                }
                break;
            }
            let most = usize::try_from(left).map_or(PIECE_LEN, |left| left.min(PIECE_LEN));
            match from.read(&mut piece[..most]) {
                Ok(len) if len > 0 && to.write_all(&piece[..len]).is_ok() => left -= len as u64,
                _ => break,
            }
        }
        close(&from);
        close(&to);
    }
}

fn answer(client: &TcpStream, status: u16, body: &str) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    let mut lines = reader.by_ref().take(MAX_HEAD_LEN);
    while lines.read_line(&mut head)? > 2 {}
    let len = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<u64>().ok())?
    });
    io::copy(&mut reader.take(len.unwrap_or(0)), &mut io::sink())?;
    tell(client, status, body)
}

/// A request's head, and no byte of what follows it.
fn head(mut client: &TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0_u8]);
    while !head.ends_with(b"\r\n\r\n") && (head.len() as u64) < MAX_HEAD_LEN {
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn tell(mut client: &TcpStream, status: u16, body: &str) -> io::Result<()> {
    write!(
        client,
        "HTTP/1.1 {status} Told\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    client.flush()?;
    client.shutdown(Shutdown::Write)
}

/// Closes both directions: pending reads and writes end.
fn close(end: &TcpStream) {
    let _ = end.shutdown(Shutdown::Both);
}

/// What is inside is whole after each step.
fn lock<T>(inside: &Mutex<T>) -> MutexGuard<'_, T> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}
