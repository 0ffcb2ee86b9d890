//! Real daemons, real sockets, a real LocalStack: few runs, each a story that a user would tell.

mod bad_input;
mod bucket;
mod crash;
mod instances;
mod lan;
mod large;
mod localstack;
mod providers;
mod share;
mod states;
mod team;
