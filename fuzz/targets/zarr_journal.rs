//! The journal of a directory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simrecorder_fuzz::{Scratch, open_zarr, zarr};

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static RECORDING: Scratch = Scratch::new(zarr, open_zarr));
    RECORDING.with(|recording| {
        recording.write("run.zarr.journal", bytes);
        recording.read();
    });
});
