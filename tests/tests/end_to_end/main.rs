//! Real daemons, real sockets, a real LocalStack: few runs, each a story that a user would tell.

mod any_bucket;
mod away;
mod bad_input;
mod bucket;
mod crash;
mod demo;
mod disk;
mod failures;
mod faults;
mod instances;
mod keeping;
mod keystrokes;
mod lan;
mod large;
mod localstack;
mod machine;
mod network;
mod page;
mod providers;
mod retention;
mod robots;
mod share;
mod states;
mod team;
mod whereabouts;
