//! Bad input: each case gets an error that names operation, key and cause, and every earlier record
//! remains readable.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use simrecorder_core::{
    CopyOptions, DataStore, Error, ErrorKind, InMemoryDataStore, Key, OpenMode, Recorder, Schema,
    copy, prelude::*,
};
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};
use zarrs_storage::{ReadableStorageTraits, StoreKey, WritableStorageTraits};

use crate::support;

use support::*;

const BOTH: [ZarrStorage; 2] = [ZarrStorage::Lmdb, ZarrStorage::Directory];

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> Result<ZarrDataStore, Error> {
    ZarrDataStore::options()
        .storage(storage)
        .mode(mode)
        .open(path)
}

fn reader(path: &Path, storage: ZarrStorage) -> Recorder {
    Recorder::new(open(path, storage, OpenMode::Read).unwrap())
}

/// Creates and closes a recording with several chunks and kinds.
fn recording(path: &Path, storage: ZarrStorage) {
    let recorder = Recorder::new(open(path, storage, OpenMode::CreateNew).unwrap());
    let policy = simrecorder_core::ChunkPolicy::records(100);
    recorder
        .declare("net/n", Schema::scalar::<u64>().with_chunk_policy(policy))
        .unwrap();
    recorder.set("meta/seed", 42_u64).unwrap();
    for i in 0..1000_u64 {
        recorder.record("net/n", i).unwrap();
        recorder.record("log", format!("step {i}")).unwrap();
        recorder
            .record("spikes", Ragged(&vec![i; (i % 3) as usize]))
            .unwrap();
    }
    recorder.close().unwrap();
}

/// Reads and writes the entries of a recording without the library.
struct Entries(PathBuf, ZarrStorage);

impl Entries {
    fn lmdb(&self) -> LmdbStorage {
        LmdbStorage::open(&self.0, &LmdbOptions::default().mode(OpenMode::Append)).unwrap()
    }

    fn get(&self, key: &str) -> Vec<u8> {
        match self.1 {
            ZarrStorage::Directory if key.ends_with("zarr.json") => {
                fs::read(self.0.join(key)).unwrap()
            }
            ZarrStorage::Directory => chunks::place(&self.0, key).read().unwrap(),
            _ => self
                .lmdb()
                .get(&StoreKey::new(key).unwrap())
                .unwrap()
                .unwrap()
                .to_vec(),
        }
    }

    fn set(&self, key: &str, value: &[u8]) {
        match self.1 {
            ZarrStorage::Directory if key.ends_with("zarr.json") => {
                fs::write(self.0.join(key), value).unwrap();
            }
            ZarrStorage::Directory => chunks::place(&self.0, key).write(value),
            _ => {
                let value = value.to_vec().into();
                self.lmdb()
                    .set(&StoreKey::new(key).unwrap(), value)
                    .unwrap();
            }
        }
    }
}

#[test]
fn wrong_paths_are_refused_with_what_to_do() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path, mode| open(path, storage, mode).unwrap_err();
        expect(
            refused(Path::new(""), OpenMode::CreateNew),
            ErrorKind::InvalidArgument,
            &["empty"],
        );
        let missing = folder.path().join("missing");
        for mode in [OpenMode::Read, OpenMode::Append] {
            expect(refused(&missing, mode), ErrorKind::NotFound, &["missing"]);
        }
        let path = folder.path().join("run");
        recording(&path, storage);
        expect(
            refused(&path, OpenMode::CreateNew),
            ErrorKind::AlreadyExists,
            &["run"],
        );
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        for mode in [
            OpenMode::Read,
            OpenMode::Append,
            OpenMode::CreateNew,
            OpenMode::Truncate,
        ] {
            expect(refused(&file, mode), ErrorKind::InvalidArgument, &["file"]);
        }
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis.tex"), "text").unwrap();
        for mode in [OpenMode::Append, OpenMode::CreateNew, OpenMode::Truncate] {
            let kind = refused(&other, mode).kind();
            assert!(
                matches!(
                    kind,
                    ErrorKind::InvalidArgument | ErrorKind::AlreadyExists | ErrorKind::NotFound
                ),
                "{kind}"
            );
        }
        assert!(other.join("thesis.tex").exists());
        assert_eq!(
            reader(&path, storage).get_all("net/n").unwrap().shape(),
            [1000]
        );
    }
}

#[test]
fn opening_lmdb_as_a_directory_or_the_reverse_says_which_storage_to_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    recording(&path, ZarrStorage::Directory);
    expect(
        open(&path, ZarrStorage::Lmdb, OpenMode::Read).unwrap_err(),
        ErrorKind::InvalidArgument,
        &["zarr+dir"],
    );
}

#[test]
fn malformed_metadata_is_an_error_for_its_key_and_no_other() {
    for storage in BOTH {
        for nonsense in [
            "",
            "{",
            "[]",
            "{}",
            "{\"zarr_format\": 3}",
            "{\"zarr_format\": 2, \"node_type\": \"array\"}",
            "{\"zarr_format\": 3, \"node_type\": \"array\"}",
            "{\"zarr_format\": 3, \"node_type\": \"array\", \"shape\": [-1]}",
            "\u{0}\u{ff}",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run");
            recording(&path, storage);
            Entries(path.clone(), storage).set("net/n/zarr.json", nonsense.as_bytes());
            let recorder = reader(&path, storage);
            let error = recorder.get_all("net/n").unwrap_err();
            expect(error, ErrorKind::Corrupt, &["net/n"]);
            assert_eq!(recorder.get_as::<u64>("meta/seed").unwrap(), Some(42));
            assert_eq!(
                recorder
                    .get_all("log")
                    .unwrap()
                    .get(999)
                    .unwrap()
                    .as_str()
                    .unwrap(),
                "step 999"
            );
            assert_eq!(recorder.keys().unwrap().len(), 4);
            let printed = recorder.to_string();
            let of_n = printed.lines().find(|line| line.contains("── n "));
            assert!(of_n.unwrap().contains("cannot be read: "), "{printed}");
            assert_eq!(printed.matches("cannot").count(), 1, "{printed}");
            assert!(printed.contains("seed"), "{printed}");
            let store = open(&path, storage, OpenMode::Read).unwrap();
            let sound = CopyOptions::new().exclude("net/*");
            let copied = copy(&store, &InMemoryDataStore::new(), sound).unwrap();
            assert_eq!((copied.key_count, copied.record_count), (3, 2000));
            drop((store, recorder));
            let recorder = Recorder::new(open(&path, storage, OpenMode::Append).unwrap());
            expect(
                recorder.record("net/n", 1_u64).unwrap_err(),
                ErrorKind::Corrupt,
                &["net/n"],
            );
            recorder.record("log", "continues").unwrap();
            recorder.close().unwrap();
        }
    }
}

#[test]
fn metadata_that_contradicts_the_data_is_an_error_and_never_a_panic() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        recording(&path, storage);
        let entries = Entries(path.clone(), storage);
        let sound = String::from_utf8(entries.get("net/n/zarr.json")).unwrap();
        let compact: serde_json::Value = serde_json::from_str(&sound).unwrap();
        let inner = |field: &str| format!("/codecs/0/configuration/{field}");
        let of_shards = [
            (inner("chunk_shape"), serde_json::json!([0])),
            (inner("chunk_shape"), serde_json::json!([7])),
            (inner("chunk_shape"), serde_json::json!([u64::MAX])),
            (inner("chunk_shape"), serde_json::json!([10, 10])),
            (inner("codecs"), serde_json::json!([])),
            (inner("codecs/1/name"), serde_json::json!("zip")),
            (
                inner("codecs/1/configuration/typesize"),
                serde_json::json!(300),
            ),
            (inner("index_location"), serde_json::json!("end")),
            (inner("index_location"), serde_json::json!("middle")),
            (inner("index_codecs"), serde_json::json!([])),
        ];
        let of_all = [
            ("/shape/0", serde_json::json!(u64::MAX)),
            ("/shape", serde_json::json!([1000, u64::MAX, u64::MAX])),
            ("/shape", serde_json::json!([])),
            ("/data_type", serde_json::json!("float16")),
            ("/data_type", serde_json::json!("string")),
            ("/data_type", serde_json::json!("numpy.datetime64")),
            (
                "/chunk_grid/configuration/chunk_shape",
                serde_json::json!([0]),
            ),
            (
                "/chunk_grid/configuration/chunk_shape",
                serde_json::json!([u64::MAX]),
            ),
            (
                "/chunk_grid/configuration/chunk_shape",
                serde_json::json!([50]),
            ),
            ("/chunk_grid/name", serde_json::json!("hexagonal")),
            ("/codecs", serde_json::json!([])),
            ("/codecs/1/name", serde_json::json!("zip")),
            ("/codecs/1/configuration/typesize", serde_json::json!(300)),
            ("/fill_value", serde_json::json!("much")),
            ("/dimension_names", serde_json::json!(["a", "b"])),
            ("/attributes/simrecorder/kind", serde_json::json!("ragged")),
            ("/attributes/simrecorder/kind", serde_json::json!("sound")),
        ];
        let of_all = of_all.map(|(pointer, value)| (pointer.to_owned(), value));
        for (pointer, value) in of_all.into_iter().chain(of_shards) {
            let mut document = compact.clone();
            // An array without shards has other fields than one with shards.
            let Some(field) = document.pointer_mut(&pointer) else {
                assert!(pointer.starts_with("/codecs/"));
                continue;
            };
            *field = value;
            entries.set("net/n/zarr.json", document.to_string().as_bytes());
            let recorder = reader(&path, storage);
            // The metadata reveals some errors; for the others, the chunks are read.
            let read = recorder.get_all("net/n").and_then(|view| {
                drop(view.get(5));
                drop(view.select(10..20).and_then(|part| part.read::<u64>()));
                view.iter()
                    .take(2000)
                    .collect::<Result<Vec<_>, _>>()
                    .map(|_| ())
            });
            if let Err(error) = read {
                assert!(error.to_string().contains("net/n"), "{pointer}: {error}");
                assert_ne!(error.kind(), ErrorKind::Internal, "{pointer}: {error}");
            }
            assert_eq!(recorder.get_all("spikes").unwrap().len(), 1000);
        }
    }
}

#[test]
fn a_chunk_that_does_not_decode_is_an_error_for_the_reads_that_touch_it() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        recording(&path, storage);
        let entries = Entries(path.clone(), storage);
        let sound = entries.get("net/n/c/3");
        for damaged in [&b""[..], b"x", &sound[..sound.len() / 2], &[0xff; 4096]] {
            entries.set("net/n/c/3", damaged);
            let view = reader(&path, storage).get_all("net/n").unwrap();
            let error = view.read::<u64>().unwrap_err();
            expect(error, ErrorKind::Corrupt, &["net/n", "chunk [3]"]);
            let before = view.select(..300).unwrap().read::<u64>().unwrap();
            assert!(before.iter().copied().eq(0..300));
            let after = view.select(400..).unwrap().read::<u64>().unwrap();
            assert!(after.iter().copied().eq(400..1000));
            let read: Vec<_> = view.iter().filter_map(Result::ok).collect();
            assert!(!read.is_empty());
        }
        for damaged in [&b"garbage"[..], &[0; 64]] {
            entries.set("log/c/0", damaged);
            entries.set("spikes/ends/c/0", damaged);
            let recorder = reader(&path, storage);
            for key in ["log", "spikes"] {
                let error = recorder.get_all(key).unwrap().get(1).unwrap_err();
                expect(error, ErrorKind::Corrupt, &[key]);
            }
            assert!(recorder.get_all("log").unwrap().get(999).is_ok());
        }
    }
}

#[test]
fn flipped_bytes_of_a_chunk_are_an_error_or_records_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    recording(&path, ZarrStorage::Directory);
    for key in [
        "net/n/c/2",
        "log/c/1",
        "spikes/ends/c/0",
        "spikes/values/c/0",
    ] {
        let entries = Entries(path.clone(), ZarrStorage::Directory);
        let sound = entries.get(key);
        for index in (0..sound.len()).step_by(1 + sound.len() / 16) {
            for flip in [0xff, 0x01, 0x80] {
                let mut damaged = sound.clone();
                damaged[index] ^= flip;
                entries.set(key, &damaged);
                let recorder = reader(&path, ZarrStorage::Directory);
                for series in ["net/n", "log", "spikes"] {
                    recorder.get_all(series).unwrap().iter().for_each(drop);
                }
            }
        }
        entries.set(key, &sound);
    }
}

#[test]
fn a_recording_of_a_newer_version_is_refused() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        recording(&path, storage);
        let entries = Entries(path.clone(), storage);
        let root: serde_json::Value = serde_json::from_slice(&entries.get("zarr.json")).unwrap();
        let set = |member: &str, value: serde_json::Value| {
            let mut changed = root.clone();
            changed["attributes"]["simrecorder"][member] = value;
            entries.set("zarr.json", changed.to_string().as_bytes());
        };
        set("format", 99.into());
        for mode in [OpenMode::Read, OpenMode::Append] {
            let error = open(&path, storage, mode).unwrap_err();
            expect(error, ErrorKind::Unsupported, &["format 99", "newer"]);
        }
        set("requires", serde_json::json!(["chunk-files", "x"]));
        let error = open(&path, storage, OpenMode::Read).unwrap_err();
        expect(error, ErrorKind::Unsupported, &["requires", "x"]);
    }
}

#[test]
fn keys_that_do_not_fit_are_refused_before_anything_is_written() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        recording(&path, storage);
        let recorder = Recorder::new(open(&path, storage, OpenMode::Append).unwrap());
        for key in [
            "x".repeat(255),
            ["abcdefghi"; 60].join("/"),
            "a\0b".into(),
            "a/../b".into(),
        ] {
            for result in [
                recorder.record(&key, 1_u64),
                recorder.set(&key, 1_u64),
                recorder.declare(&key, Schema::text()),
            ] {
                expect(result.unwrap_err(), ErrorKind::InvalidKey, &[]);
            }
        }
        recorder.close().unwrap();
        assert_eq!(reader(&path, storage).keys().unwrap().len(), 4);
    }
}

#[test]
fn a_second_writer_is_refused_with_the_process_that_writes() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        recording(&path, storage);
        let first = open(&path, storage, OpenMode::Append).unwrap();
        let error = open(&path, storage, OpenMode::Append).unwrap_err();
        expect(
            error,
            ErrorKind::Locked,
            &["run", &std::process::id().to_string()],
        );
        first.close().unwrap();
        open(&path, storage, OpenMode::Append).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_recorder_and_loses_nothing_that_was_flushed() {
    const NAME: &str = "a_full_disk_stops_the_recorder_and_loses_nothing_that_was_flushed";
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return unshare(NAME, folder.path());
    };
    for storage in BOTH {
        full_disk::loses_nothing_that_was_flushed(&folder, "zarr", |path, mode| {
            open(path, storage, mode)
        });
        assert_success(std::process::Command::new("umount").arg(&folder));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_file_system_can_be_read_and_says_why_it_is_not_written() {
    const NAME: &str = "a_read_only_file_system_can_be_read_and_says_why_it_is_not_written";
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return unshare(NAME, folder.path());
    };
    mount(&["-t", "tmpfs", "-o", "size=16m", "none"], &folder);
    for storage in BOTH {
        recording(&folder.join(format!("{storage:?}")), storage);
    }
    mount(&["-o", "remount,ro"], &folder);
    for storage in BOTH {
        let path = folder.join(format!("{storage:?}"));
        let recorder = reader(&path, storage);
        assert_eq!(
            recorder
                .get_all("net/n")
                .unwrap()
                .read::<u64>()
                .unwrap()
                .sum(),
            499_500
        );
        for mode in [OpenMode::Append, OpenMode::OpenOrCreate, OpenMode::Truncate] {
            let error = open(&path, storage, mode).unwrap_err();
            expect(error, ErrorKind::PermissionDenied, &[]);
        }
        let error = open(&folder.join("new"), storage, OpenMode::CreateNew).unwrap_err();
        expect(error, ErrorKind::PermissionDenied, &["new"]);
    }
}

#[test]
fn missing_keys_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    recording(&path, ZarrStorage::Lmdb);
    let store = open(&path, ZarrStorage::Lmdb, OpenMode::Read).unwrap();
    let parts = [
        "spikes/ends",
        "spikes/values",
        "spikes/ends/c",
        "net/n/c",
        "net/n/c/0",
        "x",
    ];
    for key in parts.map(|key| Key::new(key).unwrap()) {
        assert!(store.node(&key).unwrap().is_none(), "{key}");
        assert!(store.view(&key).unwrap().is_none(), "{key}");
        assert!(store.value(&key).unwrap().is_none(), "{key}");
        assert!(store.children(&key).unwrap().is_empty(), "{key}");
    }
}

#[test]
fn a_recording_whose_first_commit_was_cut_short_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let store = open(&path, ZarrStorage::Directory, OpenMode::CreateNew).unwrap();
    let journal = fs::read(folder.path().join("run.zarr.journal")).unwrap();
    drop(store);
    let mut opened = 0;
    for length in 0..journal.len() {
        let path = folder.path().join("cut.zarr");
        fs::create_dir(&path).unwrap();
        fs::write(folder.path().join("cut.zarr.journal"), &journal[..length]).unwrap();
        if let Ok(store) = open(&path, ZarrStorage::Directory, OpenMode::Read) {
            assert_eq!(Recorder::new(store).keys().unwrap(), [], "{length}");
            opened += 1;
        }
        fs::remove_dir(&path).unwrap();
    }
    assert!(opened > 0);
}
