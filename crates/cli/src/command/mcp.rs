//! `podsync mcp`: tools for a program's agent, over the Model Context Protocol on stdin and stdout.
//!
//! Nobody sits at this terminal. The server refuses what needs a person's consent, unless the user gave it at
//! the start. The server sets the emulator, a tool never does: so the emulator's token goes to no address
//! that an agent made up.

mod arguments;
mod calls;
mod consents;
mod lines;
mod outline;
mod schema;
mod server;
mod tools;
mod turn;

use std::time::Duration;

use clap::Args;
use podsync_api::{ApiError, Consent, ErrorCode};
use rmcp::service::{ServerInitializeError, serve_server_with_ct};

use self::{lines::Lines, server::Server};
use crate::{arguments::Endpoint, context::Context, output::Printer};

/// After its client is gone, a call must end within this time.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Mcp {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Let the agent do this without a person's yes; repeat for several
    #[arg(long, value_name = "CONSENT", value_parser = consents::parser())]
    allow: Vec<Consent>,
}

pub(crate) async fn run(context: &Context, mcp: Mcp) -> Result<(), ApiError> {
    // A home that is none is told to whoever starts the server, and not to the agent.
    context.home()?;
    // Stdout is the protocol's.
    let printer = Printer::new(true).for_programs();
    let mut own = Context::new(context.global.clone(), printer, None);
    own.stop = context.stop.child_token();
    let stop = own.stop.clone();
    let server = Server::new(own, mcp.endpoint.url, mcp.allow.into_iter().collect());
    let calls = server.calls();
    let lines = Lines::new(tokio::io::stdin(), tokio::io::stdout());
    let running = match serve_server_with_ct(server, lines, stop.clone()).await {
        Ok(running) => running,
        // A client that sends nothing, or leaves at once, is no failure.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => {
            return Ok(());
        }
        Err(error) => return Err(unstarted(&error)),
    };
    let ended = running.waiting().await;
    stop.cancel();
    // A daemon inside this process ends in good order.
    let _ = tokio::time::timeout(GRACE, calls.over()).await;
    match ended {
        Ok(_) => Ok(()),
        Err(error) => Err(ApiError::new(
            ErrorCode::Internal,
            format!("the server broke off: {error}"),
        )
        .hint("start it again")),
    }
}

fn unstarted(error: &ServerInitializeError) -> ApiError {
    let what = match error {
        ServerInitializeError::ExpectedInitializeRequest(_) => {
            "what came on stdin does not begin the Model Context Protocol"
        }
        ServerInitializeError::TransportError { .. } => "stdout takes nothing",
        _ => "the client and podsync could not agree how to talk",
    };
    ApiError::new(ErrorCode::Invalid, what)
        .hint("have a client of the Model Context Protocol start `podsync mcp`")
}
