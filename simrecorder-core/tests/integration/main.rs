//! The integration tests of this crate in one program, since linking takes longer than compiling
//! most of them. A test that must be the only one of its process is a separate program.

#[path = "../support/mod.rs"]
mod support;

mod compiler_messages;
#[cfg(feature = "conformance")]
mod conformance_in_memory;
#[cfg(feature = "conformance")]
mod conformance_strict;
mod copy;
mod damaged_store;
mod error_bound;
mod error_messages;
mod recorder_checkpoints;
mod recorder_end;
mod recorder_lifecycle;
mod recorder_options;
mod recorder_stalls;
mod recorder_stores;
mod recorder_stress;
mod recorder_threads;
mod recorder_timelines;
mod recover;
mod tree;
mod verify;
