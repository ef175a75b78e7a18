//! The documents of keys on a Redis server.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| simrecorder_redis::fuzzing::document(bytes));
