//! Zarr V3 recordings for [simrecorder](https://docs.rs/simrecorder), over LMDB or a directory.
//!
//! [`ZarrDataStore`] is the store to hand to a recorder. What it writes is described in
//! `docs/format.md` of the repository.

mod append;
mod blosc;
mod chunk_read;
mod column;
mod commit;
mod directory;
mod encoded;
mod fill_value;
mod journal;
mod layout;
pub mod lmdb;
mod metadata;
mod new_node;
mod node_path;
mod options;
mod recording;
mod recording_id;
mod storage;
mod store;
mod view;

pub use options::{ZarrOptions, ZarrStorage};
pub use store::ZarrDataStore;
/// The storage traits of zarrs that [`LmdbStorage`](lmdb::LmdbStorage) implements, in its version.
pub use zarrs_storage;
