//! Several processes on one recording: readers that follow a writer, and writers that are
//! killed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests, too, may panic"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use simrecorder_core::{
    ChunkPolicy, ErrorKind, OpenMode, Recorder, RecorderOptions, Schema, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::*;

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> ZarrDataStore {
    ZarrDataStore::options()
        .storage(storage)
        .mode(mode)
        .open(path)
        .unwrap()
}

/// Records for ever, several kinds, with keys that appear on the way, and prints after each
/// flush how many steps are safe.
fn record_for_ever(path: &Path, storage: ZarrStorage) -> ! {
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(3));
    let store = open(path, storage, OpenMode::OpenOrCreate);
    let recorder = Recorder::with_options(store, options);
    let small = ChunkPolicy::records(50);
    recorder
        .declare(
            "n",
            Schema::scalar::<u64>().with_chunk_policy(small.clone()),
        )
        .unwrap();
    recorder
        .declare(
            "spikes",
            Schema::ragged::<u64>([]).with_chunk_policy(small.clone()),
        )
        .unwrap();
    recorder
        .declare("log", Schema::text().with_chunk_policy(small))
        .unwrap();
    let first = recorder.get_all("n").unwrap().len();
    for step in first.. {
        recorder.record("n", step).unwrap();
        recorder
            .record("spikes", Ragged(&vec![step; (step % 4) as usize]))
            .unwrap();
        recorder.record("log", format!("step {step}")).unwrap();
        recorder
            .record(format!("late/{}", step / 40), [step; 100])
            .unwrap();
        if step % 7 == 0 {
            recorder.set("last", step).unwrap();
            recorder.flush().unwrap();
            println!("flushed {}", step + 1);
        }
        if step % 130 == 129 {
            recorder.checkpoint().unwrap();
        }
    }
    std::process::exit(0)
}

/// Checks that each series is a true prefix of what the writer records; returns the lengths.
fn check_prefixes(recorder: &Recorder) -> Vec<u64> {
    let n = recorder.get_all("n").unwrap();
    assert!(n.read::<u64>().unwrap().iter().copied().eq(0..n.len()));
    let spikes = recorder.get_all("spikes").unwrap();
    for (step, row) in spikes.read_ragged::<u64>().unwrap().rows().enumerate() {
        assert_eq!(row.len(), step % 4);
        assert!(row.iter().all(|&x| x == step as u64));
    }
    let log = recorder.get_all("log").unwrap();
    for (step, text) in log.read_text().unwrap().iter().enumerate() {
        assert_eq!(*text, format!("step {step}"));
    }
    let mut lengths = vec![n.len(), spikes.len(), log.len()];
    let mut late = 0;
    for child in recorder.children("late").unwrap() {
        let number: u64 = child.key.name().parse().unwrap();
        let view = recorder.get_all(&child.key).unwrap();
        for (i, record) in view.iter().enumerate() {
            let record = record.unwrap().array::<u64>().unwrap();
            assert!(record.iter().all(|&x| x == number * 40 + i as u64));
        }
        late += view.len();
    }
    lengths.push(late);
    lengths
}

fn killed_writers_leave_every_flushed_record(name: &str, storage: ZarrStorage, kills: u64) {
    if let Some(path) = role() {
        record_for_ever(&path, storage);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..kills {
        let mut writer = this_test(name, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // After some flushes, and a moment that has nothing to do with them.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let flushes = 1 + (random >> 33) % 40;
        let mut safe = 0;
        let mut seen = 0;
        while seen < flushes {
            let line = lines.next().unwrap().unwrap();
            // The test harness prints its own lines before the first.
            let Some((_, number)) = line.split_once("flushed ") else {
                continue;
            };
            safe = number.parse().unwrap();
            seen += 1;
        }
        std::thread::sleep(Duration::from_micros((random >> 40) % 4000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("flushed ") {
                safe = number.parse().unwrap_or(safe);
            }
        }
        let recorder = Recorder::new(open(&path, storage, OpenMode::Read));
        let lengths = check_prefixes(&recorder);
        assert!(
            lengths.iter().all(|&len| len >= safe),
            "{lengths:?}, flushed {safe}"
        );
        let last = recorder.get_as::<u64>("last").unwrap().unwrap();
        assert!(last + 1 >= safe);
        drop(recorder);

        // Appending goes on; what was not flushed may differ from series to series, so that
        // they are brought to one length as a program that resumes would.
        let store = open(&path, storage, OpenMode::Append);
        let shortest = *lengths.iter().min().unwrap();
        cut(&store, shortest);
        let recorder = Recorder::new(store);
        assert_eq!(check_prefixes(&recorder)[..3], [shortest; 3]);
        recorder.close().unwrap();
    }
}

/// Cuts all series of [`record_for_ever`] to the records of the first `steps` steps.
fn cut(store: &ZarrDataStore, steps: u64) {
    use simrecorder_core::{Change, Commit, DataStoreExt, Key, NodeKind};
    let keys = store.keys_within(&Key::ROOT).unwrap();
    let series = keys
        .into_iter()
        .filter(|child| child.kind == NodeKind::Series);
    let changes = series.map(|child| {
        let records = match child.key.parent().unwrap().is_root() {
            true => steps,
            false => steps
                .saturating_sub(child.key.name().parse::<u64>().unwrap() * 40)
                .min(40),
        };
        Change::Truncate {
            key: child.key,
            records,
        }
    });
    store.commit(Commit::new(changes.collect())).unwrap();
}

#[test]
fn killed_writers_on_lmdb_leave_every_flushed_record() {
    let name = "killed_writers_on_lmdb_leave_every_flushed_record";
    killed_writers_leave_every_flushed_record(name, ZarrStorage::Lmdb, 12);
}

#[test]
fn killed_writers_on_a_directory_leave_every_flushed_record() {
    let name = "killed_writers_on_a_directory_leave_every_flushed_record";
    killed_writers_leave_every_flushed_record(name, ZarrStorage::Directory, 12);
}

fn readers_follow_a_writer(name: &str, storage: ZarrStorage) {
    if let Some(path) = role() {
        record_for_ever(&path, storage);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = this_test(name, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut next_flush = || loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, number)) = line.split_once("flushed ") {
            return number.parse::<u64>().unwrap();
        }
    };
    next_flush();
    let error = ZarrDataStore::options()
        .storage(storage)
        .mode(OpenMode::Append)
        .open(&path);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Locked);
    let recorder = Recorder::new(open(&path, storage, OpenMode::Read));
    let first = recorder.get_all("n").unwrap();
    let (first_len, mut keys) = (first.len(), 0);
    for _ in 0..60 {
        let safe = next_flush();
        let lengths = check_prefixes(&recorder);
        assert!(lengths.iter().all(|&len| len >= safe), "{lengths:?} {safe}");
        assert!(first.refresh().unwrap().len() >= safe);
        let now = recorder.keys().unwrap().len();
        assert!(now >= keys);
        keys = now;
    }
    assert!(keys > 6, "no keys appeared while reading");
    assert_eq!(first.len(), first_len);
    assert!(
        first
            .read::<u64>()
            .unwrap()
            .iter()
            .copied()
            .eq(0..first_len)
    );
    writer.kill().unwrap();
    writer.wait().unwrap();
    std::io::stdout().flush().unwrap();
}

#[test]
fn a_reader_in_another_process_follows_a_writer_on_lmdb() {
    let name = "a_reader_in_another_process_follows_a_writer_on_lmdb";
    readers_follow_a_writer(name, ZarrStorage::Lmdb);
}

#[test]
fn a_reader_in_another_process_follows_a_writer_in_a_directory() {
    let name = "a_reader_in_another_process_follows_a_writer_in_a_directory";
    readers_follow_a_writer(name, ZarrStorage::Directory);
}

#[test]
fn the_map_grows_by_itself_while_views_are_alive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let options = ZarrDataStore::options()
        .mode(OpenMode::CreateNew)
        .map_size(1 << 20);
    let recorder = Recorder::new(options.open(&path).unwrap());
    let mut views = Vec::new();
    for step in 0..400_u64 {
        let noise: Vec<u64> = (0..10_000)
            .map(|i| (i + step * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        recorder.record("x", &noise).unwrap();
        if step % 50 == 0 {
            views.push(recorder.get_all("x").unwrap());
        }
    }
    recorder.close().unwrap();
    for (i, view) in views.iter().enumerate() {
        assert_eq!(view.shape(), [i as u64 * 50 + 1, 10_000]);
        let last = view.get(i as u64 * 50).unwrap().array::<u64>().unwrap();
        assert_eq!(
            last[1],
            (1 + i as u64 * 50 * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        );
    }
}
