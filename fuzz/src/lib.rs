//! Recordings for fuzz targets: the fuzzer makes a part of a recording, and the target reads all of it.

use std::path::Path;
use std::sync::Once;
use std::{fs, panic};

use simrecorder_core::prelude::*;
use simrecorder_core::{ChunkPolicy, Recorder, Result, Schema};
use tempfile::TempDir;
#[cfg(feature = "zarr")]
use {
    simrecorder_core::OpenMode,
    simrecorder_zarr::{ZarrDataStore, ZarrStorage},
};

/// The most records of a series that are read.
const MOST: usize = 500;

/// The length of the header of an HDF5 journal.
#[cfg(feature = "hdf5")]
pub const HDF5_HEADER: usize = 72;

/// A recording in a separate folder, in memory if there is a file system for that.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    open: fn(&Path) -> Result<Recorder>,
}

impl Scratch {
    /// A recording that `make` creates and `open` opens.
    pub fn new(make: fn(&Path), open: fn(&Path) -> Result<Recorder>) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a folder for temporary files");
        forgive_codecs();
        make(folder.path());
        Self { folder, open }
    }

    /// The folder of the recording.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces a file.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).expect("a file is written");
    }

    /// Reads all keys.
    pub fn read(&self) {
        if let Ok(recorder) = (self.open)(self.path()) {
            let known = ["net/n", "log", "spikes", "seed"].map(str::to_owned);
            let listed = recorder.keys().unwrap_or_default();
            let listed = listed.iter().map(|key| key.as_str().to_owned());
            for key in listed.take(10).chain(known) {
                read_key(&recorder, &key);
            }
        }
    }

    /// Reads one key.
    pub fn read_key(&self, key: &str) {
        if let Ok(recorder) = (self.open)(self.path()) {
            read_key(&recorder, key);
        }
    }
}

/// Allows panics in codecs of zarrs, which the library catches; otherwise the fuzzer would end the process.
fn forgive_codecs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let end = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_codec = |place: &panic::Location<'_>| place.file().contains("/zarrs-");
            if !info.location().is_some_and(is_codec) {
                end(info);
            }
        }));
    });
}

fn read_key(recorder: &Recorder, key: &str) {
    drop(recorder.get(key));
    let Ok(view) = recorder.get_all(key) else {
        return;
    };
    view.iter().take(MOST).for_each(drop);
    drop(view.get(1));
    // Sizes in metadata may exceed memory, which is then an error.
    if view.shape().iter().product::<u64>() < 100_000 {
        drop(view.read::<u64>());
        drop(view.read_text());
    }
}

fn record(recorder: &Recorder) {
    let policy = ChunkPolicy::records(32);
    let n = Schema::scalar::<u64>().with_chunk_policy(policy);
    recorder.declare("net/n", n).expect("a series");
    recorder.set("seed", 42_u64).expect("a value");
    for i in 0..50_u64 {
        recorder.record("net/n", i).expect("a record");
        recorder
            .record("log", format!("step {i}"))
            .expect("a record");
        let spikes = vec![i; (i % 3) as usize];
        recorder
            .record("spikes", Ragged(&spikes))
            .expect("a record");
    }
    recorder.flush().expect("a flush");
}

/// Opens the directory of [`zarr`] and [`zarr_codecs`].
#[cfg(feature = "zarr")]
pub fn open_zarr(folder: &Path) -> Result<Recorder> {
    let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
    Ok(Recorder::new(options.open(folder.join("run.zarr"))?))
}

/// Opens the file of [`hdf5`].
#[cfg(feature = "hdf5")]
pub fn open_hdf5(folder: &Path) -> Result<Recorder> {
    let store = simrecorder_hdf5::Hdf5DataStore::open(folder.join("run.h5"))?;
    Ok(Recorder::new(store))
}

/// A directory with a journal.
#[cfg(feature = "zarr")]
pub fn zarr(folder: &Path) {
    let made = tempfile::tempdir().expect("a folder for temporary files");
    let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
    let options = options.mode(OpenMode::CreateNew);
    let store = options.open(made.path().join("run.zarr"));
    let recorder = Recorder::new(store.expect("a new recording"));
    record(&recorder);
    recorder.checkpoint().expect("a checkpoint");
    recorder.record("net/n", 50_u64).expect("a record");
    recorder.flush().expect("a flush");
    copy(made.path(), folder);
    recorder.close().expect("a close");
}

/// An HDF5 file with a journal.
#[cfg(feature = "hdf5")]
pub fn hdf5(folder: &Path) {
    let made = tempfile::tempdir().expect("a folder for temporary files");
    let store = simrecorder_hdf5::Hdf5DataStore::create(made.path().join("run.h5"));
    let recorder = Recorder::new(store.expect("a new recording"));
    record(&recorder);
    recorder.checkpoint().expect("a checkpoint");
    recorder.record("net/n", 50_u64).expect("a record");
    recorder.flush().expect("a flush");
    copy(made.path(), folder);
    recorder.close().expect("a close");
}

/// Copies the folder of an open recording, except for locks.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            fs::create_dir_all(&to).expect("a folder");
            copy(&path, &to);
        } else if path.extension().is_none_or(|extension| extension != "lock") {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// Keys of arrays, with their codecs.
#[cfg(feature = "zarr")]
pub const CODECS: [(&str, &str); 6] = [
    (
        "lz4",
        r#"{"name":"bytes","configuration":{"endian":"little"}},{"name":"blosc","configuration":{"cname":"lz4","clevel":1,"shuffle":"shuffle","typesize":8,"blocksize":0}}"#,
    ),
    (
        "zstd_bits",
        r#"{"name":"bytes","configuration":{"endian":"little"}},{"name":"blosc","configuration":{"cname":"zstd","clevel":3,"shuffle":"bitshuffle","typesize":8,"blocksize":256}}"#,
    ),
    (
        "blosclz",
        r#"{"name":"bytes","configuration":{"endian":"little"}},{"name":"blosc","configuration":{"cname":"blosclz","clevel":5,"shuffle":"noshuffle","typesize":8,"blocksize":0}}"#,
    ),
    (
        "gzip",
        r#"{"name":"bytes","configuration":{"endian":"little"}},{"name":"gzip","configuration":{"level":1}}"#,
    ),
    (
        "zstd_crc",
        r#"{"name":"bytes","configuration":{"endian":"little"}},{"name":"zstd","configuration":{"level":1,"checksum":false}},{"name":"crc32c"}"#,
    ),
    (
        "shards",
        r#"{"name":"sharding_indexed","configuration":{"chunk_shape":[8],"codecs":[{"name":"bytes","configuration":{"endian":"little"}},{"name":"zstd","configuration":{"level":1,"checksum":false}}],"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}}],"index_location":"end"}}"#,
    ),
];

/// A directory with an array for each of [`CODECS`], without chunks.
#[cfg(feature = "zarr")]
pub fn zarr_codecs(folder: &Path) {
    let group = r#"{"zarr_format":3,"node_type":"group"}"#;
    let root = folder.join("run.zarr");
    for (key, codecs) in CODECS {
        fs::create_dir_all(root.join(key).join("c")).expect("a folder");
        let array = format!(
            r#"{{"zarr_format":3,"node_type":"array","shape":[64],"data_type":"uint64","chunk_grid":{{"name":"regular","configuration":{{"chunk_shape":[64]}}}},"chunk_key_encoding":{{"name":"default","configuration":{{"separator":"/"}}}},"fill_value":0,"codecs":[{codecs}]}}"#
        );
        fs::write(root.join(key).join("zarr.json"), array).expect("metadata");
    }
    fs::write(root.join("zarr.json"), group).expect("metadata");
}

/// A directory of Zarr V2 with an array that has a chunk and no metadata.
#[cfg(feature = "zarr")]
pub fn zarr_v2(folder: &Path) {
    let root = folder.join("run.zarr");
    fs::create_dir_all(root.join("n")).expect("a folder");
    fs::write(root.join(".zgroup"), r#"{"zarr_format":2}"#).expect("metadata");
    fs::write(
        root.join("n/.zattrs"),
        r#"{"_ARRAY_DIMENSIONS":["time"],"x":NaN}"#,
    )
    .expect("attributes");
    fs::write(root.join("n/0"), [0; 64]).expect("a chunk");
}

/// The chunk of the array `key` of [`zarr_codecs`] after the recorder has written 0, 1, 2, … to it.
#[cfg(feature = "zarr")]
pub fn sound_chunk(key: &str) -> Vec<u8> {
    let scratch = Scratch::new(zarr_codecs, open_zarr);
    let metadata = scratch.path().join(format!("run.zarr/{key}/zarr.json"));
    let text = fs::read_to_string(&metadata).expect("metadata");
    let empty = text.replace("\"shape\":[64]", "\"shape\":[0]");
    fs::write(&metadata, empty).expect("metadata");
    let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
    let options = options.mode(OpenMode::Append);
    let store = options.open(scratch.path().join("run.zarr"));
    let recorder = Recorder::new(store.expect("a recording"));
    for i in 0..64_u64 {
        recorder.record(key, i).expect("a record");
    }
    recorder.close().expect("a close");
    fs::read(scratch.path().join(format!("run.zarr/{key}/c/0"))).expect("a chunk")
}
