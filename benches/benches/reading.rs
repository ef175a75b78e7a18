//! Reading what was recorded: all, slices along each axis, one record after the other.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use simrecorder::ndarray::{ArrayView2, s};
use simrecorder::prelude::*;
use simrecorder::{ArrayView, DataStore, InMemoryDataStore, Key, OpenMode, Recorder, Selection};
use simrecorder_bench::contenders::simrecorder_store::Store;
use simrecorder_bench::data::random_walk;

/// Records of this shape, 4 MiB in all.
const RECORDS: usize = 512;
const SHAPE: (usize, usize) = (16, 64);

/// Records into a store, and gives a view of it.
fn recorded(store: impl DataStore + Clone + 'static) -> Arc<dyn ArrayView> {
    let recorder = Recorder::new(store.clone());
    let walk = random_walk(RECORDS * SHAPE.0 * SHAPE.1);
    for record in walk.chunks(SHAPE.0 * SHAPE.1) {
        let record = ArrayView2::from_shape(SHAPE, record).expect("a record");
        recorder.record("net/v", record).expect("recorded");
    }
    let view = recorder
        .close()
        .and_then(|()| store.view(&Key::new("net/v")?));
    view.expect("a view").expect("a series")
}

fn reading(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the recordings");
    let on_disk = |store: Store, name| {
        let path = folder.path().join(name);
        recorded(store.open(&path, OpenMode::CreateNew).expect("a store"))
    };
    let views = [
        ("memory", recorded(InMemoryDataStore::new())),
        ("zarr-lmdb", on_disk(Store::Lmdb, "lmdb")),
        ("zarr-directory", on_disk(Store::Directory, "directory")),
        ("hdf5", on_disk(Store::Hdf5, "hdf5")),
    ];
    let selections: [(&str, Selection); 4] = [
        ("all", s![.., .., ..].into()),
        ("first-records", s![..8, .., ..].into()),
        ("one-row-of-each", s![.., 3, ..].into()),
        ("one-element-of-each", s![.., 3, 5].into()),
    ];
    for (part, selection) in &selections {
        let mut group = criterion.benchmark_group(format!("read/{part}"));
        for (store, view) in &views {
            let part = view.select(selection.clone()).expect("within the shape");
            let bytes = part.shape().iter().product::<u64>() * 8;
            group.throughput(Throughput::Bytes(bytes));
            group.bench_function(*store, |bencher| bencher.iter(|| part.read::<f64>()));
        }
    }
    let mut group = criterion.benchmark_group("read/records-in-order");
    for (store, view) in &views {
        group.throughput(Throughput::Elements(RECORDS as u64));
        group.bench_function(*store, |bencher| bencher.iter(|| view.iter().count()));
    }
}

criterion_group!(benches, reading);
criterion_main!(benches);
