//! The page: who gets in, and what people do there.

mod acts;
mod browser;
mod door;
mod views;
