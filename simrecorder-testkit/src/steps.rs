//! A writer that records the same steps each time it runs, for tests that kill it and for readers
//! that follow it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simrecorder_core::{
    Change, ChunkPolicy, Commit, DataStore, DataStoreExt, ErrorKind, Key, NodeKind, OpenMode,
    Recorder, RecorderOptions, Result, Schema, prelude::*,
};

use crate::{Partner, expect, role, this_test, wait_for_parent};

/// Declares the series of the steps, in small chunks.
pub fn declare_steps(recorder: &Recorder, chunk: u64) {
    try_declare_steps(recorder, chunk).unwrap();
}

/// The same for a store that may fail.
pub fn try_declare_steps(recorder: &Recorder, chunk: u64) -> Result<()> {
    let small = ChunkPolicy::records(chunk);
    for (key, schema) in [
        ("n", Schema::scalar::<u64>()),
        ("spikes", Schema::ragged::<u64>([])),
        ("log", Schema::text()),
    ] {
        recorder.declare(key, schema.with_chunk_policy(small.clone()))?;
    }
    Ok(())
}

/// Records one step of several kinds, and at times a new key.
pub fn record_step(recorder: &Recorder, step: u64) {
    try_record_step(recorder, step).unwrap();
}

/// The same for a store that may fail.
pub fn try_record_step(recorder: &Recorder, step: u64) -> Result<()> {
    recorder.record("n", step)?;
    recorder.record("spikes", Ragged(&vec![step; (step % 4) as usize]))?;
    recorder.record("log", format!("step {step}"))?;
    recorder.record(format!("late/{}", step / 40), [step; 100])
}

/// Records for ever, and prints the number of flushed steps after each flush.
pub fn record_for_ever(store: impl DataStore + 'static) -> ! {
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(3));
    let recorder = Recorder::with_options(store, options);
    declare_steps(&recorder, 50);
    let first = recorder.get_all("n").unwrap().len();
    for step in first.. {
        record_step(&recorder, step);
        if step % 7 == 0 {
            recorder.set("last", step).unwrap();
            recorder.flush().unwrap();
            println!("flushed {}", step + 1);
        }
        if step % 130 == 129
            && let Err(error) = recorder.checkpoint()
        {
            // Another program had the file open longer than a checkpoint waits.
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        }
    }
    std::process::exit(0)
}

/// The number of steps in a line that reports flushed steps. The test harness prints other lines, and does not always end
/// them.
pub fn flushed(line: &str) -> Option<u64> {
    let (_, number) = line.split_once("flushed ")?;
    number.trim().parse().ok()
}

/// Checks that each series is a correct prefix of what the writer records; returns the lengths.
pub fn check_prefixes(recorder: &Recorder) -> Vec<u64> {
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

/// How many writers are killed at random moments: 20, or as many as `SIMRECORDER_KILLS` says.
pub fn kills() -> u64 {
    let kills = std::env::var("SIMRECORDER_KILLS").ok();
    kills.map_or(20, |kills| kills.parse().unwrap())
}

/// The number of kills after which a new recording is begun, since each recording is read completely.
const KILLS_OF_ONE: u64 = 50;

/// Kills [`record_for_ever`] at random moments, [`kills`] times, and continues its recording.
///
/// `name` is the test that calls this; `look` inspects the recording before it is opened, and after it
/// was closed.
pub fn killed_writers_leave_every_flushed_record<S: DataStore + 'static>(
    name: &str,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
    look: impl FnMut(&Path),
) {
    killed_writers_at(name, in_folder, open, look);
}

/// A recording in a separate folder.
pub fn in_folder(folder: &Path, number: u64) -> PathBuf {
    let folder = folder.join(number.to_string());
    std::fs::create_dir(&folder).unwrap();
    folder.join("run")
}

/// The same with recordings elsewhere: `place` returns the path of each one for `open`.
pub fn killed_writers_at<S: DataStore + 'static>(
    name: &str,
    place: impl Fn(&Path, u64) -> PathBuf,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
    mut look: impl FnMut(&Path),
) {
    if let Some(path) = role() {
        record_for_ever(open(&path, OpenMode::OpenOrCreate).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |number| place(folder.path(), number);
    kill_writers(name, place, |path, safe| {
        look(path);
        let recorder = Recorder::new(open(path, OpenMode::Read).unwrap());
        let lengths = check_prefixes(&recorder);
        assert!(
            lengths.iter().all(|&len| len >= safe),
            "{lengths:?}, flushed {safe}"
        );
        let last = recorder.get_as::<u64>("last").unwrap().unwrap();
        assert!(last + 1 >= safe);
        drop(recorder);

        // Unflushed records may differ between series, so the series are cut to one length, as a resuming program would.
        let store = open(path, OpenMode::Append).unwrap();
        let shortest = *lengths.iter().min().unwrap();
        cut(&store, shortest).unwrap();
        let recorder = Recorder::new(store);
        assert_eq!(check_prefixes(&recorder)[..3], [shortest; 3]);
        recorder.close().unwrap();
        drop(recorder);
        look(path);
    });
}

/// Kills a writer, the test `name` in another process, at random moments, [`kills`] times. The writer prints how many
/// steps are flushed; `killed` gets this number with the path of the recording.
pub(crate) fn kill_writers(
    name: &str,
    place: impl Fn(u64) -> PathBuf,
    mut killed: impl FnMut(&Path, u64),
) {
    let mut path = PathBuf::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..kills() {
        if kill % KILLS_OF_ONE == 0 {
            path = place(kill / KILLS_OF_ONE);
        }
        let mut writer = this_test(name, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // After some flushes and a random delay.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let flushes = 1 + (random >> 33) % 40;
        let mut safe = 0;
        let mut seen = 0;
        while seen < flushes {
            if let Some(steps) = flushed(&lines.next().unwrap().unwrap()) {
                safe = steps;
                seen += 1;
            }
        }
        std::thread::sleep(Duration::from_micros((random >> 40) % 4000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            safe = flushed(&line).unwrap_or(safe);
        }
        killed(&path, safe);
    }
}

/// Cuts all series of [`record_for_ever`] to the records of the first `steps` steps.
pub fn cut(store: &impl DataStore, steps: u64) -> Result<()> {
    let keys = store.keys_within(&Key::ROOT)?;
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
            len: records,
        }
    });
    store.commit(Commit::new(changes.collect()))
}

/// Reads what [`record_for_ever`] records in another process, after each of its flushes.
///
/// `name` is the test that calls this.
pub fn readers_follow_a_writer<S: DataStore + 'static>(
    name: &str,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
) {
    if let Some(path) = role() {
        record_for_ever(open(&path, OpenMode::OpenOrCreate).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = this_test(name, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut next_flush = || loop {
        if let Some(steps) = flushed(&lines.next().unwrap().unwrap()) {
            return steps;
        }
    };
    next_flush();
    let error = open(&path, OpenMode::Append).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    let recorder = Recorder::new(open(&path, OpenMode::Read).unwrap());
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
}

/// Kills a writer with default options that never flushes, and finds its records up to shortly before the kill, since it
/// commits at regular intervals.
///
/// `name` is the test that calls this.
pub fn a_writer_that_never_flushes_commits<S: DataStore + 'static>(
    name: &str,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
) {
    if let Some(path) = role() {
        let recorder = Recorder::new(open(&path, OpenMode::CreateNew).unwrap());
        for step in 0.. {
            record_step(&recorder, step);
            println!("recorded {}", step + 1);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = this_test(name, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let recorded = Arc::new(AtomicU64::new(0));
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let listener = std::thread::spawn({
        let recorded = Arc::clone(&recorded);
        move || {
            for line in lines.map_while(Result::ok) {
                // The last line may be incomplete.
                let steps = line
                    .split_once("recorded ")
                    .map(|(_, steps)| steps.trim().parse());
                if let Some(Ok(steps)) = steps {
                    recorded.store(steps, Ordering::SeqCst);
                }
            }
        }
    });
    let wait_until = |what: &str, is_so: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(60), "never {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_until("recorded", &|| recorded.load(Ordering::SeqCst) > 0);
    let mut safe = 0;
    for _ in 0..3 {
        safe = recorded.load(Ordering::SeqCst);
        wait_until("committed", &|| {
            let reader = open(&path, OpenMode::Read).map(Recorder::new);
            reader.is_ok_and(|reader| {
                let view = reader.get_all("n");
                view.is_ok_and(|view| view.len() >= safe)
            })
        });
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    listener.join().unwrap();
    let lengths = check_prefixes(&Recorder::new(open(&path, OpenMode::Read).unwrap()));
    assert!(lengths.iter().all(|&len| len >= safe), "{lengths:?} {safe}");
}

/// Appends to a recording immediately after its writer was killed. The system releases the lock a moment later, once it
/// has freed the memory of the writer.
pub fn appending_waits_for_a_killed_writer<S: DataStore + 'static>(
    name: &str,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
) {
    if let Some(path) = role() {
        let recorder = Recorder::new(open(&path, OpenMode::OpenOrCreate).unwrap());
        recorder.record("n", 1_u64).unwrap();
        recorder.flush().unwrap();
        let memory = vec![1_u8; 64 << 20];
        wait_for_parent();
        drop(memory);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = Partner::start(&mut this_test(name, &path));
    let process = format!("process {} ", writer.0.id());
    let error = open(&path, OpenMode::Append).map(drop).unwrap_err();
    expect(error, ErrorKind::Locked, &[&process, "is writing"]);
    writer.0.kill().unwrap();
    let recorder = Recorder::new(open(&path, OpenMode::Append).unwrap());
    recorder.record("n", 2_u64).unwrap();
    recorder.close().unwrap();
    writer.0.wait().unwrap();
    let recorder = Recorder::new(open(&path, OpenMode::Read).unwrap());
    let numbers = recorder.get_all("n").unwrap().read::<u64>().unwrap();
    assert_eq!(numbers.as_slice().unwrap(), [1, 2]);
}
