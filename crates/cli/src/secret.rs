//! Secrets as they are asked for: an argument shows in the process list and in the shell's history.

use std::{env::VarError, io::Read};

use podsync_api::{ApiError, ErrorCode};

use crate::output::{Printer, terminal};

/// More than any ticket has.
const MAX_SECRET_LEN: u64 = 16 << 10;

pub(crate) struct Secret {
    what: &'static str,
    variable: &'static str,
}

pub(crate) const TICKET: Secret = Secret {
    what: "ticket",
    variable: "PODSYNC_TICKET",
};
pub(crate) const RECOVERY_KEY: Secret = Secret {
    what: "recovery key",
    variable: "PODSYNC_RECOVERY_KEY",
};

impl Secret {
    pub(crate) async fn read(
        &self,
        argument: Option<String>,
        printer: &Printer,
    ) -> Result<String, ApiError> {
        let Self { what, variable } = self;
        let unreadable = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::Interrupted {
                return ApiError::new(ErrorCode::Cancelled, "interrupted")
                    .hint("run the command again");
            }
            ApiError::new(
                ErrorCode::Ticket,
                format!("podsync cannot read the {what}: {error}"),
            )
            .hint(format!(
                "type it at the prompt, pipe it to stdin, or set {variable}"
            ))
        };
        let set = match std::env::var(variable) {
            Ok(text) => Some(text),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) if argument.is_some() => None,
            Err(VarError::NotUnicode(_)) => return Err(no_text(what, variable, variable)),
        };
        let text = match (argument, set) {
            (Some(text), _) if text != "-" => {
                printer.warn(format_args!(
                    "other users can see a {what} on the command line; pass `-` and pipe it to stdin instead"
                ));
                text
            }
            (None, Some(text)) => text,
            _ if terminal::is_there() => {
                let prompt = format!("{what}: ");
                terminal::secret(&prompt).await.map_err(unreadable)?
            }
            _ => {
                let mut bytes = Vec::new();
                let mut stdin = std::io::stdin().lock().take(MAX_SECRET_LEN);
                stdin.read_to_end(&mut bytes).map_err(unreadable)?;
                String::from_utf8(bytes).map_err(|_| no_text(what, "stdin", variable))?
            }
        };
        match text.trim() {
            "" => Err(
                ApiError::new(ErrorCode::Ticket, format!("no {what} was given")).hint(format!(
                    "type it at the prompt, pipe it to stdin, or set {variable}"
                )),
            ),
            text => Ok(text.to_owned()),
        }
    }
}

/// What came is in another encoding, such as UTF-16.
pub(crate) fn no_text(what: &str, from: &str, variable: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Ticket,
        format!("podsync cannot read the {what}: {from} does not contain UTF-8 text"),
    )
    .hint(format!(
        "pipe it as UTF-8 or ASCII, without a byte order mark, or set {variable} to it"
    ))
}
