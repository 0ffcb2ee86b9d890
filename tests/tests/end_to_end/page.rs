//! The page: access to it, and the actions in it.

mod acts;
mod browser;
mod door;
mod views;
