//! JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`, which are not JSON.

use serde_json::{Map, Value as Json};

/// The numbers of Python that are not JSON.
const NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Parses an object. These numbers become the texts that Zarr uses for them in fill values.
pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Map<String, Json>> {
    serde_json::from_slice(bytes).or_else(|error| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(error);
        };
        serde_json::from_str(&quoted(text)).map_err(|_| error)
    })
}

/// The text with quotes around `NaN`, `Infinity` and `-Infinity`, except within strings.
fn quoted(json: &str) -> String {
    let mut quoted = String::with_capacity(json.len() + 16);
    let mut rest = json;
    while let Some(next) = rest.chars().next() {
        let number = NUMBERS.into_iter().find(|number| rest.starts_with(number));
        let (len, quote) = match (next, number) {
            ('"', _) => (text_len(rest), ""),
            (_, Some(number)) => (number.len(), "\""),
            _ => (next.len_utf8(), ""),
        };
        let (token, after) = rest.split_at(len);
        quoted.extend([quote, token, quote]);
        rest = after;
    }
    quoted
}

/// The length in bytes of the string at the beginning of `json`.
fn text_len(json: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in json.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = character == '\\' && !is_escaped,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_become_texts() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, 1], "NaN \" NaN": "x NaN \\", "ä": "Infinity"}"#;
        let expected = json!({
            "a": "NaN", "b": ["-Infinity", "Infinity", 1], "NaN \" NaN": "x NaN \\", "ä": "Infinity",
        });
        assert_eq!(Json::Object(parse(text.as_bytes()).unwrap()), expected);
        for wrong in ["", "{", "[NaN]", "{\"", "{\"a\": NaNa}", "{\"a\": \"\\"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
