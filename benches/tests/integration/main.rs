//! The programs of this package run.

mod compare;
mod soak;
