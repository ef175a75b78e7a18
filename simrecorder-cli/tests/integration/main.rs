//! The tests of the program `simrec`, which run it on real recordings.
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

mod changing;
mod checking;
mod copying;
mod documents;
mod exporting;
#[cfg(all(feature = "zarr", feature = "hdf5", feature = "redis"))]
mod guide;
mod info;
mod listing;
mod plotting;
mod printing;
mod runs;
#[cfg(feature = "redis")]
mod servers;
#[cfg(feature = "serve")]
mod serving;
mod shells;
mod support;
mod tailing;
mod usage;
