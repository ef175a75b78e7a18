//! Recording into each store: by key and by handle, scalars, vectors and frames, one and ten
//! thousand keys, one and four threads.

use std::thread;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use simrecorder::ndarray::{ArrayView1, ArrayView2};
use simrecorder::{OpenMode, Recorder, Series};
use simrecorder_bench::backend::{Backend, Place};
use simrecorder_bench::data::{Frames, random_walk};

/// Debug builds only check that everything works.
const SCALARS: usize = if cfg!(debug_assertions) {
    20_000
} else {
    1 << 20
};
const VECTORS: usize = SCALARS / 100;
const FRAMES: usize = if cfg!(debug_assertions) { 2 } else { 64 };
const KEYS: usize = if cfg!(debug_assertions) { 500 } else { 10_000 };
const THREADS: usize = 4;

type Recording<'a> = Box<dyn Fn(&Recorder) -> simrecorder::Result<()> + 'a>;

/// Measures recording `records` records into each store, from the first record to the end of
/// `close`.
fn measure(criterion: &mut Criterion, work: &str, records: usize, record: Recording<'_>) {
    let mut group = criterion.benchmark_group(format!("record/{work}"));
    group
        .sample_size(10)
        .throughput(Throughput::Elements(records as u64));
    for backend in Backend::ALL {
        let place = Place::new(backend).expect("a place for a recording");
        group.bench_function(backend.id(), |bencher| {
            let empty = || place.open(OpenMode::Truncate).expect("an empty store");
            let run = |store| {
                let recorder = Recorder::new(store);
                record(&recorder)
                    .and_then(|()| recorder.close())
                    .expect("a recording");
                // Dropped by criterion, outside the measured time.
                recorder
            };
            bencher.iter_batched(empty, run, BatchSize::PerIteration);
        });
    }
}

fn one_key(criterion: &mut Criterion) {
    let walk = random_walk(SCALARS);
    let by_key = |recorder: &Recorder| {
        let mut values = walk.iter();
        values.try_for_each(|value| recorder.record("net/rate", *value))
    };
    measure(criterion, "scalars-by-key", SCALARS, Box::new(by_key));
    let by_handle = |recorder: &Recorder| {
        let series = recorder.series::<f64>("net/rate")?;
        walk.iter().try_for_each(|value| series.record(*value))
    };
    measure(criterion, "scalars-by-handle", SCALARS, Box::new(by_handle));

    let by_key = |recorder: &Recorder| {
        let mut vectors = walk.as_chunks::<100>().0.iter();
        vectors.try_for_each(|vector| recorder.record("net/v", vector))
    };
    measure(criterion, "vectors-by-key", VECTORS, Box::new(by_key));
    let by_handle = |recorder: &Recorder| {
        let series = recorder.series::<f64>("net/v")?;
        let mut vectors = walk.as_chunks::<100>().0.iter();
        vectors.try_for_each(|vector| series.record(ArrayView1::from(vector)))
    };
    measure(criterion, "vectors-by-handle", VECTORS, Box::new(by_handle));
}

fn frames(criterion: &mut Criterion) {
    let frames = Frames::Smooth.make(2);
    let frames = || {
        let shape = (Frames::SIDE, Frames::SIDE);
        let frames = frames.iter().cycle().take(FRAMES);
        frames.map(move |frame| ArrayView2::from_shape(shape, frame).expect("a square"))
    };
    let by_key =
        |recorder: &Recorder| frames().try_for_each(|frame| recorder.record("field", frame));
    measure(criterion, "frames-by-key", FRAMES, Box::new(by_key));
    let by_handle = |recorder: &Recorder| {
        let series = recorder.series::<f32>("field")?;
        frames().try_for_each(|frame| series.record(frame))
    };
    measure(criterion, "frames-by-handle", FRAMES, Box::new(by_handle));
}

fn many_keys(criterion: &mut Criterion) {
    let keys: Vec<String> = (0..KEYS)
        .map(|key| format!("group_{}/{key}", key / 100))
        .collect();
    let steps = SCALARS / KEYS;
    let by_key = |recorder: &Recorder| {
        (0..steps).try_for_each(|step| {
            let mut keys = keys.iter();
            keys.try_for_each(|key| recorder.record(key, step as f64))
        })
    };
    measure(
        criterion,
        "many-keys-by-key",
        steps * KEYS,
        Box::new(by_key),
    );
    let by_handle = |recorder: &Recorder| {
        let series = keys.iter().map(|key| recorder.series::<f64>(key));
        let series = series.collect::<simrecorder::Result<Vec<_>>>()?;
        (0..steps).try_for_each(|step| {
            let mut series = series.iter();
            series.try_for_each(|series: &Series<f64>| series.record(step as f64))
        })
    };
    measure(
        criterion,
        "many-keys-by-handle",
        steps * KEYS,
        Box::new(by_handle),
    );
}

/// Each thread has its own key, and its share of the records.
fn threads(criterion: &mut Criterion) {
    let walk = random_walk(SCALARS / THREADS);
    let all = |work: &(dyn Fn(&str) -> simrecorder::Result<()> + Sync)| {
        thread::scope(|scope| {
            let start = |thread| scope.spawn(move || work(&format!("thread_{thread}/rate")));
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            let mut threads = threads.into_iter();
            threads.try_for_each(|thread| thread.join().expect("no panic"))
        })
    };
    let by_key = |recorder: &Recorder| {
        all(&|key| {
            let mut values = walk.iter();
            values.try_for_each(|value| recorder.record(key, *value))
        })
    };
    measure(criterion, "threads-by-key", SCALARS, Box::new(by_key));
    let by_handle = |recorder: &Recorder| {
        all(&|key| {
            let series = recorder.series::<f64>(key)?;
            walk.iter().try_for_each(|value| series.record(*value))
        })
    };
    measure(criterion, "threads-by-handle", SCALARS, Box::new(by_handle));
}

criterion_group! {
    name = benches;
    config = {
        simrecorder_bench::plots::use_font();
        Criterion::default()
    };
    targets = one_key, frames, many_keys, threads
}
criterion_main!(benches);
