//! Real daemons, real sockets, a real LocalStack: few runs, each a story that a user would tell.

mod lan;
mod localstack;
mod share;
mod team;
