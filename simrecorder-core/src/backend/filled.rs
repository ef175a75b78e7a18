//! Elements that were never written and have the fill value.

use crate::model::dtype::DType;
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::selection::Region;

/// Sets all elements to the fill value, or to zero if there is none.
pub fn fill_elements(elements: &mut [u8], fill_value: Option<&[u8]>) {
    match fill_value {
        Some(value) if value.iter().any(|&byte| byte != 0) => {
            let elements = elements.chunks_exact_mut(value.len());
            elements.for_each(|element| element.copy_from_slice(value));
        }
        _ => elements.fill(0),
    }
}

/// Writes the fill value of a series to the elements of `region` in its first `filled` records. Returns the rest of the
/// region and of `out`, which has the size of the region.
pub fn fill_records<'a>(
    region: &Region,
    filled: u64,
    schema: &Schema,
    out: &'a mut [u8],
) -> (Region, &'a mut [u8]) {
    let (before, rest) = region.split_at_record(filled);
    let bytes = before.len().unwrap_or(0) * schema.dtype().map_or(1, DType::size);
    let (elements, rest_out) = out.split_at_mut(bytes.min(out.len()));
    let fill_value = schema.fill_value().and_then(Value::as_array);
    fill_elements(elements, fill_value.map(|value| value.as_bytes()));
    (rest, rest_out)
}
