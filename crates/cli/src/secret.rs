//! Secrets as they are asked for: an argument shows in the process list and in the shell's history.

use std::io::{BufRead, IsTerminal, Read};

use podsync_api::{ApiError, ErrorCode};

use crate::output::Printer;

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
    pub(crate) fn read(
        &self,
        argument: Option<String>,
        printer: &Printer,
    ) -> Result<String, ApiError> {
        let Self { what, variable } = self;
        let unreadable = |error: std::io::Error| {
            ApiError::new(
                ErrorCode::Ticket,
                format!("cannot read the {what}: {error}"),
            )
        };
        if let Some(secret) = argument.as_deref().filter(|text| *text != "-") {
            printer.warn(format_args!(
                "a {what} on the command line shows in the process list; better give it on stdin with `-`"
            ));
            return Ok(secret.to_owned());
        }
        if argument.is_none()
            && let Ok(secret) = std::env::var(variable)
        {
            return Ok(secret);
        }
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            return rpassword::prompt_password(format!("{what}: ")).map_err(unreadable);
        }
        let mut line = String::new();
        stdin
            .lock()
            .take(MAX_SECRET_LEN)
            .read_line(&mut line)
            .map_err(unreadable)?;
        if line.trim().is_empty() {
            return Err(
                ApiError::new(ErrorCode::Ticket, format!("no {what} was given"))
                    .hint(format!("give it at the prompt, on stdin, or as {variable}")),
            );
        }
        Ok(line.trim().to_owned())
    }
}
