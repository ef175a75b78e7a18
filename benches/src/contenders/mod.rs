//! Simrecorder and its peers.

pub mod bare_loop;
pub mod h5py;
pub mod mcap_log;
pub mod raw_file;
pub mod raw_zarrs;
pub mod redis_store;
pub mod simrecorder_store;
pub mod tensorstore;
