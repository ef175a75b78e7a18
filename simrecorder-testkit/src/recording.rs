//! A recording of every kind and element type, for readers in other languages; `python/expected.py`
//! has its contents.

use serde_json::json;
use simrecorder_core::{ArrayValue, Attributes, DType, Recorder, Schema, Value, prelude::*};

/// An array of elements with any bits, including NaN and infinities.
pub fn elements(dtype: DType, shape: &[usize], seed: usize) -> Value {
    let bytes = dtype.size() * shape.iter().product::<usize>();
    let byte = |i: usize| ((i * i * 31 + i * 7) >> 2) as u8;
    let mask = if dtype == DType::Bool { 1 } else { 0xff };
    let data = (0..bytes).map(|i| byte(i + seed) & mask).collect();
    Value::Array(ArrayValue::from_bytes(dtype, shape.to_vec(), data).unwrap())
}

/// Records, with each element type, a scalar, an array, ragged rows, and values.
/// `key` makes the key of a group from its name.
pub fn record_elements(recorder: &Recorder, dtype: DType, key: impl Fn(&str) -> String) {
    let fill = elements(dtype, &[], 9).as_array().unwrap().clone();
    let filled = Schema::array_of(dtype, [2, 3]).with_fill_value_of(fill);
    recorder.declare(key("filled"), filled).unwrap();
    for i in 0..10 {
        recorder
            .record(key("scalars"), elements(dtype, &[], i))
            .unwrap();
        recorder
            .record(key("arrays"), elements(dtype, &[2, 3], i))
            .unwrap();
        recorder
            .record(key("filled"), elements(dtype, &[2, 3], i))
            .unwrap();
        let row = elements(dtype, &[i * 3 % 4, 2], i);
        recorder.record(key("ragged"), Ragged(row)).unwrap();
    }
    recorder
        .set(key("values/scalar"), elements(dtype, &[], 1))
        .unwrap();
    recorder
        .set(key("values/matrix"), elements(dtype, &[5, 4], 2))
        .unwrap();
    recorder
        .set(key("values/empty"), elements(dtype, &[3, 0], 3))
        .unwrap();
}

/// Records text, bytes and objects, as series and as values.
pub fn record_other_kinds(recorder: &Recorder) {
    for i in 0..10_u64 {
        recorder
            .record("kinds/text", format!("größe {i} 🧠").repeat(i as usize))
            .unwrap();
        recorder
            .record("kinds/bytes", Blob(vec![i as u8; i as usize % 4]))
            .unwrap();
        let object = json!({"step": i, "limit": 0.5, "names": ["E", "I"]});
        recorder.record("kinds/object", Object(object)).unwrap();
    }
    recorder
        .set("kinds/values/text", "one text, größer 🧠")
        .unwrap();
    recorder
        .set("kinds/values/bytes", Blob([0, 1, 254, 255]))
        .unwrap();
    recorder.set("kinds/values/nothing", Blob([])).unwrap();
    recorder
        .set(
            "kinds/values/object",
            Object((1, None::<u8>, f64::INFINITY)),
        )
        .unwrap();
    recorder
        .set("kinds/values/large", vec![7_u64; 1 << 17])
        .unwrap();
    let attributes = Attributes::from_iter([("units".to_owned(), json!("pA"))]);
    recorder
        .set_attributes("kinds/values/large", attributes)
        .unwrap();
}

/// A group as users record it: series of different lengths, some with names and attributes.
pub fn record_group(recorder: &Recorder) {
    let v = Schema::array::<f32>([2])
        .with_dimension_names(["time", "neuron"])
        .with_units("mV")
        .with_attribute("nested", json!({"list": [1, 2.5, null], "größe": "Δ"}))
        .with_attribute("simrecorder", "an attribute of the user");
    recorder.declare("net/v", v).unwrap();
    recorder
        .declare("net/never", Schema::scalar::<f64>())
        .unwrap();
    recorder.declare("net/no_text", Schema::text()).unwrap();
    let rows = Schema::ragged::<u8>([]).with_dimension_names(["trial"]);
    let rows = rows.with_attribute("comment", "größe");
    recorder
        .declare("net/no_rows", rows.with_units("ms"))
        .unwrap();
    let partly =
        |len, names: [Option<&str>; 2]| Schema::array::<f64>([len]).with_dimension_names(names);
    let near = partly(3, [Some("time"), None]);
    recorder.declare("net/near", near).unwrap();
    let far = partly(4, [Some("time"), None]);
    recorder.declare("net/far", far).unwrap();
    let seldom = partly(2, [None, Some("neuron")]);
    recorder.declare("net/seldom", seldom).unwrap();
    for i in 0..10_u16 {
        let small = f32::from(i);
        recorder.record("net/v", [small, -small]).unwrap();
        recorder.record("net/rate", f64::from(i) / 2.0).unwrap();
        if i % 3 == 0 {
            recorder.record("net/rare", i64::from(i)).unwrap();
            recorder.record("net/seldom", [f64::from(i); 2]).unwrap();
        }
        recorder.record("net/near", [f64::from(i); 3]).unwrap();
        recorder.record("net/far", [f64::from(i); 4]).unwrap();
        recorder.record("net/Δt 🧠", u64::from(i)).unwrap();
        recorder.record("net/__x", u64::from(i)).unwrap();
    }
    let attributes = Attributes::from_iter([("title".to_owned(), json!("a network"))]);
    recorder.set_attributes("net", attributes).unwrap();
}

/// Records numbers that a bound of 0.001 rounds.
pub fn record_rounded(recorder: &Recorder) {
    for i in 0..20_000 {
        recorder.record("x", (f64::from(i) / 1000.0).sin()).unwrap();
    }
}
