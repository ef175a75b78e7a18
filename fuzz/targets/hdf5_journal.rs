//! The journal beside an HDF5 file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simrecorder_fuzz::{Scratch, hdf5, open_hdf5};

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static RECORDING: Scratch = Scratch::new(hdf5, open_hdf5));
    RECORDING.with(|recording| {
        recording.write("run.h5.journal", bytes);
        recording.read();
    });
});
