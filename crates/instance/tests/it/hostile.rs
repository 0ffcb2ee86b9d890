//! A server that plays a script per request: it can send half an answer, hang, or hang up.
//!
//! Requests that no script is for are answered as LocalStack would, without a state in it.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use podsync_instance::{Endpoint, Error, Instance, Limits, Secret};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// Long enough for a busy machine to answer, short enough to wait for in a test.
pub(crate) const BRIEF: Duration = Duration::from_secs(1);

pub(crate) const HEALTH: &str =
    r#"{"services":{"s3":"running","sqs":"available"},"edition":"community","version":"4.14.0"}"#;
pub(crate) const ENVIRONMENT: &str = r#"{"localstack_version":"4.14.0","localstack_ext_version":"","moto_ext_version":"5.1.0","pro":false}"#;

/// One step of a script.
#[derive(Clone)]
pub(crate) enum Act {
    /// Reads the request's body, as long as it says it is.
    ReadBody,
    Send(Vec<u8>),
    Hang,
    /// Accepts no further connection, from before the next step on.
    StopListening,
}

pub(crate) struct Hostile {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<BTreeMap<String, VecDeque<Vec<Act>>>>,
    requests: Mutex<Vec<Request>>,
    stop: Notify,
    stopped: Notify,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET /path?query`
    pub(crate) line: String,
    /// Header names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Hostile {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, shared.clone()));
        let hostile = Self {
            endpoint,
            shared,
            server,
        };
        hostile
            .on("GET /_localstack/health", vec![json(HEALTH)])
            .on("GET /_localstack/pods/environment", vec![json(ENVIRONMENT)])
            .on(
                "GET /_localstack/info",
                vec![json(r#"{"session_id":"first"}"#)],
            )
    }

    /// Plays `script` for requests whose line begins so, in place of what was set before.
    pub(crate) fn on(self, line: &str, script: Vec<Act>) -> Self {
        self.on_each(line, vec![script])
    }

    /// Plays one script after the other, and the last again and again.
    pub(crate) fn on_each(self, line: &str, scripts: Vec<Vec<Act>>) -> Self {
        lock(&self.shared.scripts).insert(line.to_owned(), scripts.into());
        self
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(crate) async fn instance(&self) -> Instance {
        self.instance_with(Limits::default()).await
    }

    pub(crate) async fn instance_with(&self, limits: Limits) -> Instance {
        let token = Secret::new("ls-token").unwrap();
        connect(self.endpoint(), Some(token), limits).await.unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The lines of requests that could have changed something.
    pub(crate) fn posts(&self) -> Vec<String> {
        let requests = self.requests().into_iter().map(|request| request.line);
        requests.filter(|line| !line.starts_with("GET ")).collect()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) async fn connect(
    endpoint: Endpoint,
    token: Option<Secret>,
    limits: Limits,
) -> Result<Instance, Error> {
    // An error means that another test of this process was first.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    Instance::connect_with(endpoint, token, limits).await
}

/// Limits under which an endless silence ends within a test.
pub(crate) fn impatient() -> Limits {
    Limits {
        idle: BRIEF,
        work: BRIEF,
        ..Limits::default()
    }
}

pub(crate) fn json(body: &str) -> Act {
    answer(200, "Content-Type: application/json\r\n", body.as_bytes())
}

/// A whole answer with a right length.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Act {
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    raw(status, &headers, body)
}

/// An answer as it is given, right or wrong.
pub(crate) fn raw(status: u16, headers: &str, body: &[u8]) -> Act {
    let head = format!("HTTP/1.1 {status} Whatever\r\n{headers}\r\n");
    Act::Send([head.as_bytes(), body].concat())
}

/// One piece of a chunked body.
pub(crate) fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

pub(crate) const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let Some(open) = &listener else {
            std::future::pending().await
        };
        tokio::select! {
            () = shared.stop.notified() => {
                listener = None;
                shared.stopped.notify_one();
            }
            accepted = open.accept() => {
                let shared = shared.clone();
                connections.spawn(async move { converse(accepted.unwrap().0, &shared).await });
            }
        }
    }
}

/// Errors only mean that the client hung up, which some of these tests want.
async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(request) = read_head(&mut stream).await? else {
        return Ok(());
    };
    let len = request
        .headers
        .get("content-length")
        .map_or(0, |len| len.parse().unwrap());
    let script = next_script(shared, &request.line);
    let at = {
        let mut requests = lock(&shared.requests);
        requests.push(request);
        requests.len() - 1
    };
    for act in script {
        match act {
            Act::ReadBody => {
                let mut body = vec![0; len];
                stream.read_exact(&mut body).await?;
                lock(&shared.requests)[at].body = body;
            }
            Act::Send(bytes) => stream.write_all(&bytes).await?,
            Act::Hang => std::future::pending().await,
            Act::StopListening => {
                shared.stop.notify_one();
                shared.stopped.notified().await;
            }
        }
    }
    stream.shutdown().await
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let line = lines
        .next()
        .unwrap_or_default()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let headers = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect();
    Ok(Some(Request {
        line,
        headers,
        body: Vec::new(),
    }))
}

fn next_script(shared: &Shared, line: &str) -> Vec<Act> {
    let mut scripts = lock(&shared.scripts);
    let found = scripts
        .iter_mut()
        .find(|(start, _)| match line.strip_prefix(start.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('?'),
            None => false,
        });
    match found {
        Some((_, scripts)) if scripts.len() > 1 => scripts.pop_front().unwrap(),
        Some((_, scripts)) => scripts.front().cloned().unwrap_or_default(),
        None => vec![answer(404, "", b"")],
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
