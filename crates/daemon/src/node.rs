//! Runs the engine and the address book: feeds both with inputs, and carries out their outputs.
//!
//! Nothing that takes time runs in the [`driver`]'s loop. Each effect is a task whose result comes back
//! as an input; writes go to the disk one transaction at a time, with everything queued meanwhile in
//! the next one.

mod address_book;
mod correlation;
mod driver;
mod effects;
pub(crate) mod handle;
mod records;
mod writes;

pub(crate) use self::{
    driver::{Parts, spawn},
    records::stored,
};
