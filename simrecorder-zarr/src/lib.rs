//! Zarr V3 recordings for [simrecorder](https://docs.rs/simrecorder), over LMDB or a directory.
//!
//! [`ZarrDataStore`] is the store to pass to a recorder. `docs/format.md` in the repository
//! specifies the on-disk format.

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
/// The version of zarrs' storage traits that [`LmdbStorage`](lmdb::LmdbStorage) implements.
pub use zarrs_storage;
