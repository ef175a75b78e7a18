//! Chunks of HDF5 files, decoded without libhdf5.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| simrecorder_hdf5::fuzzing::chunk(bytes));
