//! Reading recorded data: everything, slices along each axis, and one record after another.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use simrecorder::ndarray::{ArrayView2, s};
use simrecorder::prelude::*;
use simrecorder::{Key, OpenMode, Recorder, Selection, View};
use simrecorder_bench::backend::{Backend, Place};
use simrecorder_bench::data::random_walk;

/// The number of records of this shape, 4 MiB in total.
const RECORDS: usize = 512;
const SHAPE: (usize, usize) = (16, 64);

/// Records into a store, and returns a view of the series.
fn recorded(place: &Place) -> View {
    let recorder = Recorder::new(place.open(OpenMode::CreateNew).expect("a store"));
    let walk = random_walk(RECORDS * SHAPE.0 * SHAPE.1);
    for record in walk.chunks(SHAPE.0 * SHAPE.1) {
        let record = ArrayView2::from_shape(SHAPE, record).expect("a record");
        recorder.record("net/v", record).expect("recorded");
    }
    recorder.close().expect("closed");
    let store = place.open(OpenMode::Read).expect("a store");
    let view = Key::new("net/v").and_then(|key| store.view(&key));
    view.expect("a view").expect("a series")
}

fn reading(criterion: &mut Criterion) {
    let places = Backend::ALL.map(|backend| (backend.id(), Place::new(backend)));
    let places = places.map(|(id, place)| (id, place.expect("a place for a recording")));
    let views: Vec<_> = places
        .iter()
        .map(|(id, place)| (id, recorded(place)))
        .collect();
    let selections: [(&str, Selection); 6] = [
        ("all", s![.., .., ..].into()),
        ("along-records", s![.., 3, 5].into()),
        ("along-rows", s![100, .., 5].into()),
        ("along-columns", s![100, 3, ..].into()),
        ("first-records", s![..8, .., ..].into()),
        ("one-row-of-each", s![.., 3, ..].into()),
    ];
    for (part, selection) in &selections {
        let mut group = criterion.benchmark_group(format!("read/{part}"));
        for (store, view) in &views {
            let part = view.select(selection.clone()).expect("within the shape");
            let bytes = part.shape().iter().product::<u64>() * 8;
            group.throughput(Throughput::Bytes(bytes));
            group.bench_function(**store, |bencher| {
                bencher.iter(|| part.read::<f64>().expect("an array"));
            });
        }
    }
    let mut group = criterion.benchmark_group("read/one-record");
    for (store, view) in &views {
        group.bench_function(**store, |bencher| {
            // Neither always the same record nor consecutive ones.
            let mut index = 0;
            bencher.iter(|| {
                index = (index + 211) % RECORDS as u64;
                view.get(index).expect("a record")
            });
        });
    }
    drop(group);
    let mut group = criterion.benchmark_group("read/records-in-order");
    for (store, view) in &views {
        group.throughput(Throughput::Elements(RECORDS as u64));
        group.bench_function(**store, |bencher| {
            bencher.iter(|| view.iter().filter(|value| value.is_ok()).count());
        });
    }
}

criterion_group! {
    name = benches;
    config = {
        simrecorder_bench::plots::use_font();
        Criterion::default()
    };
    targets = reading
}
criterion_main!(benches);
