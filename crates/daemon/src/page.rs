//! The page: the control API for a browser on this machine. Its loopback port is open only while a user wants it.
//!
//! Its calls pass a guard and then go to the control socket's router. The page has every call except the one that
//! opens it.

mod answer;
mod files;
mod guard;
mod listener;
mod places;
mod router;
mod secret;
mod session;

pub(crate) use self::listener::Page;
