//! Zarr V3 recordings for [simrecorder](https://docs.rs/simrecorder), over LMDB or a directory.
//!
//! [`ZarrDataStore`] is the store to hand to a recorder. What it writes is described in
//! `docs/format.md` of the repository.

mod blocks;
mod columns;
mod directory;
mod format;
mod journal;
pub mod lmdb;
mod options;
mod recording;
mod storage;
mod store;
mod zarr_v2;

pub use options::{ZarrOptions, ZarrStorage};
pub use store::ZarrDataStore;
/// The storage traits of zarrs that [`LmdbStorage`](lmdb::LmdbStorage) implements, in its version.
pub use zarrs_storage;
