//! The integration tests of this crate, in one program, since linking it takes longer than compiling
//! most of them. What has to be the only test of its process is in a program of its own.

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
