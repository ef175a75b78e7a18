//! The integration tests of this crate, in one program because linking takes longer than compiling
//! most of them. A test that needs its own process has its own program.

#[path = "../support/mod.rs"]
mod support;

mod claims;
mod conformance;
mod coordinates;
mod damage;
mod draining;
mod faults;
mod filled;
mod kills;
mod many_writers;
mod python_reads;
mod runs;
mod server;
mod sharing;
mod timelines;
mod topologies;
mod unfinished_writes;
