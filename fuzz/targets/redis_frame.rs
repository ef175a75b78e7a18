//! Frames of records on a Redis server, in both encodings.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| simrecorder_redis::fuzzing::frame(bytes));
