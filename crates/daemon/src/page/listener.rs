//! Opens and closes the page's port: it is open from the call that opens it until the last session has ended.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use podsync_api::{ApiError, ErrorCode, page};
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    files::Files,
    guard::Guard,
    places::Places,
    router::router,
    session::{IDLE_LIFE, TOKEN_LIFE},
};
use crate::{
    call::{Context, Handle},
    error::Failure,
    tasks::Tasks,
};

/// The default port. It is fixed, so that a tab that outlives the daemon finds the next one. Teammates use the
/// two ports before it.
const USUAL_PORT: u16 = podsync_net::DEFAULT_PORT + 2;
/// How long connections may take to end once the page is closed.
const GRACE: Duration = Duration::from_secs(1);

/// Opens the page.
pub(crate) struct Page {
    /// The calls of the control socket.
    api: Router,
    tasks: Tasks,
    open: Mutex<Option<Arc<Guard>>>,
}

impl Page {
    pub(crate) fn new(api: Router, tasks: Tasks) -> Self {
        Self {
            api,
            tasks,
            open: Mutex::default(),
        }
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, guard: Arc<Guard>) {
        let files = Arc::new(Files::new(std::env::temp_dir()));
        let router = router(&guard, self.api.clone(), &files);
        let closed = CancellationToken::new();
        let serving = axum::serve(Places::of(listener), router)
            .with_graceful_shutdown(closed.clone().cancelled_owned());
        let mut serving = pin!(serving.into_future());
        tokio::select! {
            _ = &mut serving => return,
            () = self.unused(guard) => closed.cancel(),
        }
        // All requests have ended with their sessions. A connection that never sent a request may be left.
        let _ = tokio::time::timeout(GRACE, serving).await;
    }

    /// Resolves when the daemon ends, or nobody is in a session or has a token for one.
    async fn unused(&self, guard: Arc<Guard>) {
        loop {
            let mut open = self.open.lock().await;
            let Some(last_end) = guard.sessions.last_end() else {
                *open = None;
                tracing::info!(port = guard.port(), "the page is closed: nobody uses it");
                return;
            };
            drop(open);
            // A session that is in use ends later than it seems.
            let soon = Instant::now() + IDLE_LIFE / 6;
            tokio::select! {
                () = sleep_until(last_end.min(soon)) => {}
                () = self.tasks.stopping().cancelled() => return,
            }
        }
    }
}

impl Handle<page::OpenPage> for Page {
    async fn handle(
        self: Arc<Self>,
        call: page::OpenPage,
        _: Arc<Context>,
    ) -> Result<page::PageOpened, Failure> {
        let mut open = self.open.lock().await;
        let guard = match &*open {
            Some(guard) => {
                check_is_there(guard, call.port)?;
                Arc::clone(guard)
            }
            None => {
                let listener = bind(call.port).await?;
                let port = listener
                    .local_addr()
                    .map_err(|error| taken(0, &error))?
                    .port();
                let guard = Arc::new(Guard::new(port, self.tasks.stopping()));
                tracing::info!(port, "the page is open on loopback");
                *open = Some(Arc::clone(&guard));
                self.tasks
                    .spawn(Arc::clone(&self).serve(listener, Arc::clone(&guard)));
                guard
            }
        };
        let token = guard.sessions.token();
        Ok(page::PageOpened {
            url: format!("{}/#token={}", guard.origin(), token.expose()),
            expires_s: TOKEN_LIFE.as_secs(),
        })
    }
}

fn check_is_there(guard: &Guard, port: Option<u16>) -> Result<(), ApiError> {
    match port {
        Some(port) if port != 0 && port != guard.port() => Err(ApiError::new(
            ErrorCode::Busy,
            format!("the page is open at port {} already", guard.port()),
        )
        .hint("leave out --port, or close the page and wait until its session has ended")),
        _ => Ok(()),
    }
}

async fn bind(port: Option<u16>) -> Result<TcpListener, ApiError> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let wanted = port.unwrap_or(USUAL_PORT);
    match (TcpListener::bind(at(wanted)).await, port) {
        (Ok(listener), _) => Ok(listener),
        (Err(error), Some(port)) => Err(taken(port, &error)),
        (Err(_), None) => TcpListener::bind(at(0))
            .await
            .map_err(|error| taken(0, &error)),
    }
}

fn taken(port: u16, error: &std::io::Error) -> ApiError {
    ApiError::new(
        ErrorCode::Busy,
        format!("podsync cannot listen at 127.0.0.1:{port} for the page: {error}"),
    )
    .hint("choose another port with --port")
}
