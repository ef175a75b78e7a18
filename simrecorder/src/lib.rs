//! f
pub use simrecorder_core::*;
#[cfg(feature = "zarr")]
pub use simrecorder_zarr::{ZarrDataStore, ZarrOptions, ZarrStorage, lmdb};

mod url;
pub use url::{OpenOptions, open, open_with};
