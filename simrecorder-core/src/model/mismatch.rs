//! The remedy for a record that does not fit its series.

use crate::model::dtype::DType;
use crate::model::kind::Kind;
use crate::model::schema::Schema;

/// What to do instead of recording `record` in a series with the schema `series`.
pub(super) fn remedy(series: &Schema, record: &Schema) -> String {
    let same_shape = series.record_shape() == record.record_shape();
    match (series.kind(), record.kind()) {
        (Kind::Array, Kind::Array) | (Kind::Ragged, Kind::Ragged) if same_shape => {
            other_type(series, record)
        }
        (Kind::Array, Kind::Array) if differs_in_length(series, record) => {
            "rows of different length are recorded as `Ragged(&row)`, from the first record on"
                .into()
        }
        (Kind::Ragged, Kind::Array)
            if record.record_shape().get(1..) == Some(series.record_shape()) =>
        {
            "wrap the row: `Ragged(&row)`".into()
        }
        (Kind::Array, Kind::Array) => {
            "all records of a series have one shape; use another key".into()
        }
        _ => "use another key".into(),
    }
}

/// Whether the arrays differ in the length of their first axis only.
fn differs_in_length(series: &Schema, record: &Schema) -> bool {
    let after_first = |schema: &Schema| schema.record_shape().get(1..).map(<[u64]>::to_vec);
    series.dtype() == record.dtype()
        && after_first(series).is_some()
        && after_first(series) == after_first(record)
}

fn other_type(series: &Schema, record: &Schema) -> String {
    let (Some(is), Some(new)) = (series.dtype(), record.dtype()) else {
        return "use another key".into();
    };
    let is_integer = |dtype: DType| !dtype.is_floating() && dtype != DType::Bool;
    match (rust_name(is), rust_name(new)) {
        (Some(_), Some(float)) if is_integer(is) && new.is_floating() => {
            let schema = match (series.kind(), series.record_shape()) {
                (Kind::Ragged, shape) => format!("ragged::<{float}>({shape:?})"),
                (_, []) => format!("scalar::<{float}>()"),
                (_, shape) => format!("array::<{float}>({shape:?})"),
            };
            format!(
                "the first record fixes the type: begin with a float, such as 0.0 instead of 0, or \
                 `declare` the series as Schema::{schema} before its first record"
            )
        }
        (Some(number), Some(_)) => {
            format!("convert the numbers, as in `x as {number}`, or use another key")
        }
        _ => "convert the elements, or use another key".into(),
    }
}

/// The name in Rust of numbers that `as` converts.
fn rust_name(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::I8 => "i8",
        DType::I16 => "i16",
        DType::I32 => "i32",
        DType::I64 => "i64",
        DType::U8 => "u8",
        DType::U16 => "u16",
        DType::U32 => "u32",
        DType::U64 => "u64",
        DType::F32 => "f32",
        DType::F64 => "f64",
        _ => return None,
    })
}
