//! The way of a record into each store: by key and by handle, scalars, vectors and frames.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use simrecorder::ndarray::ArrayView2;
use simrecorder::{DataStore, InMemoryDataStore, OpenMode, Recorder};
use simrecorder_bench::contenders::simrecorder_store::Store;
use simrecorder_bench::data::{Frames, random_walk};
use tempfile::TempDir;

/// A store, and the folder that it is in.
type StoreInFolder = (Arc<dyn DataStore>, Option<TempDir>);

/// Makes a store that is empty.
type NewStore = fn() -> StoreInFolder;

fn stores() -> [(&'static str, NewStore); 4] {
    fn on_disk(store: Store) -> StoreInFolder {
        let folder = tempfile::tempdir().expect("a folder for the recording");
        let path = folder.path().join("recording");
        let store = store.open(&path, OpenMode::CreateNew).expect("a store");
        (store, Some(folder))
    }
    [
        ("memory", || (Arc::new(InMemoryDataStore::new()), None)),
        ("zarr-lmdb", || on_disk(Store::Lmdb)),
        ("zarr-directory", || on_disk(Store::Directory)),
        ("hdf5", || on_disk(Store::Hdf5)),
    ]
}

/// What is recorded: its name, the number of records, and the recording of them.
type Run<'a> = (
    &'a str,
    u64,
    Box<dyn Fn(&Recorder) -> simrecorder::Result<()> + 'a>,
);

fn recording(criterion: &mut Criterion) {
    let walk = random_walk(1 << 20);
    let frames = Frames::Smooth.make(4);
    let side = Frames::SIDE;
    let runs: [Run<'_>; 4] = [
        (
            "scalars-by-key",
            1 << 20,
            Box::new(|recorder| {
                walk.iter()
                    .try_for_each(|value| recorder.record("net/rate", *value))
            }),
        ),
        (
            "scalars-by-handle",
            1 << 20,
            Box::new(|recorder| {
                let series = recorder.series::<f64>("net/rate")?;
                walk.iter().try_for_each(|value| series.record(*value))
            }),
        ),
        (
            "vectors-of-100",
            (1 << 20) / 100,
            Box::new(|recorder| {
                let mut vectors = walk.as_chunks::<100>().0.iter();
                vectors.try_for_each(|vector| recorder.record("net/v", vector))
            }),
        ),
        (
            "frames-of-1-MiB",
            64,
            Box::new(|recorder| {
                frames.iter().cycle().take(64).try_for_each(|frame| {
                    let frame = ArrayView2::from_shape((side, side), frame).expect("a square");
                    recorder.record("field", frame)
                })
            }),
        ),
    ];
    for (work, records, run) in &runs {
        let mut group = criterion.benchmark_group(format!("record/{work}"));
        group
            .sample_size(10)
            .throughput(Throughput::Elements(*records));
        for (name, store) in stores() {
            group.bench_function(name, |bencher| {
                let record = |(store, folder)| {
                    let recorder = Recorder::new(store);
                    run(&recorder)
                        .and_then(|()| recorder.close())
                        .expect("a recording");
                    // Dropped by criterion, outside the measured time.
                    (recorder, folder)
                };
                bencher.iter_batched(store, record, BatchSize::PerIteration);
            });
        }
    }
}

criterion_group!(benches, recording);
criterion_main!(benches);
