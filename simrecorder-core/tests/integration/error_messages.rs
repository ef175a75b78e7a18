//! The remedies that errors name.

use simrecorder_core::ndarray::Array2;
use simrecorder_core::{
    ErrorKind, InMemoryDataStore, OpenMode, Recorder, Result, Schema, prelude::*,
};

/// The text of a mismatch.
#[track_caller]
fn mismatch(result: Result<()>, parts: &[&str]) {
    let error = result.expect_err("the record differs");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

#[test]
fn a_record_that_differs_from_its_series_says_what_to_record_instead() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    recorder.record("x", 0)?;
    let of_x = [
        "record 'x'",
        "0.0 instead of 0",
        "`declare`",
        "Schema::scalar::<f64>()",
    ];
    mismatch(recorder.record("x", 0.5), &of_x);
    let declare = recorder.declare("x", Schema::scalar::<f64>());
    mismatch(declare, &["declare 'x'", "Schema::scalar::<f64>()"]);
    mismatch(
        recorder.series::<f32>("x").map(drop),
        &["Schema::scalar::<f32>()"],
    );

    recorder.record("v", [1_u8, 2])?;
    mismatch(
        recorder.record("v", [0.5, 1.5]),
        &["Schema::array::<f64>([2])"],
    );
    recorder.record("rows", Ragged([1, 2]))?;
    mismatch(
        recorder.record("rows", Ragged([0.5])),
        &["Schema::ragged::<f64>([])"],
    );
    mismatch(recorder.record("rows", [1, 2, 3]), &["`Ragged(&row)`"]);

    recorder.record("rate", 0.5)?;
    mismatch(recorder.record("rate", 1), &["`x as f64`"]);
    mismatch(recorder.record("rate", 1.0_f32), &["`x as f64`"]);
    mismatch(recorder.record("rate", true), &["convert the elements"]);
    mismatch(recorder.record("rate", "0.5"), &["use another key"]);

    let mut grows = vec![1.0];
    recorder.record("grows", &grows)?;
    grows.push(2.0);
    let of_rows = ["shape [1]", "shape [2]", "`Ragged(&row)`, from the first"];
    mismatch(recorder.record("grows", &grows), &of_rows);
    recorder.record("frames", Array2::<u8>::zeros((2, 3)))?;
    let frame = |rows, columns| recorder.record("frames", Array2::<u8>::zeros((rows, columns)));
    mismatch(frame(3, 3), &["`Ragged(&row)`"]);
    mismatch(frame(2, 4), &["one shape"]);

    // A recorder that continues the recording reports the same for its first record.
    recorder.close()?;
    let recorder = Recorder::new(store.open(OpenMode::Append)?);
    mismatch(recorder.record("x", 0.5), &of_x);
    mismatch(recorder.record("grows", &grows), &of_rows);
    Ok(())
}

#[test]
fn truncating_what_is_no_series_says_what_it_is() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    recorder.set("net/seed", 42)?;
    recorder.flush()?;
    for (key, parts) in [
        (
            "net/seed",
            ["truncate 'net/seed': this is a value", "set()"],
        ),
        (
            "net",
            ["truncate 'net': this is a group", "each of its series"],
        ),
    ] {
        for recorder in [&recorder, &Recorder::new(store.clone())] {
            let error = recorder.truncate(key, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::KindMismatch);
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
    Ok(())
}

#[test]
fn a_required_value_that_is_missing_names_the_nearest_keys() -> Result<()> {
    let recorder = Recorder::new(InMemoryDataStore::new());
    let text = |key: &str| recorder.require(key).unwrap_err().to_string();
    assert!(text("seed").ends_with("the recording is empty"));
    recorder.set("meta/seed", 42_u64)?;
    recorder.set("meta/dt", 0.1)?;
    recorder.set("net/excitatory/tau", 20.0)?;
    recorder.record("net/rate", 0.5)?;
    assert_eq!(recorder.require("meta/seed")?.scalar::<u64>()?, 42);
    assert_eq!(recorder.require_as::<f64>("meta/dt")?, 0.1);
    assert_eq!(recorder.get("meta/Seed")?, None);
    assert_eq!(recorder.get_as::<u64>("meta/Seed")?, None);
    for (missing, nearest) in [
        ("meta/Seed", "meta/seed"),
        ("META/SEED", "meta/seed"),
        ("meta/sede", "meta/seed"),
        ("mteta/seed", "meta/seed"),
        ("seed", "meta/seed"),
        ("dt", "meta/dt"),
        ("net/exitatory/tau", "net/excitatory/tau"),
        ("net/tau", "net/excitatory/tau"),
        ("net/rte", "net/rate"),
    ] {
        let text = text(missing);
        let expected = format!(
            "require '{missing}': there is nothing at this key; the nearest keys are '{nearest}'"
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.matches('\'').count() <= 8, "{text}");
    }
    for error in [
        recorder.require("net/rate").unwrap_err(),
        recorder.require_as::<f64>("net").unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::KindMismatch);
        assert_eq!(error.operation(), "require");
    }
    let error = recorder.require_as::<u64>("meta/dt").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TypeMismatch);
    assert!(
        error.to_string().starts_with("require 'meta/dt': "),
        "{error}"
    );
    let error = recorder.group("ent").unwrap_err().to_string();
    assert!(error.contains("nearest keys are 'net'"), "{error}");
    let disabled = Recorder::disabled().require("seed").unwrap_err();
    assert_eq!(disabled.kind(), ErrorKind::NotFound);
    assert_eq!(recorder.store("memory")?.require_as::<f64>("meta/dt")?, 0.1);
    Ok(())
}

#[test]
fn the_nearest_of_ten_thousand_keys_is_found() -> Result<()> {
    let recorder = Recorder::new(InMemoryDataStore::new());
    for demo in 0..10_000 {
        recorder.set(format!("demos/demo_{demo}"), demo)?;
    }
    let text = recorder.require("demos/dmeo_7777").unwrap_err().to_string();
    assert!(
        text.contains("nearest keys are 'demos/demo_7777'"),
        "{text}"
    );
    Ok(())
}
