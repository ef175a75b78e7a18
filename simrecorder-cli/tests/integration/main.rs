//! The tests of the program `simrec`, which run it on real recordings.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod listing;
mod printing;
mod support;
mod tailing;
mod usage;
