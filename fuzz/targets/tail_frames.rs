//! Frames of tails, as stored in LMDB, directories and HDF5.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simrecorder_core::backend::{RowSize, read_frames};

fuzz_target!(|bytes: &[u8]| {
    for size in [RowSize::Variable, RowSize::Fixed(8), RowSize::Fixed(0)] {
        drop(read_frames(bytes, 0, size));
    }
});
