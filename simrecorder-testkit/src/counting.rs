//! Arrays that count, which other programs write for our readers, and still read after the
//! recorder has appended to them.

use std::ops::Range;

use simrecorder_core::half::{bf16, f16};
use simrecorder_core::ndarray::s;
use simrecorder_core::{ArrayValue, DType, NodeKind, Recorder, Value, prelude::*};

/// The elements `range` of 0, 1, 2, …, with -i for the imaginary part of i.
pub fn numbers(dtype: DType, range: Range<usize>) -> Vec<u8> {
    let element = |i: usize| -> Vec<u8> {
        let (single, double) = (i as f32, i as f64);
        match dtype {
            DType::Bool => vec![u8::from(i % 2 == 1)],
            DType::F16 => f16::from_f32(single).to_ne_bytes().to_vec(),
            DType::BF16 => bf16::from_f32(single).to_ne_bytes().to_vec(),
            DType::F32 => single.to_ne_bytes().to_vec(),
            DType::F64 => double.to_ne_bytes().to_vec(),
            DType::Complex64 => [single, 0.0 - single].map(f32::to_ne_bytes).concat(),
            DType::Complex128 => [double, 0.0 - double].map(f64::to_ne_bytes).concat(),
            integer => i.to_le_bytes()[..integer.size()].to_vec(),
        }
    };
    range.flat_map(element).collect()
}

/// The same for text.
pub fn text(i: usize) -> String {
    format!("text {i}")
}

/// The keys in a group.
pub fn child_names(recorder: &Recorder, group: &str) -> Vec<String> {
    let children = recorder.children(group).unwrap();
    children.iter().map(|child| child.key.to_string()).collect()
}

/// Checks the elements of a value.
#[track_caller]
fn assert_numbers(value: &Value, range: Range<usize>, key: &str) {
    let array = value.as_array().unwrap();
    assert_eq!(
        array.as_bytes(),
        numbers(array.dtype(), range),
        "{key}: {array:?}"
    );
}

/// Checks that the elements of a value or series are 0, 1, 2, …, read whole and in parts.
pub fn check(recorder: &Recorder, key: &str) {
    if recorder.kind_of(key).unwrap() == Some(NodeKind::Value) {
        match recorder.get(key).unwrap().unwrap() {
            Value::Text(value) => assert_eq!(value, text(0), "{key}"),
            value => assert_numbers(&value, 0..1, key),
        }
        return;
    }
    let view = recorder
        .get_all(key)
        .unwrap_or_else(|e| panic!("{key}: {e}"));
    let len = view.len() as usize;
    if view.dtype().is_none() {
        let expected: Vec<_> = (0..len).map(text).collect();
        assert_eq!(view.read_text().unwrap(), expected, "{key}");
        return;
    }
    let row = view.shape()[1..].iter().product::<u64>() as usize;
    let whole = view.read_value().unwrap_or_else(|e| panic!("{key}: {e}"));
    assert_numbers(&whole, 0..len * row, key);
    for i in 0..len {
        assert_numbers(&view.get(i as u64).unwrap(), i * row..(i + 1) * row, key);
    }
    if let &[rows, columns] = view.shape()
        && rows >= 6
        && columns > 1
    {
        let part = view.select(s![1..6;2, 1..]).unwrap().read_value().unwrap();
        let expected = (1..6).step_by(2).flat_map(|i| {
            let first = (i * columns) as usize;
            numbers(view.dtype().unwrap(), first + 1..first + columns as usize)
        });
        assert!(
            part.as_array()
                .unwrap()
                .as_bytes()
                .iter()
                .copied()
                .eq(expected),
            "{key}"
        );
    }
}

/// Appends rows that continue with 0, 1, 2, ….
pub fn append(recorder: &Recorder, key: &str, rows: usize) {
    let view = recorder.get_all(key).unwrap();
    let shape: Vec<usize> = view.shape().iter().map(|&len| len as usize).collect();
    let row = shape[1..].iter().product::<usize>();
    for i in shape[0]..shape[0] + rows {
        let value = match view.dtype() {
            None => Value::Text(text(i)),
            Some(dtype) => {
                let data = numbers(dtype, i * row..(i + 1) * row);
                Value::Array(ArrayValue::from_bytes(dtype, shape[1..].to_vec(), data).unwrap())
            }
        };
        recorder
            .record(key, value)
            .unwrap_or_else(|e| panic!("{key}: {e}"));
    }
}
