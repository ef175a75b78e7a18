//! Fill values in JSON.

use serde_json::{Value as Json, json};
use simrecorder_core::DType;

/// The default fill value.
pub(crate) fn zero(dtype: DType) -> Json {
    match dtype {
        DType::Bool => json!(false),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => json!(0.0),
        DType::Complex64 | DType::Complex128 => json!([0.0, 0.0]),
        _ => json!(0),
    }
}

/// The bytes of one element as a fill value in JSON.
///
/// Floating-point numbers that JSON cannot represent (NaN, infinities) and all 16-bit ones are
/// written as their bits, which every reader understands.
pub(crate) fn fill_value_json(dtype: DType, bytes: &[u8]) -> Json {
    let hex = |bytes: &[u8]| {
        let digits: String = bytes
            .iter()
            .rev()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!(format!("0x{digits}"))
    };
    let float = |bytes: &[u8]| {
        let number = match *bytes {
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => return hex(bytes),
        };
        match serde_json::Number::from_f64(number) {
            Some(number) => Json::Number(number),
            None => hex(bytes),
        }
    };
    let mut wide = [0; 16];
    let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64)
        && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    if signed {
        wide = [0xff; 16];
    }
    let len = bytes.len().min(wide.len());
    wide[..len].copy_from_slice(&bytes[..len]);
    let integer = i128::from_le_bytes(wide);
    match dtype {
        DType::Bool => json!(integer != 0),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => float(bytes),
        DType::Complex64 | DType::Complex128 => {
            let (re, im) = bytes.split_at(bytes.len() / 2);
            json!([float(re), float(im)])
        }
        DType::U64 => json!(integer as u64),
        _ => json!(integer as i64),
    }
}
