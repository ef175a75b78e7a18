//! Opening a recording with many keys, and listing its contents.

use criterion::{Criterion, criterion_group, criterion_main};
use simrecorder::{OpenMode, Recorder};
use simrecorder_bench::backend::{Backend, Place};

/// The number of keys, a hundred in each group. Debug builds only check that everything works.
const KEYS: usize = if cfg!(debug_assertions) { 300 } else { 10_000 };

fn record(place: &Place) {
    let recorder = Recorder::new(place.open(OpenMode::CreateNew).expect("a store"));
    for key in 0..KEYS {
        let key = format!("group_{}/{key}", key / 100);
        recorder.record(key, 0.5).expect("recorded");
    }
    recorder.close().expect("closed");
}

fn opening(criterion: &mut Criterion) {
    let places = Backend::ALL.map(|backend| (backend.id(), Place::new(backend)));
    let places = places.map(|(id, place)| (id, place.expect("a place for a recording")));
    places.iter().for_each(|(_, place)| record(place));
    let open = |place: &Place| Recorder::new(place.open(OpenMode::Read).expect("a recording"));

    let mut group = criterion.benchmark_group("open");
    group.sample_size(20);
    for (id, place) in &places {
        group.bench_function(*id, |bencher| bencher.iter(|| open(place)));
    }
    drop(group);
    let mut group = criterion.benchmark_group("open-and-list-keys");
    group.sample_size(10);
    for (id, place) in &places {
        group.bench_function(*id, |bencher| {
            bencher.iter(|| {
                let keys = open(place).keys().expect("the keys");
                assert_eq!(keys.len(), KEYS);
            });
        });
    }
    drop(group);
    let mut group = criterion.benchmark_group("list-one-group");
    group.sample_size(20);
    for (id, place) in &places {
        let recorder = open(place);
        group.bench_function(*id, |bencher| {
            bencher.iter(|| {
                let children = recorder.children("group_1").expect("the children");
                assert_eq!(children.len(), 100);
            });
        });
    }
    drop(group);
    let mut group = criterion.benchmark_group("open-and-view-one");
    group.sample_size(20);
    for (id, place) in &places {
        group.bench_function(*id, |bencher| {
            bencher.iter(|| open(place).get_all("group_1/150").expect("a view"));
        });
    }
}

criterion_group! {
    name = benches;
    config = {
        simrecorder_bench::plots::use_font();
        Criterion::default()
    };
    targets = opening
}
criterion_main!(benches);
