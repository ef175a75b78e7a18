//! The integration tests of this crate, in one program because linking takes longer than compiling
//! most of them. A test that needs its own process has its own program.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod conformance;
mod coordinates;
mod damaged_files;
mod dimensions;
mod durability;
mod erasing;
mod filled;
mod flipped_bytes;
mod flush_cost;
mod forks;
mod iteration_memory;
mod kills;
mod large;
mod other_programs;
mod processes;
mod python_reads;
mod python_writes;
mod removal;
mod short_series;
mod verify;
