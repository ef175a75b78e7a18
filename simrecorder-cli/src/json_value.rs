//! Values that an argument contains as JSON.

use serde_json::Value as Json;
use simrecorder::ndarray::{ArrayD, IxDyn};
use simrecorder::num_complex::{Complex32, Complex64};
use simrecorder::{DType, ObjectValue, Value, half};

use crate::exit::{Failure, Result};

/// Parses a value: JSON, or otherwise the text itself.
pub(crate) fn parse_value(text: &str) -> Result<Value> {
    let Ok(json) = serde_json::from_str::<Json>(text) else {
        return Ok(Value::Text(text.to_owned()));
    };
    match json {
        Json::String(text) => Ok(Value::Text(text)),
        Json::Object(_) => Ok(Value::Object(ObjectValue::new(json)?)),
        Json::Null => Err(refuse(
            text,
            "null cannot be recorded; write NaN as text, or a number",
        )),
        _ => array_of(&json).ok_or_else(|| {
            refuse(
                text,
                "the rows of an array must have equal lengths and contain only numbers or bools",
            )
        })?,
    }
}

fn refuse(text: &str, why: &str) -> Failure {
    Failure::Refused(format!("'{text}' cannot be recorded: {why}"))
}

/// An array of any shape, including a single element; `None` if it is not an array.
fn array_of(json: &Json) -> Option<Result<Value>> {
    let (mut shape, mut elements) = (Vec::new(), vec![json]);
    while let [Json::Array(first), ..] = elements[..] {
        let mut inner = Vec::new();
        for element in &elements {
            let row = element.as_array().filter(|row| row.len() == first.len())?;
            inner.extend(row);
        }
        shape.push(first.len());
        elements = inner;
    }
    macro_rules! array {
        ($get:expr) => {
            elements
                .iter()
                .copied()
                .map($get)
                .collect::<Option<Vec<_>>>()
                .map(|elements| {
                    let array = ArrayD::from_shape_vec(IxDyn(&shape), elements);
                    let array = array.map_err(|error| Failure::Refused(error.to_string()))?;
                    Ok(Value::new(array)?)
                })
        };
    }
    array!(Json::as_i64)
        .or_else(|| array!(Json::as_u64))
        .or_else(|| array!(Json::as_f64))
        .or_else(|| array!(Json::as_bool))
}

/// Converts the elements of a value to another type. Fails if this changes one of them by more than
/// rounding.
pub(crate) fn cast(value: &Value, dtype: DType) -> Result<Value> {
    macro_rules! cast {
        ($($name:ident => $type:ty),*) => {
            match dtype {
                $(DType::$name => Value::new(value.cast::<$type>()?)?,)*
                _ => return Err(Failure::Refused(format!("values of element type {dtype} cannot be set"))),
            }
        };
    }
    let converted = cast!(
        Bool => bool, I8 => i8, I16 => i16, I32 => i32, I64 => i64,
        U8 => u8, U16 => u16, U32 => u32, U64 => u64,
        F16 => half::f16, BF16 => half::bf16, F32 => f32, F64 => f64,
        Complex64 => Complex32, Complex128 => Complex64
    );
    let is_exact = dtype.is_floating() || {
        // Compare in the first type, so that large integers are compared exactly, and as reals,
        // because the first type may restore an element whose sign has changed.
        let as_reals = |value: &Value| value.cast::<f64>().and_then(Value::new);
        let has_signs = as_reals(&converted)? == as_reals(value)?;
        let back = match value.dtype() {
            Some(DType::I64) => Value::new(converted.cast::<i64>()?)?,
            Some(DType::U64) => Value::new(converted.cast::<u64>()?)?,
            Some(DType::Bool) => Value::new(converted.cast::<bool>()?)?,
            _ => Value::new(converted.cast::<f64>()?)?,
        };
        back == *value && has_signs
    };
    match is_exact {
        true => Ok(converted),
        false => Err(Failure::Refused(format!(
            "{value} does not fit into {dtype}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_a_value_and_everything_else_text() {
        let value = |text: &str| {
            parse_value(text).map(|value| value.describe() + ": " + &value.to_string())
        };
        for (text, expected) in [
            ("42", "int64 scalar: 42"),
            (
                "18446744073709551615",
                "uint64 scalar: 18446744073709551615",
            ),
            ("1e3", "float64 scalar: 1000.0"),
            ("true", "bool scalar: true"),
            (
                "[[1, 2, 3], [4, 5, 6.5]]",
                "float64 array of shape [2, 3]: ",
            ),
            ("[]", "int64 array of shape [0]: []"),
            (r#"{"a": null}"#, "object"),
            ("second attempt", "text"),
            (r#""7""#, "text"),
        ] {
            let found = value(text).expect(text);
            assert!(found.starts_with(expected), "{text}: {found}");
        }
        for text in [
            "null",
            "[1, [2]]",
            "[[1, 2], [3]]",
            r#"[1, "a"]"#,
            "[1, true]",
        ] {
            let error = parse_value(text).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn elements_that_do_not_fit_a_type_are_refused() {
        let cast = |text: &str, dtype| cast(&parse_value(text).expect(text), dtype);
        assert!(cast("[1, 255]", DType::U8).is_ok() && cast("0.1", DType::F32).is_ok());
        assert!(cast("3.0", DType::I8).is_ok() && cast("1", DType::Complex64).is_ok());
        for (text, dtype) in [
            ("[1, 256]", DType::U8),
            ("-1", DType::U64),
            ("0.5", DType::I32),
        ] {
            assert!(cast(text, dtype).is_err(), "{text}");
        }
        assert!(cast("text", DType::U8).is_err());
    }
}
