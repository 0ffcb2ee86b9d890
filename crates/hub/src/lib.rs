//! The organisation's hub.
