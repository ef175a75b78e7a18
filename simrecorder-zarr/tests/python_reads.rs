//! Python opens what the recorder wrote: every kind and element type, bit for bit.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::path::Path;

use serde_json::json;
use simrecorder_core::{
    ArrayValue, Attributes, ChunkPolicy, Compression, DType, OpenMode, Recorder, Schema, Value,
    prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::assert_success;
use support::python::python;

/// An array of elements with any bits, NaN and infinities among them.
fn elements(dtype: DType, shape: &[usize], seed: usize) -> Value {
    let bytes = dtype.size() * shape.iter().product::<usize>();
    let byte = |i: usize| ((i * i * 31 + i * 7) >> 2) as u8;
    let mask = if dtype == DType::Bool { 1 } else { 0xff };
    let data = (0..bytes).map(|i| byte(i + seed) & mask).collect();
    Value::Array(ArrayValue::from_bytes(dtype, shape.to_vec(), data).unwrap())
}

/// Records, with each element type, a scalar, an array, ragged rows, and values.
fn record_elements(recorder: &Recorder, dtype: DType) {
    // zarr-python lists no group that holds a bfloat16.
    let key = |kind: &str| match dtype {
        DType::BF16 => format!("{kind}/bfloat16/x"),
        dtype => format!("{kind}/{dtype}"),
    };
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

fn record_other_kinds(recorder: &Recorder) {
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
}

/// A group as users have it: series of different length, some with names and attributes.
fn record_group(recorder: &Recorder) {
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
    recorder
        .declare("net/no_rows", Schema::ragged::<u8>([]))
        .unwrap();
    for i in 0..10_u16 {
        let small = f32::from(i);
        recorder.record("net/v", [small, -small]).unwrap();
        recorder.record("net/rate", f64::from(i) / 2.0).unwrap();
        if i % 3 == 0 {
            recorder.record("net/rare", i64::from(i)).unwrap();
        }
        recorder.record("net/Δt 🧠", u64::from(i)).unwrap();
        recorder.record("net/__x", u64::from(i)).unwrap();
    }
    let attributes = Attributes::from_iter([("title".to_owned(), json!("a network"))]);
    recorder.set_attributes("net", attributes).unwrap();
}

/// Makes the same recording in a directory and in LMDB, and calls `read` with their paths while
/// it is still open.
fn with_recordings(compression: Compression, read: impl FnOnce(&Path, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let open = |storage: ZarrStorage, name: &str| {
        let options = ZarrDataStore::options()
            .storage(storage)
            .mode(OpenMode::CreateNew);
        let options = options
            .chunk_policy(ChunkPolicy::records(4))
            .compression(compression);
        options.open(folder.path().join(name)).unwrap()
    };
    let directory = open(ZarrStorage::Directory, "run.zarr");
    let lmdb = open(ZarrStorage::Lmdb, "run.mdb");
    let recorder = Recorder::new((directory.clone(), lmdb.clone()));
    for dtype in DType::ALL {
        record_elements(&recorder, dtype);
    }
    record_other_kinds(&recorder);
    record_group(&recorder);
    recorder.checkpoint().unwrap();
    read(directory.path(), lmdb.path());
    recorder.close().unwrap();
}

#[test]
fn zarr_python_xarray_and_tensorstore_read_every_kind_and_type_from_a_directory() {
    // The numbers are too coarse for this bound: they stay exact.
    let lossy = Compression::lossy(f64::from_bits(1)).unwrap();
    for compression in [
        Compression::None,
        Compression::Fast,
        Compression::Small,
        lossy,
    ] {
        with_recordings(compression, |directory, _| {
            for reader in ["zarr", "xarray", "tensorstore"] {
                assert_success(python("read_recording.py").arg(reader).arg(directory));
            }
        });
    }
}

#[test]
fn zarr_python_and_xarray_read_every_kind_and_type_from_lmdb_while_it_is_open() {
    // Without compression, so that one value is large.
    with_recordings(Compression::None, |directory, lmdb| {
        for reader in ["lmdb-zarr", "lmdb-xarray"] {
            assert_success(python("read_recording.py").arg(reader).arg(lmdb));
        }
        let compare = ["lmdb-entries".as_ref(), lmdb, directory];
        assert_success(python("read_recording.py").args(compare));
    });
}

#[test]
fn the_python_programs_of_the_documents_run() {
    let folder = tempfile::tempdir().unwrap();
    let create = |storage: ZarrStorage, name: &str| {
        let options = ZarrDataStore::options()
            .storage(storage)
            .mode(OpenMode::CreateNew);
        let options = options.chunk_policy(ChunkPolicy::records(8));
        options.open(folder.path().join(name)).unwrap()
    };
    let record = |recorder: &Recorder| {
        let v = Schema::array::<f32>([3]).with_dimension_names(["time", "neuron"]);
        recorder.declare("net/v", v.with_units("mV")).unwrap();
        for i in 0..10_u8 {
            recorder.record("net/v", [f32::from(i); 3]).unwrap();
            recorder
                .record("net/spikes", Ragged(vec![i; i as usize % 4]))
                .unwrap();
            recorder
                .record("events", Object(json!({"step": i})))
                .unwrap();
        }
        recorder
            .set("meta/parameters", Object(json!({"tau": 20.0})))
            .unwrap();
        recorder.flush().unwrap();
    };
    let closed = [
        (ZarrStorage::Directory, "run.zarr"),
        (ZarrStorage::Lmdb, "run.mdb"),
    ];
    let closed = Recorder::new(closed.map(|(storage, name)| create(storage, name)).to_vec());
    record(&closed);
    closed.close().unwrap();
    // LMDB itself stays open until then, for reading, which py-lmdb minds.
    drop(closed);
    let flushed = Recorder::new(create(ZarrStorage::Directory, "flushed.zarr"));
    record(&flushed);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_success(python("run_docs.py").arg(folder.path()).arg(repository));
    flushed.close().unwrap();
}
