//! The metadata of an array of Zarr V2, with the chunk of another.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simrecorder_fuzz::{Scratch, open_zarr, zarr_v2};

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static RECORDING: Scratch = Scratch::new(zarr_v2, open_zarr));
    RECORDING.with(|recording| {
        recording.write("run.zarr/n/.zarray", bytes);
        recording.read_key("n");
    });
});
