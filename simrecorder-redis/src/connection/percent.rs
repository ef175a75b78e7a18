//! Percent-encoding, in URLs and in the names of recordings.

use std::fmt::Write;

use simrecorder_core::{Error, ErrorKind, Result};

use crate::connection::errors::invalid;

/// Encodes text. Bytes for which `is_plain` returns true are unchanged; every other byte becomes
/// `%` and two hexadecimal digits.
pub(crate) fn percent_encoded(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match is_plain(byte) {
            true => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => drop(write!(encoded, "%{byte:02x}")),
        }
        encoded
    })
}

pub(crate) fn percent_decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |index: usize| tail.get(index).and_then(|&b| char::from(b).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            (b'%', ..) => return Err(invalid("a % in an option of a URL needs two digits")),
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|e| {
        Error::new(ErrorKind::InvalidArgument, "open", "an option is not UTF-8").with_source(e)
    })
}
