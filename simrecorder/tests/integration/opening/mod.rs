//! Opening by path, with what these tests share.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod recognised;
mod refused;

use std::path::Path;
use std::sync::Arc;

use simrecorder::{DataStore, OpenMode, OpenOptions, Recorder, Result, open_with};
use tempfile::TempDir;

/// A format that this build has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) extension: &'static str,
    pub(crate) scheme: &'static str,
    /// Its name in errors.
    pub(crate) name: &'static str,
}

/// All formats, each with a file that exists after a recording was closed.
pub(crate) const FORMATS: [(bool, Format, &str); 3] = [
    (
        cfg!(feature = "zarr"),
        Format {
            extension: "mdb",
            scheme: "zarr",
            name: "a Zarr recording in LMDB",
        },
        "data.mdb",
    ),
    (
        cfg!(feature = "zarr"),
        Format {
            extension: "zarr",
            scheme: "zarr+dir",
            name: "a Zarr recording in a directory",
        },
        "zarr.json",
    ),
    (
        cfg!(feature = "hdf5"),
        Format {
            extension: "h5",
            scheme: "hdf5",
            name: "an HDF5 file",
        },
        "",
    ),
];

pub(crate) fn formats() -> impl Iterator<Item = Format> + Clone {
    let built = FORMATS.into_iter().filter(|(is_built, ..)| *is_built);
    built.map(|(_, format, _)| format)
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Records a number and closes the store.
pub(crate) fn record(store: Arc<dyn DataStore>, number: u64) {
    let recorder = Recorder::new(store);
    recorder.record("n", number).unwrap();
    recorder.close().unwrap();
}

pub(crate) fn numbers(store: Arc<dyn DataStore>) -> Vec<u64> {
    let view = Recorder::new(store).get_all("n").unwrap();
    view.read::<u64>().unwrap().iter().copied().collect()
}

pub(crate) fn in_mode(path: impl AsRef<Path>, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
    open_with(path, &OpenOptions::new().mode(mode))
}

/// A symbolic link at `path` to `target`.
pub(crate) fn link(target: impl AsRef<Path>, path: &Path) {
    std::os::unix::fs::symlink(target, path).unwrap();
}
