//! Values and arbitrary text as one short line.

use std::fmt;

use num_complex::{Complex32, Complex64};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::model::dtype::{DType, Element};
use crate::model::schema::Attributes;
use crate::model::value::{ArrayValue, ObjectValue, Value};

/// About how many characters of a value are printed.
const SHORT_CHARS: usize = 60;

/// One short line: `42`, `[0.5, 1.0]`, `"text"`, `4 bytes: 89 50 4e 47`, `{"tau": 20.0}`. A longer value is cut and
/// ends with `…`. Control characters are escaped.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = ShortLine::default();
        match self {
            Self::Array(array) => line.push_array(array),
            Self::Text(text) => line.push_text(text),
            Self::Bytes(bytes) => line.push_bytes(bytes),
            Self::Object(object) => line.push_object(object),
        }
        f.pad(&line.text)
    }
}

/// The text without quotes, shortened and with control characters escaped.
pub(crate) fn shortened(text: &str) -> String {
    let mut line = ShortLine::default();
    line.push_text(text);
    let unquoted = line.text.get(1..line.text.len() - 1).unwrap_or_default();
    unquoted.to_owned()
}

/// The attribute `units`, shortened, if it is text.
pub(crate) fn units(attributes: &Attributes) -> Option<String> {
    attributes.get("units")?.as_str().map(shortened)
}

/// A line that ignores text once it is full.
#[derive(Default)]
struct ShortLine {
    text: String,
    chars: usize,
    is_full: bool,
}

impl ShortLine {
    fn push(&mut self, text: &str) {
        if self.is_full {
            return;
        }
        self.chars += text.chars().count();
        match self.chars > SHORT_CHARS {
            true => self.cut(),
            false => self.text.push_str(text),
        }
    }

    /// Adds a separator. Something always follows it; in a full line that is `…`.
    fn push_separator(&mut self, separator: &str) {
        if !self.is_full {
            self.chars += separator.chars().count();
            self.text.push_str(separator);
        }
    }

    fn cut(&mut self) {
        self.is_full = true;
        self.text.push('…');
    }

    /// Closes a bracket or a quotation mark, even in a full line.
    fn close(&mut self, bracket: char) {
        self.chars += 1;
        self.text.push(bracket);
    }

    fn push_text(&mut self, text: &str) {
        if self.is_full {
            return;
        }
        let left = SHORT_CHARS.saturating_sub(self.chars);
        let end = text.char_indices().nth(left).map(|(end, _)| end);
        let start = &text[..end.unwrap_or(text.len())];
        let quoted = format!("{start:?}");
        self.chars += quoted.chars().count();
        self.text.push_str(&quoted[..quoted.len() - 1]);
        if end.is_some() {
            self.cut();
        }
        self.text.push('"');
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.push(&format!("{} bytes", bytes.len()));
        for (index, byte) in bytes.iter().take(SHORT_CHARS).enumerate() {
            self.push_separator(if index == 0 { ": " } else { " " });
            self.push(&format!("{byte:02x}"));
        }
    }

    fn push_array(&mut self, array: &ArrayValue) {
        let mut elements = array.as_bytes().chunks_exact(array.dtype().size());
        self.push_axes(array.dtype(), array.shape(), &mut elements);
    }

    /// Each level adds a bracket, so that a full line ends the recursion.
    fn push_axes(
        &mut self,
        dtype: DType,
        shape: &[usize],
        elements: &mut std::slice::ChunksExact<'_, u8>,
    ) {
        let Some((&len, inner)) = shape.split_first() else {
            let element = elements.next().map(|bytes| element_text(dtype, bytes));
            return self.push(element.as_deref().unwrap_or_default());
        };
        self.push("[");
        if self.is_full {
            return;
        }
        for index in 0..len {
            if self.is_full {
                break;
            }
            if index > 0 {
                self.push_separator(", ");
            }
            self.push_axes(dtype, inner, elements);
        }
        self.close(']');
    }

    /// Fails if the line is full, so that no more of an object is read.
    fn check<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.is_full {
            true => Err(E::custom("the line is full")),
            false => Ok(()),
        }
    }

    fn push_object(&mut self, object: &ObjectValue) {
        let start = self.text.len();
        let mut stored = rmp_serde::Deserializer::from_read_ref(object.as_msgpack());
        if ShortObject(self, "").deserialize(&mut stored).is_err() && !self.is_full {
            self.text.truncate(start);
            self.push(&format!(
                "{} bytes of MessagePack",
                object.as_msgpack().len()
            ));
        }
    }
}

fn element_text(dtype: DType, bytes: &[u8]) -> String {
    fn element<T: Element>(bytes: &[u8]) -> Option<T> {
        let fill = |out: &mut [u8]| {
            out.copy_from_slice(bytes);
            Ok(())
        };
        T::filled_with(1, fill).ok()?.pop()
    }
    macro_rules! debug {
        ($type:ty) => {
            element::<$type>(bytes).map(|x| format!("{x:?}"))
        };
    }
    macro_rules! complex {
        ($type:ty) => {
            element::<$type>(bytes).map(|x| format!("{:?}{:+?}i", x.re, x.im))
        };
    }
    let text = match dtype {
        DType::Bool => debug!(bool),
        DType::I8 => debug!(i8),
        DType::I16 => debug!(i16),
        DType::I32 => debug!(i32),
        DType::I64 => debug!(i64),
        DType::U8 => debug!(u8),
        DType::U16 => debug!(u16),
        DType::U32 => debug!(u32),
        DType::U64 => debug!(u64),
        DType::F16 => debug!(half::f16),
        DType::BF16 => debug!(half::bf16),
        DType::F32 => debug!(f32),
        DType::F64 => debug!(f64),
        DType::Complex64 => complex!(Complex32),
        DType::Complex128 => complex!(Complex64),
    };
    text.unwrap_or_else(|| "?".to_owned())
}

/// Adds a separator and an object to a line, as JSON with NaN and infinities. It reads only what it prints.
struct ShortObject<'a>(&'a mut ShortLine, &'static str);

impl ShortObject<'_> {
    fn push<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push(text);
        self.0.check()
    }
}

impl<'de> DeserializeSeed<'de> for ShortObject<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, object: D) -> Result<(), D::Error> {
        self.0.push_separator(self.1);
        object.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ShortObject<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_bool<E: serde::de::Error>(self, x: bool) -> Result<(), E> {
        self.push(&x.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, x: i64) -> Result<(), E> {
        self.push(&x.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, x: u64) -> Result<(), E> {
        self.push(&x.to_string())
    }

    fn visit_f32<E: serde::de::Error>(self, x: f32) -> Result<(), E> {
        self.push(&format!("{x:?}"))
    }

    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<(), E> {
        self.push(&format!("{x:?}"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push_text(text);
        self.0.check()
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.push(&format!("{} bytes", bytes.len()))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.push("null")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<(), D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let line = self.0;
        line.push("[");
        line.check()?;
        let mut separator = "";
        let result = loop {
            match items.next_element_seed(ShortObject(line, separator)) {
                Ok(Some(())) => separator = ", ",
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        line.close(']');
        result
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let line = self.0;
        line.push("{");
        line.check()?;
        let mut separator = "";
        let result = loop {
            match entries.next_key_seed(ShortObject(line, separator)) {
                Ok(Some(())) => separator = ", ",
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if let Err(error) = entries.next_value_seed(ShortObject(line, ": ")) {
                break Err(error);
            }
        };
        line.close('}');
        result
    }
}
