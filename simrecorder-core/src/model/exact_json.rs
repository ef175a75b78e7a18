//! Objects as JSON, if JSON represents them exactly.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use crate::model::value::ObjectValue;

/// Readers of JSON that read all numbers as `float64` change integers from here on (RFC 7493).
const INTEGER_BOUND: u64 = 1 << 53;
/// Readers of JSON limit the number of levels.
const MAX_DEPTH: usize = 100;
/// A text of this many bytes is too long.
const TOO_LONG: usize = 64 << 10;

impl ObjectValue {
    /// Returns the object as JSON text, if every reader of JSON gets exactly this object from it; otherwise `None`.
    ///
    /// It is `None` if the object contains NaN, an infinity, bytes, a key that is not text, a key twice, an integer
    /// beyond ±(2⁵³ − 1) or more than 100 levels, or if the text would have 64 KiB or more. File stores write the text
    /// as an attribute of the value, for other software.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use serde_json::json;
    /// use simrecorder::ObjectValue;
    ///
    /// let object = ObjectValue::new(json!({"names": ["E", "I"]}))?;
    /// assert_eq!(object.exact_json().as_deref(), Some(r#"{"names":["E","I"]}"#));
    /// assert_eq!(ObjectValue::new([f64::NAN])?.exact_json(), None);
    /// assert_eq!(ObjectValue::new(u64::MAX)?.exact_json(), None);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn exact_json(&self) -> Option<String> {
        // JSON text is at least about as long as MessagePack, except for floats.
        if self.as_msgpack().len() >= 9 * TOO_LONG {
            return None;
        }
        let mut rest = self.as_msgpack();
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        let json = Exact { depth: MAX_DEPTH }.deserialize(&mut reader).ok()?;
        let text = rest.is_empty().then(|| json.to_string());
        text.filter(|text| text.len() < TOO_LONG)
    }
}

/// Reads JSON, and fails where it would not be exact.
#[derive(Clone, Copy)]
struct Exact {
    /// The number of levels that may follow.
    depth: usize,
}

impl Exact {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom("too many levels"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Exact {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Exact {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what JSON holds exactly")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Json, E> {
        match number < INTEGER_BOUND {
            true => Ok(number.into()),
            false => Err(E::custom("a large integer")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Json, E> {
        match number.unsigned_abs() < INTEGER_BOUND {
            true => Ok(number.into()),
            false => Err(E::custom("a large integer")),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Json, E> {
        let number = Number::from_f64(number);
        let number = number.ok_or_else(|| E::custom("NaN or an infinity"))?;
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Exact { depth: 0 })? {
            let Json::String(key) = key else {
                return Err(A::Error::custom("a key that is no text"));
            };
            if map.insert(key, entries.next_value_seed(below)?).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(Json::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn exact(object: impl serde::Serialize) -> Option<String> {
        ObjectValue::new(object).unwrap().exact_json()
    }

    #[test]
    fn what_json_does_not_hold_exactly_has_no_json() {
        let bound = INTEGER_BOUND;
        assert_eq!(exact(bound - 1), Some("9007199254740991".to_owned()));
        assert_eq!(
            exact(-((bound - 1) as i64)),
            Some("-9007199254740991".to_owned())
        );
        assert_eq!(exact(bound).or(exact(-(bound as i64))), None);
        assert_eq!(exact((1.0, f64::INFINITY)), None);
        assert_eq!(exact(BTreeMap::from([(1, 2)])), None);
        assert_eq!(exact(-0.0), Some("-0.0".to_owned()));
        assert_eq!(exact(0.1_f32), Some("0.10000000149011612".to_owned()));
        let raw = |bytes: &[u8]| ObjectValue::from_msgpack(bytes.to_vec()).exact_json();
        // Bytes, an extension, a key twice, and more than one object.
        assert_eq!(raw(&[0xc4, 1, 7]), None);
        assert_eq!(raw(&[0xd4, 1, 7]), None);
        assert_eq!(raw(&[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2]), None);
        assert_eq!(raw(&[1, 2]), None);
        assert_eq!(raw(&[0xa1, 0xff]), None);
        assert_eq!(raw(&[]), None);
    }

    #[test]
    fn long_and_deep_objects_have_no_json() {
        assert_eq!(
            exact("x".repeat(TOO_LONG - 3)).map(|text| text.len()),
            Some(TOO_LONG - 1)
        );
        assert_eq!(exact("x".repeat(TOO_LONG - 2)), None);
        assert_eq!(exact(vec![0.5; 1 << 20]), None);
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(exact(nested(MAX_DEPTH)).is_some());
        assert_eq!(exact(nested(MAX_DEPTH + 1)), None);
    }

    proptest! {
        #[test]
        fn json_gives_back_the_object(
            numbers in prop::collection::vec(any::<f64>(), 0..4),
            texts in prop::collection::btree_map(any::<String>(), any::<i32>(), 0..4),
        ) {
            let object = json!({"numbers": numbers, "texts": texts, "none": null});
            let text = exact(&object).unwrap();
            prop_assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), object);
        }

        #[test]
        fn any_bytes_have_json_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(ObjectValue::from_msgpack(bytes).exact_json());
        }
    }
}
