//! A robot's token: the key of a reader device that any number of runners share.
//!
//! A runner keeps the key in memory only. Its home is a folder of its own, made for one command or kept
//! as a cache, and has no identity in it.

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{
    DeviceId,
    seal::SecretKey,
    ticket::{Ticket, TicketKind},
};

/// A well-formed token. Whether the team still accepts it shows when its robot connects.
#[derive(Debug, Clone)]
pub struct Token(Ticket);

impl Token {
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if text.trim().is_empty() {
            return Err(ApiError::new(ErrorCode::Ticket, "the token is empty").hint(
                "is the secret there in this job? CI systems leave it out of jobs of forks",
            ));
        }
        let ticket = Ticket::parse(text).map_err(|error| {
            let error = crate::error::api_error(ErrorCode::Ticket, &error, error.hint());
            ApiError {
                message: error.message.replace("ticket", "token"),
                ..error
            }
        })?;
        match ticket.kind {
            TicketKind::Robot => Ok(Self(ticket)),
            TicketKind::Invite => Err(ApiError::new(
                ErrorCode::Ticket,
                "this is a ticket for somebody to join with, not a robot's token",
            )
            .hint("an admin makes a token with `podsync team invite --robot`")),
        }
    }

    /// The robot's device.
    pub fn device(&self) -> DeviceId {
        self.0.secret().id()
    }

    pub(crate) fn seed(&self) -> &SecretKey {
        self.0.seed()
    }

    pub(crate) fn ticket(&self) -> &Ticket {
        &self.0
    }
}
