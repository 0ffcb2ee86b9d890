//! The organisation's hub.

pub mod storage;
