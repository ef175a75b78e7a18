//! Any text is a key in its normal form, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simrecorder_core::Key;

fuzz_target!(|text: &str| {
    if let Ok(key) = Key::new(text) {
        assert_eq!(
            Key::new(key.as_str()).expect("the normal form is a key"),
            key
        );
        for part in key.as_str().split('/').filter(|_| !key.as_str().is_empty()) {
            assert!(!matches!(part, "" | "." | ".."), "{key:?}");
        }
    }
});
