//! The integration tests of this crate in one program, since linking takes longer than compiling
//! most of them.

mod contract;
mod contract_redis;
mod endings;
mod faulty_disks;
mod faulty_stores;
mod home;
mod killed_drains;
mod opening;
#[cfg(all(feature = "zarr", feature = "hdf5", feature = "redis"))]
mod python_forks;
mod resuming;
#[cfg(any(feature = "zarr", feature = "hdf5", feature = "redis"))]
mod staged;
mod support;
mod timelines;
mod url;
