//! The HDF5 store of [simrecorder](https://docs.rs/simrecorder).
//!
//! Programs should depend on the facade crate `simrecorder` with its feature `hdf5`, which
//! re-exports this crate.
//!
//! Recordings are plain HDF5 files, which h5py, h5dump and xarray read without plugins. Unlike with
//! libhdf5 alone, a commit is atomic, and a killed process leaves a file that can be opened:
//! overwritten data is first written to a journal next to the file.

mod columns;
mod driver;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod library;
mod options;
mod recording;
mod store;

pub use options::Hdf5Options;
pub use store::Hdf5DataStore;
