//! Series that begin with a hundred million filled records, for other software and for kills.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use simrecorder_core::{
    ArrayView, Batch, Change, ChunkPolicy, Commit, DataStore, DataStoreExt, IntoValue, Key,
    OpenMode, Records, Schema, Value, verify,
};

use crate::{role, this_test};

/// The number of filled records. It ends in the middle of the chunks below.
pub const FILLED: u64 = 100_000_000;

/// Series with their fill values. The chunks of `number` are short, and those of `field` have one record;
/// `vector` and `rate` fill no chunk.
fn series() -> [(Key, Schema); 4] {
    let chunks = |schema: Schema, records| schema.with_chunk_policy(ChunkPolicy::records(records));
    let key = |name: &str| Key::new(format!("net/{name}")).unwrap();
    [
        (
            key("number"),
            chunks(Schema::scalar::<i64>().with_fill_value(7_i64), 12),
        ),
        (
            key("vector"),
            Schema::array::<f64>([3]).with_fill_value(-1.5),
        ),
        (key("field"), chunks(Schema::array::<f32>([300, 5]), 1)),
        (key("rate"), Schema::scalar::<f64>().with_fill_value(0.25)),
    ]
}

fn record(name: &str, index: u64) -> Value {
    match name {
        "number" => Value::new((index - FILLED) as i64),
        "vector" => Value::new([index as f64, 0.0, 0.5]),
        "field" => Value::new([[(index - FILLED) as f32 + 1.0; 5]; 300]),
        _ => Value::new(index as f64),
    }
    .unwrap()
}

/// Declares the series with their filled records.
pub fn declare_filled(store: &dyn DataStore) {
    let declare = series().map(|(key, schema)| Change::Declare {
        key,
        schema: Arc::new(schema),
        filled: FILLED,
    });
    store.commit(Commit::new(declare.into())).unwrap();
}

/// Appends some records to each series, in one commit.
pub fn append_after_filled(store: &dyn DataStore, records: std::ops::Range<u64>) {
    let append = series().map(|(key, schema)| {
        let record = |index| record(key.name(), FILLED + index);
        let data = records
            .clone()
            .map(|index| record(index).as_record().unwrap().data().to_vec());
        let (count, data) = (
            records.end - records.start,
            data.collect::<Vec<_>>().concat(),
        );
        let appended = Records::fixed(Arc::new(schema), count, data).unwrap();
        let batch = Arc::new(Batch::new(key, FILLED + records.start, appended));
        Change::Append {
            batch,
            prepared: None,
        }
    });
    store.commit(Commit::new(append.into())).unwrap();
}

/// Checks the number of records after the filled ones, and that nothing is damaged.
pub fn check_after_filled(store: &dyn DataStore, count: u64) {
    for (key, schema) in series() {
        let view = store.view(&key).unwrap().unwrap();
        assert_eq!(
            (view.filled(), view.len()),
            (FILLED, FILLED + count),
            "{key}"
        );
        let fill = schema.fill_value().and_then(Value::as_array);
        let element = fill.map_or(vec![0; 4], |fill| fill.as_bytes().to_vec());
        let records = schema.record_bytes().unwrap() / element.len();
        for index in [0, FILLED / 3, FILLED - 1] {
            let found = view.read_records(index..index + 1, 1).unwrap();
            assert!(
                found.data() == element.repeat(records),
                "record {index} of {key}"
            );
        }
        for index in FILLED..FILLED + count {
            let found = view.get(index).unwrap();
            assert!(
                found == record(key.name(), index),
                "record {index} of {key}"
            );
        }
    }
    let report = verify(store).unwrap();
    assert!(report.is_sound(), "{report}");
}

/// Checks that filled series exist after their writer was killed: without other records, with
/// records in tails, and with chunks. The writers are the named test in other processes.
pub fn assert_filled_series_survive_a_kill<S: DataStore>(
    test: &str,
    open: impl Fn(&Path, OpenMode) -> S,
) {
    if let Some(path) = role() {
        let is_new = !path.exists();
        let mode = if is_new {
            OpenMode::CreateNew
        } else {
            OpenMode::Append
        };
        let store = open(&path, mode);
        if is_new {
            declare_filled(&store);
        } else {
            let number = Key::new("net/number").unwrap();
            let start = store.view(&number).unwrap().unwrap().len() - FILLED;
            append_after_filled(&store, start..start + 10);
        }
        // In the state after a kill.
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    for count in [0, 10, 20, 30] {
        let writer: &mut Command = &mut this_test(test, &path);
        assert!(!writer.output().unwrap().status.success());
        check_after_filled(&open(&path, OpenMode::Read), count);
    }
    let store = open(&path, OpenMode::Append);
    check_after_filled(&store, 30);
    store.checkpoint().unwrap();
    check_after_filled(&store, 30);
    store.close().unwrap();
    drop(store);
    check_after_filled(&open(&path, OpenMode::Read), 30);
}
