//! What the benchmarks share: data from fixed seeds, the contenders, and running them in turn.

pub mod comparison;
pub mod contender;
pub mod contenders;
pub mod data;
pub mod long_run;
pub mod python;
pub mod works;

pub use contender::{Contender, Outcome, Result};
