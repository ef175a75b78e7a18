//! Recordings in LMDB with chunks in files next to the database.
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use simrecorder_core::{
    ChunkPolicy, Compression, CopyOptions, DataStore, Durability, ErrorKind, OpenMode, Recorder,
    RecorderOptions, Schema, copy, prelude::*,
};
use simrecorder_testkit::damage::Numbers;
use simrecorder_testkit::removal::size_of;
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};
use zarrs_storage::{ListableStorageTraits, StorePrefix};

use crate::support;

use support::*;

fn open(path: &Path, mode: OpenMode) -> ZarrDataStore {
    let options = ZarrDataStore::options().storage(ZarrStorage::Lmdb);
    let options = options.durability(Durability::Process).mode(mode);
    options.open(path).unwrap()
}

fn reader(path: &Path) -> Recorder {
    Recorder::new(open(path, OpenMode::Read))
}

/// Numbers that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u64> {
    let mut numbers = Numbers::new(seed as usize);
    (0..len).map(|_| numbers.below(usize::MAX) as u64).collect()
}

/// The number of elements of a frame. Each frame is a chunk.
const FRAME: usize = 1000;
const FRAMES: u64 = 20;

fn frames_schema() -> Schema {
    Schema::array::<u64>([FRAME as u64]).with_chunk_policy(ChunkPolicy::records(1))
}

fn record_frames(path: &Path) {
    // Inline, so that the frames are in the file in the order of recording.
    let options = RecorderOptions::new().inline(true);
    let recorder = Recorder::with_options(open(path, OpenMode::CreateNew), options);
    recorder.declare("frames", frames_schema()).unwrap();
    let n = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
    recorder.declare("n", n).unwrap();
    for i in 0..FRAMES {
        recorder.record("frames", noise(i, FRAME)).unwrap();
        recorder.record("n", i).unwrap();
    }
    recorder.close().unwrap();
}

fn check_frames(recorder: &Recorder) {
    let frames = recorder.get_all("frames").unwrap();
    assert_eq!(frames.len(), FRAMES);
    for (i, frame) in frames.iter().enumerate() {
        let frame = frame.unwrap().array::<u64>().unwrap();
        assert!(frame.iter().copied().eq(noise(i as u64, FRAME)));
    }
}

fn chunk_files(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    let is_chunk_file = |path: &PathBuf| path.to_string_lossy().contains("chunks.");
    let mut files: Vec<_> = files.filter(is_chunk_file).collect();
    files.sort();
    files
}

/// Creates a recording as versions before chunk files did.
fn make_recording_without_chunk_files(path: &Path) {
    fs::create_dir(path).unwrap();
    // SAFETY: no other program has the file open.
    let env = unsafe { heed::EnvOpenOptions::new().open(path) }.unwrap();
    let mut txn = env.write_txn().unwrap();
    let entries: heed::Database<heed::types::Bytes, heed::types::Bytes> =
        env.create_database(&mut txn, None).unwrap();
    let root = br#"{"zarr_format": 3, "node_type": "group", "attributes": {"simrecorder":
        {"format": 1, "requires": [], "id": "0123456789abcdef0123456789abcdef"}}}"#;
    entries.put(&mut txn, b"zarr.json", root).unwrap();
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
}

#[test]
fn a_recording_without_chunk_files_is_appended_to_as_it_is_and_copied_into_one_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.mdb");
    make_recording_without_chunk_files(&path);
    let recorder = Recorder::new(open(&path, OpenMode::Append));
    recorder.declare("frames", frames_schema()).unwrap();
    for i in 0..FRAMES {
        recorder.record("frames", noise(i, FRAME)).unwrap();
    }
    recorder.set("large", noise(7, 100_000)).unwrap();
    recorder.rename("frames", "renamed").unwrap();
    recorder.rename("renamed", "frames").unwrap();
    check_frames(&recorder);
    recorder.close().unwrap();
    assert!(chunk_files(&path).is_empty());
    check_frames(&reader(&path));

    let copied = folder.path().join("new.mdb");
    let target = open(&copied, OpenMode::CreateNew);
    copy(&open(&path, OpenMode::Read), &target, CopyOptions::new()).unwrap();
    target.close().unwrap();
    assert_eq!(chunk_files(&copied).len(), 1);
    check_frames(&reader(&copied));
    assert!(reader(&path).get("large").unwrap() == reader(&copied).get("large").unwrap());
}

#[test]
fn a_damaged_chunk_file_is_an_error_for_the_chunks_it_touches_and_for_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    record_frames(&path);
    let [file] = &chunk_files(&path)[..] else {
        panic!("one chunk file");
    };
    let sound = fs::read(file).unwrap();
    let frame = |recorder: &Recorder, i: u64| {
        let frames = recorder.get_all("frames").unwrap();
        frames.select(i..i + 1).unwrap().read::<u64>()
    };

    // Truncate the last frame.
    fs::write(file, &sound[..sound.len() - 1]).unwrap();
    let recorder = reader(&path);
    let error = frame(&recorder, FRAMES - 1).unwrap_err();
    expect(
        error,
        ErrorKind::Corrupt,
        &["frames", "[19, 0]", "chunks.0", "ends before"],
    );
    for i in 0..FRAMES - 1 {
        let read = frame(&recorder, i).unwrap();
        assert!(read.iter().copied().eq(noise(i, FRAME)));
    }
    assert_eq!(
        recorder.get_all("n").unwrap().read::<u64>().unwrap().len(),
        FRAMES as usize
    );
    drop(recorder);

    // Flip a bit of the tenth frame.
    let mut flipped = sound.clone();
    flipped[24 + 9 * (sound.len() - 24) / FRAMES as usize + 1000] ^= 4;
    fs::write(file, &flipped).unwrap();
    let recorder = reader(&path);
    let failed: Vec<u64> = (0..FRAMES)
        .filter(|&i| frame(&recorder, i).is_err())
        .collect();
    assert_eq!(failed, [9]);
    drop(recorder);

    // A file of another recording, one of another kind, and none.
    let other = folder.path().join("other.mdb");
    record_frames(&other);
    let foreign = fs::read(other.join("chunks.0")).unwrap();
    for bytes in [foreign, vec![0; sound.len()], Vec::new()] {
        fs::write(file, bytes).unwrap();
        let error = frame(&reader(&path), 0).unwrap_err();
        expect(
            error,
            ErrorKind::Corrupt,
            &["chunks.0", "belongs to the recording"],
        );
    }
    fs::remove_file(file).unwrap();
    let error = frame(&reader(&path), 0).unwrap_err();
    expect(error, ErrorKind::Corrupt, &["chunks.0", "missing"]);

    // A writer does not treat any of it as its own.
    fs::write(file, &sound[..sound.len() / 2]).unwrap();
    let recorder = Recorder::new(open(&path, OpenMode::Append));
    for i in FRAMES..2 * FRAMES {
        recorder.record("frames", noise(i, FRAME)).unwrap();
    }
    recorder.close().unwrap();
    let recorder = reader(&path);
    for i in (0..FRAMES / 2 - 1).chain(FRAMES..2 * FRAMES) {
        let read = frame(&recorder, i).unwrap();
        assert!(read.iter().copied().eq(noise(i, FRAME)), "{i}");
    }
    frame(&recorder, FRAMES - 1).unwrap_err();
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_is_an_error_and_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    record_frames(&path);
    let recorder = reader(&path);
    check_frames(&recorder);
    let file = OpenOptions::new()
        .write(true)
        .open(path.join("chunks.0"))
        .unwrap();
    file.set_len(100).unwrap();
    let error = recorder
        .get_all("frames")
        .unwrap()
        .read::<u64>()
        .unwrap_err();
    expect(error, ErrorKind::Corrupt, &["chunks.0", "ends before"]);
}

/// Replaces values and cuts series as fast as possible while `read` reads.
fn while_rewritten(path: &Path, read: impl Fn(&dyn Fn() -> bool) + Sync) {
    let done = AtomicBool::new(false);
    let recorder = Recorder::with_options(
        open(path, OpenMode::CreateNew),
        RecorderOptions::new().inline(true),
    );
    let frames = Schema::array::<u64>([FRAME as u64]).with_chunk_policy(ChunkPolicy::records(2));
    recorder
        .declare("frames", frames.with_compression(Compression::None))
        .unwrap();
    let step = |i: u64| {
        recorder.set("value", vec![i; 10 * FRAME]).unwrap();
        (0..4).for_each(|_| recorder.record("frames", vec![i; FRAME]).unwrap());
        recorder.flush().unwrap();
        recorder.truncate("frames", 0).unwrap();
    };
    step(1);
    std::thread::scope(|scope| {
        scope.spawn(|| read(&|| done.load(Ordering::Relaxed)));
        let start = Instant::now();
        for i in 2.. {
            step(i);
            if start.elapsed() > Duration::from_secs(3) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn entries_that_are_replaced_during_a_read_are_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    while_rewritten(&path, |is_done| {
        let recorder = reader(&path);
        let mut reads = 0;
        while !is_done() {
            let value = recorder.require_as::<Vec<u64>>("value").unwrap();
            assert!(value.iter().all(|x| *x == value[0]), "parts of two values");
            match recorder.get_all("frames").unwrap().read::<u64>() {
                Ok(read) => assert!(read.iter().all(|x| *x == read[[0, 0]])),
                Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfBounds, "{error}"),
            }
            reads += 1;
        }
        assert!(reads > 20, "{reads}");
    });
}

/// How long a recording is rewritten: some seconds, or `SIMRECORDER_REWRITE_SECONDS`.
fn rewriting() -> Duration {
    let seconds = std::env::var("SIMRECORDER_REWRITE_SECONDS").ok();
    Duration::from_secs(seconds.map_or(6, |seconds| seconds.parse().unwrap()))
}

#[test]
fn a_recording_that_is_rewritten_again_and_again_takes_little_more_space_than_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let mut numbers = Numbers::new(1);
    let start = Instant::now();
    let mut mode = OpenMode::CreateNew;
    while start.elapsed() < rewriting() {
        let recorder = Recorder::new(open(&path, mode));
        mode = OpenMode::Append;
        for _ in 0..200 {
            let key = format!("value/{}", numbers.below(100));
            let len = 100 + numbers.below(150_000);
            recorder.set(key, noise(len as u64, len)).unwrap();
            let series = format!("series/{}", numbers.below(10));
            let records = numbers.below(40);
            for i in 0..records {
                recorder.record(&*series, noise(i as u64, FRAME)).unwrap();
            }
            let len = recorder.get_all(&*series).map_or(0, |view| view.len());
            match numbers.below(8) {
                0 if len > 0 => recorder.remove(&*series).unwrap(),
                1 if len > 0 => recorder.truncate(&*series, len / 3).unwrap(),
                2 => recorder.checkpoint().unwrap(),
                _ => {}
            }
        }
        recorder.close().unwrap();
    }
    let storage = LmdbStorage::open(&path, &LmdbOptions::default()).unwrap();
    let live = storage.size_prefix(&StorePrefix::root()).unwrap();
    let taken = size_of(&path);
    assert!(live > 30_000_000, "{live}");
    assert!(taken <= live / 5 * 6, "{taken} bytes for {live}");
}
