//! The page: the control API for one browser on this machine, on a loopback port that is open only when asked for.
//!
//! Its calls go to the router of the control socket, behind a guard. What opens the page is the one call that the
//! page itself doesn't have.

mod answer;
mod files;
mod guard;
mod listener;
mod places;
mod router;
mod secret;
mod session;

pub(crate) use self::listener::Page;
