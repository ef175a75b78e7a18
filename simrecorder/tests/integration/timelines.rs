//! Timelines with large ticks in every store, while a thread reads.
#![cfg(any(feature = "zarr", feature = "hdf5", feature = "redis"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use simrecorder::{
    Coordinate, ErrorKind, OpenMode, OpenOptions, Recorder, RecorderOptions, prelude::*,
};

use crate::support::in_each_store;

/// Elements of a record of 1 MiB.
const LARGE: usize = 1 << 17;

/// The records of each tick: a number of records of 1 MiB, and a number of scalars.
#[derive(Clone, Copy, Debug)]
struct Load {
    ticks: u64,
    large: usize,
    scalars: usize,
    memory_bound: usize,
    inline: bool,
}

fn open(url: &str, mode: OpenMode) -> simrecorder::Result<Recorder> {
    let store = simrecorder::open_with(url, &OpenOptions::new().mode(mode))?;
    Ok(Recorder::new(store))
}

/// The common length of all series.
fn len(reader: &Recorder) -> u64 {
    let net = match reader.group("net") {
        Ok(net) => net,
        Err(error) if error.kind() == ErrorKind::NotFound => return 0,
        Err(error) => panic!("{error}"),
    };
    let len = net.view("step").unwrap().len();
    for (name, view) in net.series() {
        assert_eq!(view.len(), len, "'{name}' is out of step");
    }
    len
}

fn record(url: &str, load: Load) {
    let options = RecorderOptions::new()
        .memory_bound(load.memory_bound)
        .commit_interval(Duration::from_millis(20))
        .inline(load.inline);
    let store = simrecorder::open_with(url, &OpenOptions::new().mode(OpenMode::CreateNew)).unwrap();
    let recorder = Recorder::with_options(store, options);
    let mut net = recorder.timeline("net", Coordinate::new("step")).unwrap();
    let names = |what: &str, count| (0..count).map(|i| format!("{what}{i}")).collect::<Vec<_>>();
    let (large, scalars) = (names("large", load.large), names("scalar", load.scalars));
    for step in 0..load.ticks {
        net.advance(step).unwrap();
        for name in &large {
            net.record(name, vec![step; LARGE]).unwrap();
        }
        for name in &scalars {
            net.record(name, step).unwrap();
        }
    }
    recorder.close().unwrap();
}

/// Records while another thread takes snapshots through another store.
fn record_and_read(load: Load) {
    in_each_store(|url| {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reader = None;
                let mut longest = 0;
                while !is_done.load(Ordering::Acquire) {
                    reader = reader.or_else(|| open(url, OpenMode::Read).ok());
                    longest = longest.max(reader.as_ref().map_or(0, len));
                    std::thread::sleep(Duration::from_millis(3));
                }
                longest
            });
            record(url, load);
            is_done.store(true, Ordering::Release);
            assert!(reader.join().unwrap() > 0, "{url}: nobody saw a tick");
        });
        let reader = open(url, OpenMode::Read).unwrap();
        assert_eq!(len(&reader), load.ticks, "{url}");
        let names = |what: &str, count| (count > 0).then(|| format!("net/{what}{}", count - 1));
        if let Some(key) = names("large", load.large) {
            let found = reader.get_all(key).unwrap().read::<u64>().unwrap();
            for (step, record) in (0..).zip(found.outer_iter()) {
                assert!(record.iter().all(|x| *x == step), "{url}");
            }
        }
        if let Some(key) = names("scalar", load.scalars) {
            let found = reader.get_all(key).unwrap().read::<u64>().unwrap();
            assert!(found.iter().copied().eq(0..load.ticks), "{url}");
        }
    });
}

#[test]
fn a_large_series_and_a_thousand_scalars_have_the_same_length() {
    record_and_read(Load {
        ticks: 8,
        large: 1,
        scalars: 1000,
        memory_bound: 16 << 20,
        inline: false,
    });
}

#[test]
fn ticks_that_are_larger_than_the_memory_bound_are_whole() {
    for inline in [false, true] {
        record_and_read(Load {
            ticks: 6,
            large: 3,
            scalars: 3,
            memory_bound: 1 << 20,
            inline,
        });
    }
}
