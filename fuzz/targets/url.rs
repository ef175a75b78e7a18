//! URLs, as far as they say which store is meant: nothing is opened for them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    simrecorder_redis::fuzzing::address(text);
    // A scheme that there is opens something, and a path may be any file of the machine.
    let scheme = text.split(':').next().unwrap_or_default();
    if !matches!(
        scheme,
        "zarr" | "zarr+dir" | "hdf5" | "redis" | "rediss" | "redis+unix"
    ) {
        drop(simrecorder::open(text));
    }
    drop(simrecorder::open(&format!("memory:{text}")));
    drop(simrecorder::open(&format!("zarr:?{text}")));
    drop(simrecorder::open(&format!("redis+none:{text}")));
});
