//! How iroh's router would hand over a connection; nothing here calls a handler.

use std::future::Future;

use n0_error::stack_error;

use crate::endpoint::{Accepting, Connection};

/// Why a handler turned a connection away.
#[stack_error(derive, add_meta)]
#[non_exhaustive]
pub enum AcceptError {
    #[error("Not allowed.")]
    NotAllowed {},
}

pub trait ProtocolHandler: Send + Sync + std::fmt::Debug + 'static {
    fn on_accepting(
        &self,
        accepting: Accepting,
    ) -> impl Future<Output = Result<Connection, AcceptError>> + Send {
        async move { accepting.never() }
    }

    fn accept(
        &self,
        connection: Connection,
    ) -> impl Future<Output = Result<(), AcceptError>> + Send;

    fn shutdown(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
