//! Copies between Zarr recordings: chunks are copied unchanged.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use simrecorder_core::{
    ChunkPolicy, Compression, CopyOptions, CopyProgress, DataStore, Durability, Error, ErrorKind,
    Key, OpenMode, Recorder, RecorderOptions, Schema, copy, prelude::*,
};
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use simrecorder_zarr::{ZarrDataStore, ZarrOptions, ZarrStorage};
use zarrs_storage::{
    ListableStorageTraits, ReadableStorageTraits, StoreKey, WritableStorageTraits,
};

use crate::support;
use simrecorder_core::backend::{EncodedChange, EncodedStore, StoredForm};

use support::*;

const BOTH: [ZarrStorage; 2] = [ZarrStorage::Lmdb, ZarrStorage::Directory];

fn options(storage: ZarrStorage, mode: OpenMode) -> ZarrOptions {
    let options = ZarrDataStore::options().storage(storage).mode(mode);
    options.durability(Durability::Process)
}

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> ZarrDataStore {
    options(storage, mode).open(path).unwrap()
}

/// Copies into a new recording at `to`, and closes it.
fn copy_to(
    from: &dyn DataStore,
    to: &Path,
    storage: ZarrStorage,
    options: CopyOptions<'_>,
) -> Result<CopyProgress, Error> {
    let to = open(to, storage, OpenMode::CreateNew);
    let copied = copy(from, &to, options);
    to.close().unwrap();
    copied
}

type Entries = BTreeMap<String, Vec<u8>>;

/// All entries of a closed recording, read without the library. `id` is its id, which differs
/// between recordings.
fn entries(path: &Path, storage: ZarrStorage) -> Entries {
    let mut entries = entries_with_id(path, storage);
    let mut root: Json = serde_json::from_slice(&entries["zarr.json"]).unwrap();
    // The id differs, and the root names features of the storage, which are not copied.
    if let Some(own) = root["attributes"]["simrecorder"].as_object_mut() {
        assert!(
            own.remove("id")
                .is_none_or(|id| id.as_str().unwrap().len() == 32)
        );
        own.remove("requires");
    }
    entries.insert("zarr.json".to_owned(), root.to_string().into_bytes());
    // Chunks are the same wherever they are stored.
    for (key, bytes) in &mut entries {
        if key.ends_with("zarr.json") {
            let document = chunks::without_shards(serde_json::from_slice(bytes).unwrap());
            *bytes = serde_json::to_vec_pretty(&document).unwrap();
        }
    }
    entries
}

fn entries_with_id(path: &Path, storage: ZarrStorage) -> Entries {
    fn files(folder: &Path, prefix: &str, found: &mut Entries) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.path().is_dir() {
                true => files(&entry.path(), &format!("{name}/"), found),
                false => _ = found.insert(name, fs::read(entry.path()).unwrap()),
            }
        }
    }
    let mut found = Entries::new();
    if storage == ZarrStorage::Directory {
        files(path, "", &mut found);
        found.retain(|name, _| name.ends_with("zarr.json"));
        found.extend(chunks::chunks(path));
        return found;
    }
    let lmdb = LmdbStorage::open(path, &LmdbOptions::default()).unwrap();
    for key in lmdb.list().unwrap() {
        let value = lmdb.get(&key).unwrap().unwrap();
        found.insert(key.as_str().to_owned(), value.to_vec());
    }
    found
}

fn set_entry(path: &Path, storage: ZarrStorage, key: &str, value: &[u8]) {
    if storage == ZarrStorage::Directory {
        return chunks::place(path, key).write(value);
    }
    let lmdb = LmdbStorage::open(path, &LmdbOptions::default().mode(OpenMode::Append)).unwrap();
    let value = value.to_vec().into();
    lmdb.set(&StoreKey::new(key).unwrap(), value).unwrap();
}

fn record(recorder: &Recorder, steps: std::ops::Range<u64>) {
    for i in steps {
        recorder.record("net/v", [i as f64, 0.5, -0.0]).unwrap();
        recorder.record("net/w", [[i as u16; 5]; 4]).unwrap();
        recorder.record("net/rounded", [i as f64 / 3.0; 2]).unwrap();
        recorder
            .record("net/spikes", Ragged(vec![i as u32; i as usize % 9]))
            .unwrap();
        recorder.record("log", format!("step {i}")).unwrap();
        recorder
            .record("blobs", Blob(vec![i as u8; i as usize % 5]))
            .unwrap();
        recorder.record("events", Object(json!({"i": i}))).unwrap();
        recorder.record("short", i).unwrap();
    }
}

/// A recording with all kinds and several chunks of each, before it is closed.
fn recording(path: &Path, storage: ZarrStorage) -> Recorder {
    let store = open(path, storage, OpenMode::CreateNew);
    let recorder = Recorder::with_options(store, RecorderOptions::new().inline(true));
    let declare = |key, schema: Schema, policy: ChunkPolicy| {
        recorder
            .declare(key, schema.with_chunk_policy(policy))
            .unwrap();
    };
    let bytes = ChunkPolicy::target_bytes;
    let rounded = Schema::array::<f64>([2]).with_compression(Compression::lossy(0.01).unwrap());
    declare("net/rounded", rounded, bytes(64));
    let v = Schema::array::<f64>([3])
        .with_dimension_names(["time", "x"])
        .with_fill_value(1.5);
    declare(
        "net/v",
        v.with_units("mV").with_compression(Compression::Small),
        ChunkPolicy::records(7),
    );
    declare("net/w", Schema::array::<u16>([4, 5]), bytes(20));
    declare("net/spikes", Schema::ragged::<u32>([]), bytes(50));
    declare(
        "log",
        Schema::text().with_compression(Compression::None),
        ChunkPolicy::records(6),
    );
    declare("blobs", Schema::bytes(), bytes(64));
    declare("events", Schema::object(), ChunkPolicy::records(20));
    recorder.set("meta/seed", 42_u64).unwrap();
    recorder.set("meta/matrix", [[1.5; 3]; 2]).unwrap();
    for key in ["", "net", "empty", "meta/seed"] {
        let attributes = json!({"of": key, "simrecorder": 1});
        recorder
            .set_attributes(key, attributes.as_object().unwrap().clone())
            .unwrap();
    }
    record(&recorder, 0..60);
    recorder
}

/// Between LMDB and a directory, in both directions: every entry is the same, byte by byte.
#[test]
fn a_closed_recording_is_copied_byte_by_byte() {
    for (from, to) in [
        (ZarrStorage::Lmdb, ZarrStorage::Directory),
        (ZarrStorage::Directory, ZarrStorage::Lmdb),
        (ZarrStorage::Lmdb, ZarrStorage::Lmdb),
        (ZarrStorage::Directory, ZarrStorage::Directory),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let [original, copied] = ["original", "copied"].map(|name| folder.path().join(name));
        recording(&original, from).close().unwrap();
        copy_to(
            &open(&original, from, OpenMode::Read),
            &copied,
            to,
            CopyOptions::new(),
        )
        .unwrap();
        let (expected, found) = (entries(&original, from), entries(&copied, to));
        assert!(expected.len() > 150, "{} entries", expected.len());
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>()
        );
        for (key, bytes) in expected {
            assert_eq!(
                String::from_utf8_lossy(&found[&key]),
                String::from_utf8_lossy(&bytes),
                "{key}"
            );
            assert!(found[&key] == bytes, "{key}");
        }
    }
}

/// Chunks are not decoded, whatever the kind of their series. Damage is copied, too, and is
/// reported when it is read. Encoding again finds it.
#[test]
fn damage_is_copied_and_detected_when_the_copy_is_read_or_encoded_again() {
    let damaged = [
        "net/v/c/3/0",
        "net/w/c/50/1/0",
        "log/c/4",
        "net/spikes/values/c/7",
        "events/values/c/0",
    ];
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let [original, copied, reencoded] =
            ["original", "copied", "reencoded"].map(|name| folder.path().join(name));
        recording(&original, storage).close().unwrap();
        for chunk in damaged {
            set_entry(&original, storage, chunk, b"damaged");
        }
        let from = open(&original, storage, OpenMode::Read);
        copy_to(&from, &copied, storage, CopyOptions::new()).unwrap();
        let found = entries(&copied, storage);
        assert!(damaged.iter().all(|chunk| found[*chunk] == b"damaged"));
        let store = open(&copied, storage, OpenMode::Read);
        let reader = Recorder::new(store);
        for key in ["net/v", "net/w", "log", "net/spikes", "events"] {
            let errors = reader
                .get_all(key)
                .unwrap()
                .iter()
                .filter(Result::is_err)
                .count();
            assert!((1..=60).contains(&errors), "{key}: {errors}");
        }
        let options = CopyOptions::new().reencode(true);
        let error = copy_to(&from, &reencoded, storage, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("events"), "{error}");
    }
}

/// The ends of records must be decoded, so they are checked.
#[test]
fn damaged_ends_of_records_are_an_error_that_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let [original, copied] = ["original", "copied"].map(|name| folder.path().join(name));
    recording(&original, ZarrStorage::Directory)
        .close()
        .unwrap();
    set_entry(
        &original,
        ZarrStorage::Directory,
        "net/spikes/ends/c/1",
        b"damaged",
    );
    let from = open(&original, ZarrStorage::Directory, OpenMode::Read);
    let error = copy_to(&from, &copied, ZarrStorage::Lmdb, CopyOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("net/spikes"), "{error}");
}

fn metadata(path: &Path, key: &str) -> Json {
    let document = fs::read(path.join(key).join("zarr.json")).unwrap();
    chunks::without_shards(serde_json::from_slice(&document).unwrap())
}

/// The copy of an array of other software has the same codecs and chunks, even chunks that were
/// never written.
#[test]
fn arrays_of_other_software_are_copied_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let [original, copied, again] = ["o", "c", "a"].map(|name| folder.path().join(name));
    let group = json!({"zarr_format": 3, "node_type": "group"});
    let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
    let gzip = json!({"name": "gzip", "configuration": {"level": 9}});
    let shards = json!({"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2, 3], "codecs": [bytes, gzip], "index_location": "end",
        "index_codecs": [bytes, {"name": "crc32c"}]}});
    let array = |codecs: Json| {
        json!({
            "zarr_format": 3, "node_type": "array", "shape": [10, 6], "data_type": "float64",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 3]}},
            "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
            "fill_value": 1.5, "codecs": codecs, "dimension_names": ["a", null],
            "attributes": {"units": "mV"},
        })
    };
    let arrays = [
        ("gzip", array(json!([bytes, gzip]))),
        ("shards", array(json!([shards]))),
    ];
    fs::create_dir(&original).unwrap();
    fs::write(original.join("zarr.json"), group.to_string()).unwrap();
    for (key, document) in &arrays {
        fs::create_dir(original.join(key)).unwrap();
        fs::write(original.join(key).join("zarr.json"), document.to_string()).unwrap();
    }
    // After the missing chunks, append some that exist.
    let recorder = Recorder::new(open(&original, ZarrStorage::Directory, OpenMode::Append));
    for (key, _) in &arrays {
        (0..5).for_each(|i| recorder.record(key, [f64::from(i); 6]).unwrap());
    }
    recorder.close().unwrap();
    drop(recorder);

    let from = open(&original, ZarrStorage::Directory, OpenMode::Read);
    copy_to(&from, &copied, ZarrStorage::Lmdb, CopyOptions::new()).unwrap();
    let from = open(&copied, ZarrStorage::Lmdb, OpenMode::Read);
    copy_to(&from, &again, ZarrStorage::Directory, CopyOptions::new()).unwrap();
    let originals = entries(&original, ZarrStorage::Directory);
    let found = entries(&again, ZarrStorage::Directory);
    let reader = Recorder::new(open(&again, ZarrStorage::Directory, OpenMode::Read));
    for (key, document) in arrays {
        for field in ["data_type", "chunk_grid", "fill_value", "codecs"] {
            assert_eq!(
                metadata(&again, key)[field],
                document[field],
                "{field} of {key}"
            );
        }
        let chunks = originals
            .iter()
            .filter(|(name, _)| name.starts_with(&format!("{key}/")));
        let mut count = 0;
        for (name, bytes) in chunks.filter(|(name, _)| !name.ends_with("zarr.json")) {
            assert_eq!(&found[name], bytes, "{name}");
            count += 1;
        }
        assert_eq!(count, 4, "{key}");
        let values = reader.get_all(key).unwrap().read::<f64>().unwrap();
        assert_eq!(
            (values[[0, 0]], values[[9, 5]], values[[14, 0]]),
            (1.5, 1.5, 4.0)
        );
        assert_eq!(reader.get_all(key).unwrap().attributes()["units"], "mV");
    }
}

/// Chunks and compression are those of the original, unless the target is asked to choose.
#[test]
fn a_copy_has_the_chunks_of_its_original_unless_it_is_encoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let [original, copied, reencoded] = ["o", "c", "a"].map(|name| folder.path().join(name));
    recording(&original, ZarrStorage::Directory)
        .close()
        .unwrap();
    let from = open(&original, ZarrStorage::Directory, OpenMode::Read);
    let to = |path: &Path| {
        let options = options(ZarrStorage::Directory, OpenMode::CreateNew);
        let options = options.chunk_policy(ChunkPolicy::records(16));
        options.compression(Compression::None).open(path).unwrap()
    };
    copy(&from, &to(&copied), CopyOptions::new()).unwrap();
    copy(&from, &to(&reencoded), CopyOptions::new().reencode(true)).unwrap();
    for key in [
        "net/v",
        "net/w",
        "net/spikes/ends",
        "net/spikes/values",
        "log",
    ] {
        let [old, same, new] = [&original, &copied, &reencoded].map(|path| metadata(path, key));
        assert_eq!(old, same, "{key}");
        let codecs = new["codecs"].as_array().unwrap();
        assert_eq!(codecs.len(), 2, "{key}: {codecs:?}");
        assert_eq!(codecs[1]["name"], "crc32c", "{key}");
    }
    let chunk = &metadata(&reencoded, "net/v")["chunk_grid"]["configuration"]["chunk_shape"];
    assert_eq!(chunk, &json!([16, 3]));
}

/// Two arrays may have the same codecs but be rounded to different bounds.
#[test]
fn chunks_that_were_rounded_to_another_bound_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    recording(&path("original"), ZarrStorage::Lmdb)
        .close()
        .unwrap();
    let from = open(&path("original"), ZarrStorage::Lmdb, OpenMode::Read);
    let to = open(&path("copied"), ZarrStorage::Lmdb, OpenMode::CreateNew);
    let key = Key::new("net/rounded").unwrap();
    let view = from.view(&key).unwrap().unwrap();
    let encoded = view.as_encoded().unwrap();
    let encoded = encoded.read_encoded(0..view.len(), 0).unwrap().unwrap();
    let no_form = StoredForm::new(());
    for (bound, taken) in [(0.01, true), (0.5, false)] {
        let schema = Schema::array::<f64>([2]).with_chunk_policy(ChunkPolicy::target_bytes(64));
        let schema = schema.with_compression(Compression::lossy(bound).unwrap());
        assert_eq!(
            to.takes_encoded(&key, &schema, &no_form, &encoded).unwrap(),
            taken,
            "{bound}"
        );
    }
}

/// A killed writer leaves tails. They are records, and chunks in a closed copy.
#[test]
fn whole_chunks_of_a_recording_that_is_written_go_as_they_are() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let [original, copied] = ["original", "copied"].map(|name| folder.path().join(name));
        let recorder = recording(&original, storage);
        recorder.checkpoint().unwrap();
        record(&recorder, 60..90);
        recorder.flush().unwrap();
        let from = open(&original, storage, OpenMode::Read);
        copy_to(&from, &copied, storage, CopyOptions::new()).unwrap();
        recorder.close().unwrap();
        let (expected, found) = (entries(&original, storage), entries(&copied, storage));
        assert!(
            found == expected,
            "closing the original gives the same as closing the copy"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each commit contains both ends and items, wherever their chunks end, so every state of a
    /// copy is a consistent recording.
    #[test]
    fn encoded_records_in_parts_of_any_size_give_a_whole_series_each(
        lengths in prop::collection::vec(0..30_usize, 1..60),
        chunk in 1..100_u64,
        max_bytes in prop_oneof![1 => Just(0), 4 => 0..600_usize],
        checkpoint in any::<bool>(),
        until in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::new(open(&folder.path().join("o"), ZarrStorage::Lmdb, OpenMode::CreateNew));
        let policy = ChunkPolicy::target_bytes(chunk);
        recorder.declare("rows", Schema::ragged::<u8>([]).with_chunk_policy(policy.clone())).unwrap();
        recorder.declare("numbers", Schema::array::<u8>([3]).with_chunk_policy(policy)).unwrap();
        for (i, &len) in lengths.iter().enumerate() {
            recorder.record("rows", Ragged(vec![i as u8; len])).unwrap();
            recorder.record("numbers", [i as u8; 3]).unwrap();
        }
        recorder.flush().unwrap();
        if checkpoint {
            recorder.checkpoint().unwrap();
        }
        let to = open(&folder.path().join("c"), ZarrStorage::Lmdb, OpenMode::CreateNew);
        for name in ["rows", "numbers"] {
            let key = Key::new(name).unwrap();
            let view = recorder.get_all(name).unwrap();
            let (schema, end) = (view.schema().clone(), until.index(lengths.len()) as u64 + 1);
            let from = view.as_encoded().unwrap();
            let form = from.stored_form();
            let declare = EncodedChange::Declare { key: key.clone(), schema, form: form.clone(), filled: 0 };
            to.commit_encoded(vec![declare]).unwrap();
            let mut done = 0;
            while done < end && let Some(encoded) = from.read_encoded(done..end, max_bytes).unwrap() {
                prop_assert!(to.takes_encoded(&key, view.schema(), &form, &encoded).unwrap());
                let (start, count) = (done, encoded.len());
                let append = EncodedChange::Append { key: key.clone(), start, encoded };
                to.commit_encoded(vec![append]).unwrap();
                done += count;
                let copied = to.view(&key).unwrap().unwrap();
                prop_assert_eq!(copied.len(), done);
                for (found, expected) in copied.iter().zip(view.iter()) {
                    prop_assert_eq!(found.unwrap(), expected.unwrap());
                }
            }
            prop_assert!(done <= end && (done == end || !checkpoint), "{} of {}", done, end);
        }
    }
}

/// Everything that was committed before the disk was full is readable, and the original is
/// unchanged.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_a_copy_and_leaves_what_was_committed() {
    const NAME: &str = "a_full_disk_ends_a_copy_and_leaves_what_was_committed";
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return unshare(NAME, folder.path());
    };
    let outside = tempfile::tempdir().unwrap();
    let original = outside.path().join("original");
    let store = open(&original, ZarrStorage::Lmdb, OpenMode::CreateNew);
    let recorder = Recorder::new(store.clone());
    let schema = Schema::array::<u64>([1 << 17]).with_compression(Compression::None);
    recorder.declare("x", schema).unwrap();
    for i in 0..40_u64 {
        recorder.record("x", vec![i; 1 << 17]).unwrap();
    }
    recorder.close().unwrap();
    for storage in BOTH {
        mount(&["-t", "tmpfs", "-o", "size=28m", "none"], &folder);
        let copied = folder.join("copied");
        let to = open(&copied, storage, OpenMode::CreateNew);
        let error = copy(&store, &to, CopyOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        drop(to);
        let reader = Recorder::new(open(&copied, storage, OpenMode::Read));
        let part = reader.get_all("x").unwrap();
        assert!((8..40).contains(&part.len()), "{}", part.len());
        for (i, record) in part.iter().enumerate() {
            assert_eq!(record.unwrap().array::<u64>().unwrap()[0], i as u64);
        }
        drop((part, reader));
        assert_success(std::process::Command::new("umount").arg(&folder));
    }
    assert_eq!(Recorder::new(store).get_all("x").unwrap().len(), 40);
}
