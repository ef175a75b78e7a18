//! zarr
mod storage;
