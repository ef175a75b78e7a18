//! The HDF5 store of [simrecorder](https://docs.rs/simrecorder).
