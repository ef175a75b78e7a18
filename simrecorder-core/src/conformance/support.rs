//! Functions for the cases: opening, writing, checking at every stage, and comparing.

use std::fmt::Debug;
use std::sync::Arc;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::Harness;
use crate::error::{ErrorKind, Result};
use crate::model::dtype::Element;
use crate::model::key::Key;
use crate::model::record::IntoValue;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::reading::view::View;
use crate::recorder::{Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::commit::{Batch, Change, Commit};
use crate::store::data_store::DataStore;
use crate::store::open_mode::OpenMode;

pub(super) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(super) fn open(harness: &dyn Harness, mode: OpenMode) -> Arc<dyn DataStore> {
    harness
        .open(mode)
        .unwrap_or_else(|e| panic!("opening with mode {} failed: {e:?}", mode.as_str()))
}

/// Options with which the same calls make the same commits every time.
pub(super) fn inline() -> RecorderOptions {
    RecorderOptions::new().inline(true)
}

pub(super) fn recorder(harness: &dyn Harness, mode: OpenMode) -> Recorder {
    Recorder::with_options(open(harness, mode), inline())
}

/// Names the stage at which a case failed.
struct Stage(&'static str);

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this failed {}", self.0);
        }
    }
}

/// Creates the recording, writes, and checks what can be read while writing, after a flush,
/// after a checkpoint, and after the recording was closed and opened read only.
pub(super) fn write_and_check(
    harness: &dyn Harness,
    write: impl FnOnce(&Recorder),
    check: impl Fn(&Recorder),
) {
    let writer = recorder(harness, OpenMode::CreateNew);
    {
        let _stage = Stage("while writing");
        write(&writer);
        check(&writer);
    }
    {
        let _stage = Stage("after a flush");
        writer.flush().unwrap();
        check(&writer);
    }
    {
        let _stage = Stage("after a checkpoint");
        writer.checkpoint().unwrap();
        check(&writer);
    }
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, check);
}

/// Opens the recording read only and checks it.
pub(super) fn check_reopened(harness: &dyn Harness, check: impl Fn(&Recorder)) {
    let _stage = Stage("after the recording was closed and opened read only");
    let reader = recorder(harness, OpenMode::Read);
    check(&reader);
    reader.close().unwrap();
}

/// Checks the kind of an error, and that its text names all of `parts`.
#[track_caller]
pub(super) fn expect_error<T: Debug>(result: Result<T>, kind: ErrorKind, parts: &[&str]) {
    let error = match result {
        Ok(value) => panic!("expected an error of kind '{kind}', got {value:?}"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    for part in parts {
        assert!(
            error.to_string().contains(part),
            "the error does not name '{part}': {error:?}"
        );
    }
}

pub(super) fn value(value: impl IntoValue) -> Value {
    Value::new(value).unwrap()
}

/// A value in full, as far as that is readable.
pub(super) fn show(value: &Value) -> String {
    let bytes = match value {
        Value::Array(array) => array.as_bytes(),
        Value::Text(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        Value::Object(object) => object.as_msgpack(),
    };
    let start = &bytes[..bytes.len().min(64)];
    format!("{}, {} bytes: {start:02x?}", value.describe(), bytes.len())
}

#[track_caller]
pub(super) fn assert_same_value(found: &Value, expected: &Value, what: &str) {
    assert!(
        found == expected,
        "{what}:\n   found {}\nexpected {}",
        show(found),
        show(expected)
    );
}

/// Checks a view against its records: length, iteration, single records, and blocks of them.
#[track_caller]
pub(super) fn check_view(view: &View, expected: &[Value]) {
    let name = view.key().as_str();
    assert_eq!(view.len(), expected.len() as u64, "records of '{name}'");
    for (index, (found, expected)) in view.iter().zip(expected).enumerate() {
        let found = found.unwrap_or_else(|e| panic!("record {index} of '{name}': {e:?}"));
        assert_same_value(&found, expected, &format!("record {index} of '{name}'"));
    }
    assert_eq!(view.iter().count(), expected.len(), "items of '{name}'");
    for index in [0, expected.len() / 2, expected.len().saturating_sub(1)] {
        if let Some(expected) = expected.get(index) {
            let found = view.get(index as u64).unwrap();
            assert_same_value(&found, expected, &format!("get({index}) of '{name}'"));
        }
    }
}

/// Checks the series at `key` against its records.
#[track_caller]
pub(super) fn check_series(recorder: &Recorder, key: &str, expected: &[Value]) {
    check_view(&recorder.get_all(key).unwrap(), expected);
}

/// Checks the value at `key`.
#[track_caller]
pub(super) fn check_value(recorder: &Recorder, key: &str, expected: &Value) {
    let found = recorder.get(key).unwrap();
    let found = found.unwrap_or_else(|| panic!("there is no value at '{key}'"));
    assert_same_value(&found, expected, key);
}

/// The names of all values and series.
#[track_caller]
pub(super) fn keys(recorder: &Recorder) -> Vec<String> {
    recorder
        .keys()
        .unwrap()
        .iter()
        .map(|key| key.as_str().to_owned())
        .collect()
}

/// The children of a group as `name: kind`.
#[track_caller]
pub(super) fn children(recorder: &Recorder, group: &str) -> Vec<String> {
    let children = recorder.children(group).unwrap();
    children
        .iter()
        .map(|child| format!("{}: {}", child.key, child.kind))
        .collect()
}

pub(super) fn attributes(json: serde_json::Value) -> Attributes {
    match json {
        serde_json::Value::Object(map) => map,
        other => panic!("{other} is no map of attributes"),
    }
}

// ---- below the recorder --------------------------------------------------------------------

pub(super) fn declare(key: &str, schema: Schema) -> Change {
    Change::Declare {
        key: self::key(key),
        schema: Arc::new(schema),
        filled: 0,
    }
}

pub(super) fn set(key: &str, value: impl IntoValue) -> Change {
    Change::Set {
        key: self::key(key),
        value: Arc::new(self::value(value)),
    }
}

pub(super) fn set_attributes(key: &str, json: serde_json::Value) -> Change {
    Change::SetAttributes {
        key: Key::new_or_root(key).unwrap(),
        attributes: Arc::new(attributes(json)),
    }
}

pub(super) fn truncate(key: &str, records: u64) -> Change {
    Change::Truncate {
        key: self::key(key),
        len: records,
    }
}

pub(super) fn claim(group: &str) -> Change {
    Change::Claim {
        group: Key::new_or_root(group).unwrap(),
    }
}

/// A batch that the store has encoded ahead of its commit, as for the recorder.
pub(super) fn append(
    store: &dyn DataStore,
    key: &str,
    schema: Schema,
    start: u64,
    values: &[Value],
) -> Change {
    let mut records = Records::empty(Arc::new(schema));
    for value in values {
        records.push(&value.as_record().unwrap());
    }
    let batch = Arc::new(Batch::new(self::key(key), start, records));
    let prepared = store.prepare(&batch).unwrap();
    Change::Append { batch, prepared }
}

/// A batch of `u64` scalars.
pub(super) fn append_numbers(
    store: &dyn DataStore,
    key: &str,
    start: u64,
    numbers: std::ops::Range<u64>,
) -> Change {
    let values: Vec<_> = numbers.map(value).collect();
    append(store, key, Schema::scalar::<u64>(), start, &values)
}

pub(super) fn commit(store: &dyn DataStore, changes: Vec<Change>) -> Result<()> {
    store.commit(Commit::new(changes))
}

#[track_caller]
pub(super) fn check_numbers(view: &dyn ArrayView, expected: impl Iterator<Item = u64>) {
    let found = view.read::<u64>().unwrap();
    let expected: Vec<_> = expected.collect();
    assert_eq!(
        found.into_raw_vec_and_offset().0,
        expected,
        "{}",
        view.key()
    );
}

/// The bytes of elements, to compare NaN and signed zeros too.
pub(super) fn bytes<'a, T: Element>(elements: impl IntoIterator<Item = &'a T>) -> Vec<u8> {
    elements
        .into_iter()
        .flat_map(|x| T::bytes_of(std::slice::from_ref(x)).to_vec())
        .collect()
}

// ---- random cases --------------------------------------------------------------------------

/// Runs `test` with the same random inputs every time, and shrinks inputs that fail.
#[track_caller]
pub(super) fn for_random<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 512,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(strategy, |input| {
        test(input);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
