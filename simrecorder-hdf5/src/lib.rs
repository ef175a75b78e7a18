//! The HDF5 store of [simrecorder](https://docs.rs/simrecorder).

#[allow(dead_code, reason = "the store that uses it comes next")]
mod driver;
