//! Empty: the work of this crate is in its `build.rs`.
