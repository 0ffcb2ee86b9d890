//! One call to the daemon, with its progress and the questions that it raises.

use podsync_api::{ApiError, Call};

use crate::{
    context::{Connection, Context, Needs},
    output::{Printer, ask::choose},
};

/// Opens a connection, makes one call with a progress bar, closes the connection. Where a reference
/// means several versions, whoever sits at the terminal is asked which.
pub(crate) async fn call<C: Call + Clone>(
    context: &Context,
    needs: Needs,
    call: &C,
) -> Result<C::Answer, ApiError> {
    let connection = Connection::open(context, needs).await?;
    let answer = call_over(&connection, call).await;
    connection.close().await;
    answer
}

/// One call of several over a connection.
pub(crate) async fn call_over<C: Call + Clone>(
    connection: &Connection<'_>,
    call: &C,
) -> Result<C::Answer, ApiError> {
    let answer = connection.watch(call).await;
    if let Err(error) = &answer
        && let Some(exact) = exactly(&connection.context.printer, call, error)
    {
        return connection.watch(&exact).await;
    }
    answer
}

/// The call again, with the one version that is meant; none where nobody says which.
fn exactly<C: Call + Clone>(printer: &Printer, call: &C, error: &ApiError) -> Option<C> {
    let ambiguity = error.ambiguity.as_deref()?;
    let question = format!("`{}` means several versions", ambiguity.reference);
    let chosen = choose(printer, &question, &ambiguity.exact)?;
    let mut exact = call.clone();
    let named = exact.references();
    let meant = named
        .into_iter()
        .filter(|typed| stands_for(typed, &ambiguity.reference));
    for reference in meant {
        reference.clone_from(chosen);
    }
    Some(exact)
}

/// Whether what was typed is this reference, which may be written in another way.
fn stands_for(typed: &str, reference: &str) -> bool {
    typed
        .parse::<podsync_core::reference::Reference>()
        .is_ok_and(|typed| typed.to_string() == reference)
}
