//! Python opens what the recorder wrote: every kind and element type, bit for bit.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use serde_json::json;
use simrecorder_core::{
    ChunkPolicy, Compression, Coordinate, DType, OpenMode, Recorder, Schema, prelude::*, verify,
};
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};
use zarrs_storage::{ListableStorageTraits, ReadableStorageTraits};

use crate::support;

use support::recording::*;
use support::{assert_success, python};

/// Creates a recording in a directory and in LMDB, and calls `read` with their paths while both are
/// still open.
fn with_recordings(
    compression: Compression,
    record: impl FnOnce(&Recorder),
    read: impl FnOnce(&Path, &Path),
) {
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
    record(&recorder);
    recorder.checkpoint().unwrap();
    read(directory.path(), lmdb.path());
    recorder.close().unwrap();
}

fn record_all(recorder: &Recorder) {
    for dtype in DType::ALL {
        // zarr-python cannot list a group that contains a bfloat16.
        record_elements(recorder, dtype, |group| match dtype {
            DType::BF16 => format!("{group}/bfloat16/x"),
            dtype => format!("{group}/{dtype}"),
        });
    }
    record_other_kinds(recorder);
    record_group(recorder);
}

#[test]
fn zarr_python_xarray_and_tensorstore_read_every_kind_and_type_from_a_directory() {
    // The numbers are too coarse for this bound, so they stay exact.
    let lossy = Compression::lossy(f64::from_bits(1)).unwrap();
    for compression in [
        Compression::None,
        Compression::Fast,
        Compression::Small,
        lossy,
    ] {
        with_recordings(compression, record_all, |directory, _| {
            for reader in ["zarr", "xarray", "tensorstore"] {
                assert_success(python("read_recording.py").arg(reader).arg(directory));
            }
        });
    }
}

#[test]
fn zarr_python_and_xarray_read_every_kind_and_type_from_lmdb_while_it_is_open() {
    // Without compression, so that one value is large.
    with_recordings(Compression::None, record_all, |_, lmdb| {
        for reader in ["lmdb-zarr", "lmdb-xarray"] {
            assert_success(python("read_recording.py").arg(reader).arg(lmdb));
        }
        let folder = tempfile::tempdir().unwrap();
        write_entries(lmdb, folder.path());
        let compare = ["lmdb-entries".as_ref(), lmdb, folder.path()];
        assert_success(python("read_recording.py").args(compare));
    });
}

/// Writes each entry of a recording in LMDB to a file at its key.
fn write_entries(lmdb: &Path, folder: &Path) {
    let storage = LmdbStorage::open(lmdb, &LmdbOptions::default()).unwrap();
    for key in storage.list().unwrap() {
        let path = folder.join(key.as_str());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, storage.get(&key).unwrap().unwrap()).unwrap();
    }
}

#[test]
fn zarr_python_reads_lossy_numbers_within_their_bound() {
    let lossy = Compression::lossy(0.001).unwrap();
    with_recordings(lossy, record_rounded, |directory, lmdb| {
        assert_success(python("read_recording.py").arg("lossy").arg(directory));
        assert_success(python("read_recording.py").arg("lmdb-lossy").arg(lmdb));
    });
}

#[test]
fn zarr_python_reads_objects_that_json_can_represent_as_json() {
    let folder = tempfile::tempdir().unwrap();
    for (storage, name) in [
        (ZarrStorage::Directory, "run.zarr"),
        (ZarrStorage::Lmdb, "run.mdb"),
    ] {
        let path = folder.path().join(name);
        let options = || ZarrDataStore::options().storage(storage);
        let open = |mode| options().mode(mode).open(&path);
        support::objects::objects_are_json_attributes(&path, open);
    }
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
        let v = v.with_chunk_policy(ChunkPolicy::records(4));
        recorder.declare("net/v", v.with_units("mV")).unwrap();
        for i in 0..10_u8 {
            recorder.record("net/v", [f32::from(i); 3]).unwrap();
            // So that a second commit adds to the shard.
            if i == 3 {
                recorder.flush().unwrap();
            }
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
        // A chunk of more than a page, in a separate file.
        let noise = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let frame: Vec<u64> = (0..1000).map(noise).collect();
        (0..8).for_each(|_| recorder.record("frames", &frame).unwrap());
        recorder.flush().unwrap();
    };
    let closed = [
        (ZarrStorage::Directory, "run.zarr"),
        (ZarrStorage::Lmdb, "run.mdb"),
    ];
    let closed = Recorder::new(closed.map(|(storage, name)| create(storage, name)).to_vec());
    record(&closed);
    closed.close().unwrap();
    // LMDB itself stays open for reading until then, which py-lmdb does not accept.
    drop(closed);
    let flushed = Recorder::new(create(ZarrStorage::Directory, "flushed.zarr"));
    record(&flushed);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_success(python("run_docs.py").arg(folder.path()).arg(repository));
    flushed.close().unwrap();
    continue_timeline_of_the_documents(&folder.path().join("ticks.zarr"));
}

/// The timeline that a program of the documents writes can be read and appended to, and is sound.
fn continue_timeline_of_the_documents(path: &Path) {
    let open = |mode| {
        let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
        options.mode(mode).open(path).unwrap()
    };
    let recorder = Recorder::new(open(OpenMode::Append));
    let mut net = recorder
        .timeline::<f64>("net", Coordinate::new("time"))
        .unwrap();
    assert_eq!((net.len(), net.last()), (100, Some(99.0 * 0.1)));
    net.rewind(5.0).unwrap();
    net.tick(5.5, (("rate", 0.5), ("v", [1.0, 2.0, 3.0])))
        .unwrap();
    let v = recorder.get_all("net/v").unwrap();
    let last = v.select_by("time", 4.95..).unwrap().read::<f64>().unwrap();
    assert_eq!(last.shape(), [2, 3]);
    recorder.close().unwrap();
    drop((net, recorder));
    let report = verify(&open(OpenMode::Read)).unwrap();
    assert!(report.is_sound(), "{report}");
}
