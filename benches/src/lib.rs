//! Shared parts of the benchmarks: data from fixed seeds, the candidates, and comparisons.

pub mod backend;
pub mod candidate;
pub mod candidates;
pub mod codec;
pub mod comparison;
pub mod data;
pub mod disk;
pub mod latency;
pub mod load;
pub mod long_run;
pub mod machine;
pub mod plots;
pub mod programs;
pub mod python;
pub mod report;
pub mod seed_table;
pub mod workloads;

pub use candidate::{Candidate, Outcome, Result};
