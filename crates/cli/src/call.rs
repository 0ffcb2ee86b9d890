//! One call to the daemon, with its progress and the questions that it raises.

use podsync_api::{ApiError, AsksFirst, Call, Consent, ErrorCode};

use crate::{
    context::{Connection, Context, Needs},
    output::{
        Printer,
        ask::{choose, confirm},
    },
};

/// Opens a connection, makes one call with a progress bar, closes the connection. If a reference means
/// several versions, it asks the user at the terminal which one.
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

/// The same for a call that needs the user's consent. `yes` agrees to everything.
pub(crate) async fn call_agreed<C: AsksFirst + Clone>(
    context: &Context,
    needs: Needs,
    call: C,
    yes: bool,
) -> Result<C::Answer, ApiError> {
    let connection = Connection::open(context, needs).await?;
    let answer = call_agreed_over(&connection, call, yes).await;
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
        && let Some(exact) = exactly(&connection.context.printer, call, error).await
    {
        return connection.watch(&exact).await;
    }
    answer
}

/// The same for a call that the daemon may not carry out unasked.
pub(crate) async fn call_agreed_over<C: AsksFirst + Clone>(
    connection: &Connection<'_>,
    mut call: C,
    yes: bool,
) -> Result<C::Answer, ApiError> {
    loop {
        let error = match call_over(connection, &call).await {
            Err(error) if error.consent.is_some() => error,
            outcome => return outcome,
        };
        let printer = &connection.context.printer;
        let consent = agreed(printer, error, yes).await?;
        connection.context.course.note_consent(consent);
        if !call.consents().insert(consent) {
            return Err(ApiError::new(
                ErrorCode::Internal,
                format!("the daemon asks for {consent:?} again"),
            )
            .hint("report this as a defect of podsync"));
        }
    }
}

/// The consent that the user gave. An error if the user says no, or can't be asked.
async fn agreed(printer: &Printer, error: ApiError, yes: bool) -> Result<Consent, ApiError> {
    let Some(consent) = error.consent else {
        return Err(error);
    };
    if yes {
        return Ok(consent);
    }
    match confirm(printer, &error.message, question(consent)).await {
        Some(true) => Ok(consent),
        Some(false) => Err(ApiError::new(ErrorCode::Cancelled, "nothing was changed")
            .hint("run the command again to decide otherwise")),
        None => Err(error),
    }
}

const fn question(consent: Consent) -> &'static str {
    match consent {
        Consent::Remote | Consent::NewSigner | Consent::WithoutCheckpoint => "Load it anyway?",
        Consent::OnlyCopies => "Delete them anyway?",
        Consent::LastAdmin => "Leave the team without an admin?",
        Consent::SameName => "Create a second team with this name?",
        Consent::NotExact => "Drop this version?",
        Consent::LetGo => "Set the rule?",
        Consent::Leave => "Leave the team?",
        Consent::Remove => "Remove them?",
        Consent::OlderState => "Share the older state?",
        Consent::EmptyState => "Save the empty state?",
    }
}

/// The call again, with the version that the user chose; `None` if the user chose none.
async fn exactly<C: Call + Clone>(printer: &Printer, call: &C, error: &ApiError) -> Option<C> {
    let ambiguity = error.ambiguity.as_deref()?;
    let question = format!("`{}` means several versions", ambiguity.reference);
    let chosen = choose(printer, &question, &ambiguity.exact).await?;
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

/// Whether the typed text means this reference, perhaps in another spelling.
fn stands_for(typed: &str, reference: &str) -> bool {
    typed
        .parse::<podsync_core::reference::Reference>()
        .is_ok_and(|typed| typed.to_string() == reference)
}
