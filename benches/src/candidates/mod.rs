//! Simrecorder and its peers.

pub mod bare_loop;
pub mod floors;
pub mod mcap_log;
pub mod python_peer;
pub mod raw_hdf5;
pub mod raw_zarrs;
pub mod redis_store;
pub mod shell;
pub mod simrecorder_store;
pub mod ticks;
