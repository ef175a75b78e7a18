//! What `println!("{recorder}")` prints.

use std::sync::Arc;

use simrecorder_core::ndarray::Array2;
use simrecorder_core::num_complex::Complex64;
use simrecorder_core::serde_json::json;
use simrecorder_core::{
    Attributes, DataStore, InMemoryDataStore, Named, Recorder, Result, Schema, Value, prelude::*,
};

#[derive(serde::Serialize)]
struct Run {
    tau: f64,
    on: [Option<bool>; 2],
}

fn units(units: &str) -> Attributes {
    Schema::text().with_units(units).attributes().clone()
}

#[test]
fn a_recorder_prints_its_keys_with_kind_type_shape_units_and_values_in_natural_order() -> Result<()>
{
    let recorder = Recorder::new(InMemoryDataStore::new());
    for demo in [10, 2, 1] {
        recorder.record(format!("demo_{demo}"), demo)?;
    }
    let v = Schema::array::<f32>([100]).with_units("mV");
    recorder.declare("net/v", v)?;
    recorder.record("net/v", [0.5_f32; 100])?;
    recorder.record("net/spikes", Ragged(&[3_u32, 1, 4]))?;
    recorder.record("net/positions", Ragged(&vec![[0.0; 3]; 4]))?;
    recorder.record("net/größe/脳", 1.0)?;
    recorder.record("log", "started")?;
    recorder.record("events", Object(json!({"t": 1})))?;
    recorder.set("meta/seed", 42_u64)?;
    recorder.set("meta/dt", 0.1)?;
    recorder.set_attributes("meta/dt", units("ms"))?;
    recorder.set("meta/note", "two\nlines \u{1b}[31m and \"quotes\"")?;
    recorder.set("meta/w", Array2::<f64>::from_elem((1000, 1000), 0.25))?;
    recorder.set("meta/code", Blob(b"\x89PNG"))?;
    let run = Run {
        tau: 20.0,
        on: [Some(true), None],
    };
    recorder.set("meta/run", Object(run))?;
    let expected = "\
/
├── demo_1         series  int32           [1]
├── demo_2         series  int32           [1]
├── demo_10        series  int32           [1]
├── events         series  object          [1]
├── log            series  text            [1]
├── meta           group
│   ├── code       value   bytes                         4 bytes: 89 50 4e 47
│   ├── dt         value   float64                       0.1 ms
│   ├── note       value   text                          \"two\\nlines \\u{1b}[31m and \\\"quotes\\\"\"
│   ├── run        value   object                        {\"tau\": 20.0, \"on\": [true, null]}
│   ├── seed       value   uint64                        42
│   └── w          value   float64         [1000, 1000]  [[0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, …]]
└── net            group
    ├── größe      group
    │   └── 脳     series  float64         [1]
    ├── positions  series  ragged float64  [1, var, 3]
    ├── spikes     series  ragged uint32   [1, var]
    └── v          series  float32         [1, 100]      mV";
    let printed = recorder.to_string();
    assert_eq!(printed, expected, "\n{printed}\n");
    Ok(())
}

#[test]
fn a_store_of_any_type_prints_the_same_as_its_recorder() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    recorder.record("net/v", 0.5)?;
    let printed = recorder.to_string();
    let shared: Arc<dyn DataStore> = Arc::new(store.clone());
    assert_eq!(shared.to_string(), printed);
    assert_eq!(store.tree().to_string(), printed);
    assert_eq!(recorder.store("memory")?.to_string(), printed);
    Ok(())
}

#[test]
fn a_recorder_prints_what_any_of_its_stores_has() -> Result<()> {
    let (a, b) = (InMemoryDataStore::new(), InMemoryDataStore::new());
    Recorder::new(a.clone()).record("net/a", 1)?;
    Recorder::new(b.clone()).record("net/b", 2)?;
    let recorder = Recorder::new((Named::new("a", a), Named::new("b", b)));
    let printed = recorder.to_string();
    assert_eq!(printed.lines().count(), 4, "{printed}");
    assert!(printed.contains("├── a") && printed.contains("└── b"));
    let of_b = recorder.store("b")?.to_string();
    assert!(!of_b.contains("── a"), "{of_b}");
    Ok(())
}

#[test]
fn where_nothing_can_be_shown_the_tree_says_why() -> Result<()> {
    assert_eq!(
        Recorder::disabled().to_string(),
        "/  (recording is disabled)"
    );
    let recorder = Recorder::new(InMemoryDataStore::new());
    assert_eq!(recorder.to_string(), "/  (empty)");
    recorder.close()?;
    let printed = recorder.to_string();
    assert!(
        printed.starts_with("/  cannot be read: ") && printed.contains("closed"),
        "{printed}"
    );
    Ok(())
}

#[test]
fn two_thousand_levels_and_ten_thousand_keys_are_printed() -> Result<()> {
    let recorder = Recorder::new(InMemoryDataStore::new());
    recorder.record("d/".repeat(2000) + "v", 1)?;
    for key in 0..10_000 {
        recorder.set(format!("wide/{key}"), key)?;
    }
    recorder.flush()?;
    let printed = recorder.to_string();
    assert_eq!(printed.lines().count(), 1 + 2001 + 1 + 10_000);
    assert!(printed.contains("\n    ├── 999 "));
    assert!(printed.ends_with("9999"));
    Ok(())
}

#[test]
fn names_with_digits_are_in_natural_order_and_equal_numbers_too() -> Result<()> {
    let recorder = Recorder::new(InMemoryDataStore::new());
    let expected = [
        "007",
        "7",
        "12",
        "a",
        "a1b2",
        "a1b10",
        "a01b11",
        "a2",
        "a99999999999999999999",
        "b",
    ];
    for name in expected.iter().rev() {
        recorder.set(name, true)?;
    }
    let printed = recorder.to_string();
    let names: Vec<_> = printed
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(names, expected);
    Ok(())
}

#[test]
fn every_value_is_one_short_line() -> Result<()> {
    let cases = [
        (Value::new(42_u8)?, "42"),
        (Value::new(-0.0)?, "-0.0"),
        (Value::new(0.1_f32)?, "0.1"),
        (Value::new(f64::MAX)?, "1.7976931348623157e308"),
        (Value::new(f64::NAN)?, "NaN"),
        (Value::new(true)?, "true"),
        (Value::new(Complex64::new(1.5, -2.0))?, "1.5-2.0i"),
        (Value::new([1, 2, 3])?, "[1, 2, 3]"),
        (Value::new([[1, 2], [3, 4]])?, "[[1, 2], [3, 4]]"),
        (Value::new(Vec::<f64>::new())?, "[]"),
        (Value::new("a 'b' \"c\" \\ ü")?, r#""a 'b' \"c\" \\ ü""#),
        (Value::new(Blob([]))?, "0 bytes"),
        (
            Value::new(Object((1, f64::NAN, "x", ())))?,
            r#"[1, NaN, "x", null]"#,
        ),
        (Value::new(Object(vec![vec![[0_u8; 0]]]))?, "[[[]]]"),
    ];
    for (value, expected) in &cases {
        assert_eq!(value.to_string(), *expected);
    }
    assert_eq!(
        format!("{:>5}|{:<5}|", cases[0].0, cases[0].0),
        "   42|42   |"
    );
    let long = [
        Value::new(vec![0.123_456_789_f64; 1 << 20])?,
        Value::new("\u{7}".repeat(1 << 20))?,
        Value::new("x".repeat(1 << 20))?,
        Value::new(Blob(vec![0xff; 1 << 20]))?,
        Value::new(Object(vec![
            json!({"key": [1, {"more": "x".repeat(1000)}]});
            1000
        ]))?,
        Value::new((vec![1; 500], [7].as_slice()))?,
        Value::new((vec![1 << 40, 0], [0.0; 0].as_slice()))?,
    ];
    for value in &long {
        let text = value.to_string();
        assert!(text.contains('…'), "{text}");
        assert!(text.chars().count() < 400, "{text}");
        assert!(!text.chars().any(char::is_control), "{text}");
    }
    let nested = (0..100_000).fold(vec![0xc0_u8], |mut bytes, _| {
        bytes.insert(0, 0x91);
        bytes
    });
    for damaged in [
        nested[..50_000].to_vec(),
        vec![0xc1],
        vec![0xdb, 0xff],
        vec![],
    ] {
        let object = simrecorder_core::ObjectValue::from_msgpack(damaged);
        assert!(Value::Object(object).to_string().chars().count() < 200);
    }
    Ok(())
}
