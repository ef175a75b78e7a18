//! Chunks of arrays with the codec that the first byte selects.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simrecorder_fuzz::{CODECS, Scratch, open_zarr, zarr_codecs};

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static RECORDING: Scratch = Scratch::new(zarr_codecs, open_zarr));
    let Some((first, chunk)) = bytes.split_first() else {
        return;
    };
    RECORDING.with(|recording| {
        let key = CODECS[usize::from(*first) % CODECS.len()].0;
        recording.write(&format!("run.zarr/{key}/c/0"), chunk);
        recording.read_key(key);
    });
});
