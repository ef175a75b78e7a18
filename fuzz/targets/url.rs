//! URLs of servers. The facade splits all URLs with the same functions of the standard library.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    simrecorder_redis::fuzzing::address(text);
    simrecorder_redis::fuzzing::address(&format!("redis://{text}"));
    simrecorder_redis::fuzzing::address(&format!("redis+unix:{text}"));
    drop(text.parse::<simrecorder_core::Compression>());
});
