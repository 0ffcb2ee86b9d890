//! The organisation's hub.

pub mod gc;
pub mod keys;
pub mod storage;
