//! The beginnings of long values: a page does not show all of a million elements.

use serde_json::Value as Json;
use simrecorder::{ArrayValue, Value};

use crate::element::{elements, to_json};

/// The maximum number of elements or items.
const MAX_ITEMS: usize = 1000;
/// The maximum length of a text in bytes.
const MAX_TEXT: usize = 2000;

/// A value as JSON, and whether it is only its beginning.
pub(super) fn short_json(value: &Value) -> (Json, bool) {
    match value {
        Value::Array(array) if array.len() > MAX_ITEMS => (beginning(array), true),
        Value::Bytes(bytes) if bytes.len() > MAX_TEXT / 2 => {
            (crate::element::hex(&bytes[..MAX_TEXT / 2]).into(), true)
        }
        Value::Text(text) => match cut(text) {
            Some(text) => (text.into(), true),
            None => (text.as_str().into(), false),
        },
        value => {
            let mut json = to_json(value);
            let is_cut = shorten(&mut json, &mut MAX_ITEMS.clone());
            (json, is_cut)
        }
    }
}

/// The first elements of an array, as a flat list.
fn beginning(array: &ArrayValue) -> Json {
    let first = elements(array).take(MAX_ITEMS);
    first.map(|element| element.to_json()).collect()
}

/// The beginning of a text that is too long.
fn cut(text: &str) -> Option<&str> {
    (text.len() > MAX_TEXT).then(|| &text[..text.floor_char_boundary(MAX_TEXT)])
}

/// Keeps `room` items of all lists and objects in `json`. Returns whether there were more.
pub(super) fn shorten(json: &mut Json, room: &mut usize) -> bool {
    let mut is_cut = false;
    match json {
        Json::String(text) => {
            if let Some(beginning) = cut(text) {
                *text = beginning.to_owned();
                is_cut = true;
            }
        }
        Json::Array(items) => {
            is_cut = items.len() > *room;
            items.truncate(*room);
            for item in items {
                *room = room.saturating_sub(1);
                is_cut |= shorten(item, room);
            }
        }
        Json::Object(items) => {
            is_cut = items.len() > *room;
            let names: Vec<_> = items.keys().skip(*room).cloned().collect();
            for name in names {
                items.shift_remove(&name);
            }
            for item in items.values_mut() {
                *room = room.saturating_sub(1);
                is_cut |= shorten(item, room);
            }
        }
        _ => {}
    }
    is_cut
}
