//! redis-py and pyarrow read every kind and element type, bit for bit, with the program in
//! `docs/format.md`.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::claims::{append, claim, declare};
use crate::support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use simrecorder_core::{
    ArrayValue, Batch, Change, ChunkPolicy, Commit, Compression, DType, DataStore, Key, OpenMode,
    Recorder, Records, Schema, Value, prelude::*,
};
use simrecorder_redis::RedisDataStore;
use support::cluster::Cluster;
use support::server;

/// An array of elements with any bits, NaN and infinities among them.
fn elements(dtype: DType, shape: &[usize], seed: usize) -> Value {
    let bytes = dtype.size() * shape.iter().product::<usize>();
    let byte = |i: usize| ((i * i * 31 + i * 7) >> 2) as u8;
    let mask = if dtype == DType::Bool { 1 } else { 0xff };
    let data = (0..bytes).map(|i| byte(i + seed) & mask).collect();
    Value::Array(ArrayValue::from_bytes(dtype, shape.to_vec(), data).unwrap())
}

fn record_all(recorder: &Recorder) {
    for dtype in DType::ALL {
        for i in 0..10 {
            let record = |kind: &str, record: Value| {
                recorder.record(format!("{kind}/{dtype}"), record).unwrap();
            };
            record("scalars", elements(dtype, &[], i));
            record("arrays", elements(dtype, &[2, 3], i));
            let len = i * 3 % 4;
            let rows = [("ragged", vec![len]), ("ragged2", vec![len, 2])];
            for (kind, shape) in rows {
                let row = Ragged(elements(dtype, &shape, i));
                recorder.record(format!("{kind}/{dtype}"), row).unwrap();
            }
        }
        let matrix = elements(dtype, &[5, 4], 2);
        recorder.set(format!("values/{dtype}"), matrix).unwrap();
    }
    let text = Schema::text().with_units("mV");
    recorder.declare("kinds/text", text).unwrap();
    for i in 0..10_u8 {
        let text = format!("größe {i} 🧠").repeat(i.into());
        recorder.record("kinds/text", text).unwrap();
        let bytes = Blob(vec![i; i as usize % 4]);
        recorder.record("kinds/bytes", bytes).unwrap();
        let object = Object(json!({"step": i, "names": ["E"]}));
        recorder.record("kinds/object", object).unwrap();
    }
    recorder.set("seed", 42_u64).unwrap();
    recorder.set("text", "größe 🧠").unwrap();
    recorder
        .set("object", Object(json!({"tau": 20.0})))
        .unwrap();
    (0..5000_u64).for_each(|i| recorder.record("freed", i).unwrap());
}

/// Series that begin with five filled records, with a fill value and without.
fn commit_filled(store: &RedisDataStore) {
    let filled = Schema::array::<f32>([2]).with_fill_value(2.5_f32);
    let zeros = Schema::scalar::<u64>();
    for (name, schema, record) in [
        (
            "filled/vector",
            filled,
            [1_f32, -1.0].map(f32::to_ne_bytes).concat(),
        ),
        ("filled/zeros", zeros, 9_u64.to_ne_bytes().to_vec()),
    ] {
        let (key, schema) = (Key::new(name).unwrap(), Arc::new(schema));
        let records = Records::fixed(Arc::clone(&schema), 1, record).unwrap();
        let declare = Change::Declare {
            key: key.clone(),
            schema,
            filled: 5,
        };
        let append = Change::Append {
            batch: Arc::new(Batch::new(key, 5, records)),
            prepared: None,
        };
        store.commit(Commit::new(vec![declare, append])).unwrap();
    }
}

#[test]
fn redis_py_and_pyarrow_read_every_kind_and_type() {
    let server = server();
    let runs = [
        ("none", Compression::None, 64 << 20),
        ("fast", Compression::Fast, 64 << 20),
        ("small", Compression::Small, 64 << 20),
        ("split", Compression::None, 1000),
    ];
    for (run, compression, largest) in runs {
        let store = RedisDataStore::options()
            .run(run)
            .mode(OpenMode::CreateNew)
            .compression(compression)
            .chunk_policy(ChunkPolicy::records(4))
            .largest_value(largest)
            .open(server.url())
            .unwrap();
        let recorder = Recorder::new(store.clone());
        record_all(&recorder);
        recorder.flush().unwrap();
        commit_filled(&store);
        store.free(&[(Key::new("freed").unwrap(), 3000)]).unwrap();
        recorder.close().unwrap();
    }
    let recorder = Recorder::new(RedisDataStore::connect(server.url()).unwrap());
    (0..10).for_each(|i| recorder.record("net/v", [f64::from(i); 3]).unwrap());
    recorder.close().unwrap();

    let cluster = Cluster::start();
    let store = RedisDataStore::create(&cluster.url()).unwrap();
    let mut changes = vec![claim("net"), claim("")];
    for name in ["net/time", "net/v", "top", "own/v"] {
        changes.push(declare(name));
        changes.push(append(&store, name, 0, 10));
    }
    store.commit(Commit::new(changes)).unwrap();
    store.close().unwrap();

    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = folder.join("../target/python/bin/python");
    assert!(
        interpreter.exists(),
        "this test runs Python with the packages of simrecorder-python/requirements.txt, and {} is missing: \
         make it with ci/python",
        interpreter.display()
    );
    let output = Command::new(interpreter)
        .args(["-B", "-s"])
        .arg(folder.join("tests/python/read_recording.py"))
        .arg(server.url())
        .arg(format!("redis://127.0.0.1:{}", cluster.servers[0].port()))
        .args(runs.map(|(run, ..)| run))
        .arg(folder.join(".."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
