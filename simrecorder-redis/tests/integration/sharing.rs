//! What several stores on one server see of each other.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use simrecorder_core::ndarray::{self, s};
use simrecorder_core::{
    ArrayView, Compression, DataStore, ErrorBound, ErrorKind, InMemoryDataStore, Key, OnDivergence,
    OpenMode, Recorder, RecorderOptions, Schema, Value, View, prelude::*,
};
use simrecorder_redis::{RedisDataStore, RedisEncoding};
use support::{expect, new_run, server, server_with};

fn view(store: &RedisDataStore, name: &str) -> View {
    store.view(&Key::new(name).unwrap()).unwrap().unwrap()
}

#[test]
fn two_writers_append_to_one_series_and_a_view_returns_the_writer_of_a_record() {
    let url = new_run();
    let stores = [(); 2].map(|()| RedisDataStore::connect(&url).unwrap());
    let recorders = stores.each_ref().map(|store| Recorder::new(store.clone()));
    for round in 0..10_u64 {
        for (recorder, who) in recorders.iter().zip(0_u64..) {
            (0..5).for_each(|i| recorder.record("n", [who, round * 5 + i]).unwrap());
            recorder.flush().unwrap();
        }
    }
    let n = view(&stores[0], "n");
    assert_eq!(n.shape(), [100, 2]);
    let records = n.read::<u64>().unwrap();
    for index in 0..100 {
        let who = (index / 5 % 2) as usize;
        assert_eq!(records[[index as usize, 0]], who as u64);
        let writer = n.writer_of(index).unwrap();
        assert_eq!(writer, Some(stores[who].writer_id()));
    }
    let backwards = n.select(s![..;-1]).unwrap();
    assert_eq!(backwards.writer_of(0).unwrap(), Some(stores[1].writer_id()));
    let error = n.writer_of(100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfBounds);
    let writers = stores[0].writers().unwrap();
    assert_eq!(writers.len(), 2);
    assert_eq!(writers[0].process, u64::from(std::process::id()));
    assert!(!writers[0].host.is_empty());
}

#[test]
fn recordings_of_one_server_are_kept_apart_by_name_and_database() {
    let server = server();
    let names = ["a", "a/b", "größe {x}", "a:b", ""];
    for (index, name) in names.iter().enumerate() {
        for database in [0, 1] {
            let url = format!("{}/{database}", server.url());
            let options = RedisDataStore::options().run(*name);
            let store = options.mode(OpenMode::CreateNew).open(&url).unwrap();
            assert_eq!(store.run(), *name);
            let recorder = Recorder::new(store);
            recorder.record("n", index + 10 * database).unwrap();
            recorder.close().unwrap();
        }
    }
    for (index, name) in names.iter().enumerate() {
        for database in [0, 1] {
            let url = format!("{}/{database}", server.url());
            let store = RedisDataStore::options().run(*name).open(&url).unwrap();
            let n = view(&store, "n").read::<u64>().unwrap();
            assert_eq!(n[0], (index + 10 * database) as u64);
        }
    }
}

#[test]
fn settings_of_a_recording_are_stored_in_the_database() {
    let url = new_run();
    let store = RedisDataStore::options()
        .mode(OpenMode::CreateNew)
        .encoding(RedisEncoding::Bincode)
        .compression(Compression::Small)
        .open(&url)
        .unwrap();
    store.close().unwrap();
    // A later program finds these settings, whatever options it uses.
    let options = RedisDataStore::options().encoding(RedisEncoding::Arrow);
    let recorder = Recorder::new(options.mode(OpenMode::Append).open(&url).unwrap());
    (0..1000_u64).for_each(|_| recorder.record("n", 7_u64).unwrap());
    recorder.close().unwrap();
    let store = RedisDataStore::open(&url).unwrap();
    let n = view(&store, "n");
    assert_eq!(n.schema().compression(), Some(Compression::Small));
    assert_eq!(n.read::<u64>().unwrap().sum(), 7000);
}

#[test]
fn replacing_a_recording_stops_its_writers_and_leaves_no_keys() {
    let server = server();
    let old = RedisDataStore::connect(server.url()).unwrap();
    let recorder = Recorder::new(old.clone());
    recorder.set("value", vec![1.0; 1000]).unwrap();
    (0..100_000_u64).for_each(|i| recorder.record("group/n", i).unwrap());
    recorder.flush().unwrap();
    let before = view(&old, "group/n");
    let truncate = || {
        let options = RedisDataStore::options().mode(OpenMode::Truncate);
        options.open(server.url()).unwrap()
    };
    drop(truncate());
    recorder.record("group/n", 1_u64).unwrap();
    let error = recorder.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let words = ["group/n", "another recording", "open it again"];
    expect(before.read::<u64>(), ErrorKind::OutOfBounds, &words);
    // The frames of the stopped writer expire.
    let keys = server.cli(&["KEYS", "*"]);
    for name in keys.lines() {
        let left = server.cli(&["TTL", name]);
        let of_new = name.ends_with(":root") || name.ends_with(":writers");
        assert!(of_new || left != "-1", "{name} is left");
    }
    assert_eq!(truncate().children(&Key::ROOT).unwrap(), []);
}

/// All ways to read the records of a view, from the record with this index on.
fn read_in_all_ways(view: &View, from: u64) -> Vec<simrecorder_core::Result<()>> {
    let part = view.select(from as usize..).unwrap();
    let mut results = vec![
        view.get(from).map(drop),
        view.read_records(from..view.len(), usize::MAX).map(drop),
        view.check_records(from..view.len()),
        view.iter().nth(from as usize).unwrap().map(drop),
        part.iter().try_for_each(|record| record.map(drop)),
        part.read_records(0..1, 0).map(drop),
        view.writer_of(from).map(drop),
    ];
    if view.kind().is_fixed() {
        results.push(part.read_value().map(drop));
        let column = view.select(s![..;-1, 1]).unwrap();
        results.push(column.read_value().map(drop));
    }
    results
}

/// A recording with vectors in small frames, large ones that are read in parts, rows and texts.
fn record_all_kinds(url: &str) -> (RedisDataStore, Recorder) {
    let store = RedisDataStore::connect(url).unwrap();
    let recorder = Recorder::new(store.clone());
    for i in 0..20_u64 {
        recorder.record("v", [i; 3]).unwrap();
        recorder.record("large", vec![i; 40_000]).unwrap();
        recorder
            .record("rows", Ragged(vec![i; i as usize % 3]))
            .unwrap();
        recorder.record("text", format!("step {i}")).unwrap();
        if i % 8 == 0 {
            recorder.flush().unwrap();
        }
    }
    recorder.flush().unwrap();
    (store, recorder)
}

const ALL_KINDS: [&str; 4] = ["v", "large", "rows", "text"];

#[test]
fn records_that_another_store_cut_are_out_of_bounds() {
    let url = new_run();
    let (_, recorder) = record_all_kinds(&url);
    let reader = RedisDataStore::open(&url).unwrap();
    let views = ALL_KINDS.map(|name| (name, view(&reader, name)));
    let check = || {
        for (name, view) in &views {
            for result in read_in_all_ways(view, 12) {
                let words = [name, "removed after it was taken", "take a new view"];
                expect(result, ErrorKind::OutOfBounds, &words);
            }
        }
    };
    for name in ALL_KINDS {
        recorder.truncate(name, 5).unwrap();
    }
    recorder.flush().unwrap();
    check();
    // Other records replaced them.
    for i in 100..120_u64 {
        recorder.record("v", [i; 3]).unwrap();
        recorder.record("text", format!("step {i}")).unwrap();
    }
    recorder.close().unwrap();
    check();
    let v = views[0].1.refresh().unwrap().select(s![.., 0]).unwrap();
    let v = v.read::<u64>().unwrap();
    assert!(v.iter().copied().eq((0..5).chain(100..120)), "{v}");
}

#[test]
fn records_that_a_server_lost_are_out_of_bounds() {
    let server = server();
    let (store, recorder) = record_all_kinds(server.url());
    recorder.close().unwrap();
    let views = ALL_KINDS.map(|name| (name, view(&store, name)));
    // As on a server that lost the latest commits.
    for state in server.cli(&["KEYS", "*:state"]).lines() {
        server.cli(&["HSET", state, "end", "9"]);
        let index = state.replace(":state", ":index");
        server.cli(&["XTRIM", &index, "MAXLEN", "0"]);
    }
    for (name, view) in &views {
        for result in read_in_all_ways(view, 9) {
            let words = [name, "removed after it was taken", "take a new view"];
            expect(result, ErrorKind::OutOfBounds, &words);
        }
    }
}

/// The keys of a recording that was deleted or replaced disappear one after another.
#[test]
fn errors_for_missing_frames_say_what_happened_to_the_recording() {
    let shorter = ["HSET", "STATE", "end", "2"];
    let freed = ["HSET", "STATE", "first", "19"];
    let replaced = ["HSET", "ROOT", "generation", "other"];
    let deleted = ["DEL", "ROOT"];
    for (change, kind, word) in [
        (
            &shorter[..],
            ErrorKind::OutOfBounds,
            "removed after it was taken",
        ),
        (&freed[..], ErrorKind::NotFound, "freed"),
        (&replaced[..], ErrorKind::OutOfBounds, "another recording"),
        (&deleted[..], ErrorKind::NotFound, "deleted"),
        (&["PING"], ErrorKind::Corrupt, "missing"),
    ] {
        let server = server();
        let (store, recorder) = record_all_kinds(server.url());
        recorder.close().unwrap();
        let views = ALL_KINDS.map(|name| (name, view(&store, name)));
        for frame in server.cli(&["KEYS", "*}:*-*"]).lines() {
            server.cli(&["DEL", frame]);
        }
        let root = server.cli(&["KEYS", "*:root"]);
        for state in server.cli(&["KEYS", "*:state"]).lines() {
            let words = change.iter().map(|word| match *word {
                "STATE" => state,
                "ROOT" => &root,
                word => word,
            });
            server.cli(&words.collect::<Vec<_>>());
        }
        for (name, view) in views {
            expect(view.get(9), kind, &[name, word]);
        }
    }
}

#[test]
fn a_private_store_together_with_a_shared_one() {
    let url = new_run();
    let record = |options: RecorderOptions| {
        let own = InMemoryDataStore::new();
        let store = RedisDataStore::connect(&url).unwrap();
        let recorder = Recorder::with_options((store, own.clone()), options);
        let recorded = (0..50_u64).try_for_each(|i| recorder.record("n", i));
        let closed = recorder.close();
        (recorded.and(closed), own)
    };
    record(RecorderOptions::new()).0.unwrap();
    let (recorded, _) = record(RecorderOptions::new());
    assert_eq!(recorded.unwrap_err().kind(), ErrorKind::Diverged);
    let options = RecorderOptions::new().on_divergence(OnDivergence::SharedMayDiffer);
    let (recorded, own) = record(options);
    recorded.unwrap();
    let own = own.view(&Key::new("n").unwrap()).unwrap().unwrap();
    assert!(own.read::<u64>().unwrap().iter().copied().eq(0..50));
    let shared = view(&RedisDataStore::open(&url).unwrap(), "n");
    let shared = shared.read::<u64>().unwrap();
    assert!(shared.iter().copied().eq((0..50).chain(0..50)));
}

#[test]
fn records_and_values_above_the_limit_of_a_value_are_split() {
    let server = server_with(|options| options.setting("proto-max-bulk-len", "1mb"));
    let store = RedisDataStore::options()
        .mode(OpenMode::CreateNew)
        .largest_value(1 << 20)
        .open(server.url())
        .unwrap();
    let recorder = Recorder::new(store);
    let large = |seed: u64| -> Vec<u64> {
        (0..700_000)
            .map(|i| (i ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect()
    };
    recorder.set("value", large(0)).unwrap();
    for seed in 1..4 {
        recorder.record("v", large(seed)).unwrap();
        recorder
            .record("bytes", Blob(vec![seed as u8; 3 << 20]))
            .unwrap();
    }
    recorder.flush().unwrap();
    let check = |recorder: &Recorder| {
        let v = recorder.get_all("v").unwrap();
        assert_eq!(
            v.get(2).unwrap().array::<u64>().unwrap().as_slice(),
            Some(&large(3)[..])
        );
        let part = v.select(s![1.., 699_999]).unwrap();
        let expected = [large(2)[699_999], large(3)[699_999]];
        assert_eq!(part.read::<u64>().unwrap().as_slice(), Some(&expected[..]));
        let bytes = recorder.get_all("bytes").unwrap().get(0).unwrap();
        assert_eq!(bytes.as_bytes().unwrap(), vec![1; 3 << 20]);
        let value = recorder.get("value").unwrap().unwrap();
        assert_eq!(
            value.array::<u64>().unwrap().as_slice(),
            Some(&large(0)[..])
        );
    };
    check(&recorder);
    recorder.set("value", 1_u64).unwrap();
    recorder.set("value", large(0)).unwrap();
    recorder.close().unwrap();
    check(&Recorder::new(RedisDataStore::open(server.url()).unwrap()));
}

/// The number of bytes that the server has sent so far.
fn bytes_sent(server: &support::TestServer) -> u64 {
    let info = server.cli(&["INFO", "stats"]);
    let bytes = info
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    bytes.unwrap().trim().parse().unwrap()
}

#[test]
fn a_slice_fetches_only_the_frames_it_touches() {
    let server = server();
    let recorder = Recorder::new(RedisDataStore::connect(server.url()).unwrap());
    let schema = Schema::array::<f64>([1000]);
    recorder.declare("v", schema).unwrap();
    (0..2000).for_each(|i| recorder.record("v", vec![f64::from(i); 1000]).unwrap());
    recorder.close().unwrap();
    let store = RedisDataStore::open(server.url()).unwrap();
    let v = view(&store, "v");
    let before = bytes_sent(&server);
    let part = v.select(s![..;1000, 3]).unwrap();
    assert_eq!(
        part.read::<f64>().unwrap().as_slice(),
        Some(&[0.0, 1000.0][..])
    );
    let took = bytes_sent(&server) - before;
    assert!(took < 100_000, "{took} bytes for two numbers of 16 MB");
}

#[test]
fn large_records_of_every_kind_and_compression_come_back_as_they_were() {
    let numbers = |seed: u64| -> Vec<f64> {
        let number = |i: u64| (i ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64;
        (0..700_000).map(|i| number(i) * 1e-19).collect()
    };
    let text = "0123456789".repeat(500_000);
    let bound = ErrorBound::new(0.001).unwrap();
    let lossy = Compression::Lossy(bound);
    for encoding in [RedisEncoding::Arrow, RedisEncoding::Bincode] {
        for compression in [
            Compression::None,
            Compression::Fast,
            Compression::Small,
            lossy,
        ] {
            let options = RedisDataStore::options().mode(OpenMode::CreateNew);
            let options = options.encoding(encoding).compression(compression);
            let store = options.largest_value(3_000_001).open(&new_run()).unwrap();
            let recorder = Recorder::new(store);
            recorder.set("value", numbers(0)).unwrap();
            for seed in 1..3 {
                recorder.record("array", numbers(seed)).unwrap();
                recorder.record("row", Ragged(numbers(seed))).unwrap();
                recorder.record("bytes", Blob(&text)).unwrap();
                recorder.record("text", &text).unwrap();
            }
            let what = format!("{encoding:?} {compression:?}");
            let is_recorded = |read: Value, seed: u64| {
                let read = read.array::<f64>().unwrap();
                let error = match compression == lossy && seed > 0 {
                    true => 0.001,
                    false => 0.0,
                };
                read.iter()
                    .zip(numbers(seed))
                    .all(|(read, recorded)| (read - recorded).abs() <= error)
                    && read.len() == 700_000
            };
            let value = recorder.get("value").unwrap().unwrap();
            assert!(is_recorded(value, 0), "{what}");
            for (index, seed) in [(0, 1), (1, 2)] {
                let get = |key: &str| recorder.get_all(key).unwrap().get(index).unwrap();
                assert!(is_recorded(get("array"), seed), "{what}");
                assert!(is_recorded(get("row"), seed), "{what}");
                assert_eq!(get("bytes").as_bytes().unwrap(), text.as_bytes(), "{what}");
                assert_eq!(get("text").as_str().unwrap(), text, "{what}");
            }
            recorder.close().unwrap();
        }
    }
}

#[test]
fn a_slice_through_large_records_fetches_little_more_than_it_returns() {
    let record = |i: u32| {
        let numbers = (0..1_000_000).map(move |at| f64::from(at + i));
        ndarray::Array::from_iter(numbers)
            .into_shape_with_order((10, 1000, 100))
            .unwrap()
    };
    for encoding in [RedisEncoding::Arrow, RedisEncoding::Bincode] {
        // Each record of 8 MB is split into values. The slices begin and end anywhere in them.
        for largest_value in [512 << 20, 3_000_001, 7_777] {
            let server = server();
            let options = RedisDataStore::options()
                .mode(OpenMode::CreateNew)
                .encoding(encoding)
                .largest_value(largest_value);
            let recorder = Recorder::new(options.open(server.url()).unwrap());
            (0..3).for_each(|i| recorder.record("v", record(i)).unwrap());
            recorder.close().unwrap();
            let store = RedisDataStore::open(server.url()).unwrap();
            let v = view(&store, "v");
            let before = bytes_sent(&server);

            let line = v.select(s![..2, 3, 77, ..]).unwrap();
            let line = line.read::<f64>().unwrap();
            let expected = |i: u32| (0..100).map(move |at| f64::from(307_700 + at + i));
            assert!(line.iter().copied().eq((0..2).flat_map(expected)));
            // One column of each plane, and every second record.
            let columns = v.select(s![..;2, .., 500..504, 99]).unwrap();
            let columns = columns.read::<f64>().unwrap();
            for (i, numbers) in columns
                .iter()
                .copied()
                .collect::<Vec<_>>()
                .chunks(40)
                .enumerate()
            {
                let expected = record(2 * i as u32);
                let expected = expected.slice(s![.., 500..504, 99]);
                assert!(numbers.iter().eq(expected.iter()));
            }

            let took = bytes_sent(&server) - before;
            // The description of each value is sent, too.
            let values = 3 * 2 * 8_000_000 / largest_value as u64;
            assert!(
                took < 200_000 + 10 * values,
                "{took} bytes for a few of 24 MB"
            );
        }
    }
}
