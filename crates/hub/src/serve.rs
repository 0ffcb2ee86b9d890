//! Listening, with TLS or without, and stopping within seconds.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum_server::{Handle, tls_rustls::RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;

use crate::{Hub, router::router};

/// How long a client may take to send a request's headers.
pub const HEADERS: Duration = Duration::from_secs(10);
/// How long requests that are being answered may go on after a stop was asked for.
pub const GRACE: Duration = Duration::from_secs(5);
/// The most bytes of a request's headers.
const MAX_HEADERS_LEN: usize = 16 << 10;

/// Before the first connection: two TLS providers are compiled in, and guessing between them panics.
pub fn install_tls() {
    // `Err` means that it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Serves until `stop` is cancelled.
pub async fn serve(
    hub: Arc<Hub>,
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    headers: Duration,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_by(Handle::new(), hub, listener, tls, headers, stop).await
}

/// The same, with a handle by which it can be cut off.
pub(crate) async fn serve_by(
    handle: Handle<SocketAddr>,
    hub: Arc<Hub>,
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    headers: Duration,
    stop: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let stopper = handle.clone();
    let stopping = async move {
        stop.cancelled().await;
        stopper.graceful_shutdown(Some(GRACE));
        std::future::pending::<()>().await;
    };
    let app = router(hub).into_make_service();
    let serving = async {
        match tls {
            Some(config) => {
                let mut server = axum_server::from_tcp_rustls(listener, config)?
                    .handle(handle)
                    .first_request_timeout(headers);
                bound(server.http_builder(), headers);
                server.serve(app).await
            }
            None => {
                let mut server = axum_server::from_tcp(listener)?
                    .handle(handle)
                    .first_request_timeout(headers);
                bound(server.http_builder(), headers);
                server.serve(app).await
            }
        }
    };
    tokio::select! {
        result = serving => result,
        () = stopping => Ok(()),
    }
}

fn bound<E>(builder: &mut hyper_util::server::conn::auto::Builder<E>, headers: Duration) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(headers)
        .max_buf_size(MAX_HEADERS_LEN);
}
