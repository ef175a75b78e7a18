//! Peers in Python. Each works in a separate process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::redis_store::Server;
use super::simrecorder_store::Places;
use crate::candidate::{Candidate, Outcome, Part, Result, bytes_at};
use crate::codec::Blosc;
use crate::load::Load;
use crate::python::{Python, Worker};
use crate::workloads::scratch;

/// The peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// HDF5.
    H5py,
    /// Zarr V3 in a directory.
    ZarrPython,
    /// The same with TensorStore.
    TensorStore,
    /// The same with acquire-zarr.
    AcquireZarr,
    /// Arrow IPC messages in lists of a Redis server.
    RedisPy,
    /// The Python package of simrecorder, in Zarr over LMDB.
    Simrecorder(How),
    /// The minimum that a loop in Python has to do: a dictionary of lists.
    Lists,
}

/// How the Python package records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `recorder.record(key, value)`.
    ByKey,
    /// `timeline.advance(time)` and `timeline.record(name, value)`; the first key is the coordinate.
    ByName,
    /// `timeline.tick(time, values)`, likewise.
    ByTick,
}

impl Peer {
    fn script(self) -> &'static str {
        match self {
            Self::H5py => "h5py_worker.py",
            Self::ZarrPython => "zarr_worker.py",
            Self::TensorStore => "tensorstore_worker.py",
            Self::AcquireZarr => "acquire_zarr_worker.py",
            Self::RedisPy => "redis_worker.py",
            Self::Simrecorder(_) | Self::Lists => "simrecorder_worker.py",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::H5py => "h5py",
            Self::ZarrPython => "zarr-python",
            Self::TensorStore => "TensorStore",
            Self::AcquireZarr => "acquire-zarr",
            Self::RedisPy => "redis-py and pyarrow",
            Self::Simrecorder(How::ByKey) => "simrecorder from Python, by key",
            Self::Simrecorder(How::ByName) => "simrecorder from Python, timeline, by name",
            Self::Simrecorder(How::ByTick) => "simrecorder from Python, timeline, by tick",
            Self::Lists => "dictionary of lists in Python",
        }
    }

    /// The script's name for the way to record, if it has several.
    fn how(self) -> Option<&'static str> {
        match self {
            Self::Simrecorder(How::ByKey) => Some("by_key"),
            Self::Simrecorder(How::ByName) => Some("by_name"),
            Self::Simrecorder(How::ByTick) => Some("by_tick"),
            Self::Lists => Some("lists"),
            _ => None,
        }
    }

    /// The codec that is compared with the default of simrecorder.
    fn default_codec(self) -> Codec {
        match self {
            Self::H5py => Codec::Gzip(1),
            Self::RedisPy | Self::Simrecorder(_) | Self::Lists => Codec::None,
            _ => Codec::Blosc(Blosc::LZ4),
        }
    }
}

/// How a peer compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// `blosc`, in Zarr.
    Blosc(Blosc),
    /// `shuffle` and gzip, in HDF5.
    Gzip(u8),
    /// `shuffle` and the filter LZF, in HDF5.
    Lzf,
}

impl Codec {
    fn request(self) -> Json {
        match self {
            Self::None => Json::Null,
            Self::Blosc(blosc) => blosc.request(),
            Self::Gzip(level) => json!({ "name": "gzip", "level": level }),
            Self::Lzf => json!({ "name": "lzf" }),
        }
    }

    fn name(self) -> String {
        match self {
            Self::None => "uncompressed".to_owned(),
            Self::Blosc(blosc) => blosc.to_string(),
            Self::Gzip(level) => format!("shuffle and gzip {level}"),
            Self::Lzf => "shuffle and lzf".to_owned(),
        }
    }
}

/// Records with a peer.
#[derive(Debug)]
pub struct PythonRecord {
    worker: Worker,
    peer: Peer,
    codec: Codec,
    load: Arc<Load>,
    divisor: usize,
    by_hand: bool,
    synced: bool,
    folder: PathBuf,
    /// The numbers that the process records.
    numbers: Option<Lent>,
}

impl PythonRecord {
    /// Records, combined by hand into whole chunks, within `folder`.
    pub fn by_hand(python: &Arc<Python>, peer: Peer, load: &Arc<Load>, folder: &Path) -> Self {
        Self {
            worker: python.worker(peer.script()),
            peer,
            codec: peer.default_codec(),
            load: Arc::clone(load),
            divisor: 1,
            by_hand: true,
            synced: false,
            folder: folder.to_owned(),
            numbers: None,
        }
    }

    /// Records one by one, only one of `divisor` records.
    #[must_use]
    pub fn one_by_one(self, divisor: usize) -> Self {
        Self {
            by_hand: false,
            divisor,
            ..self
        }
    }

    /// Only one of `divisor` records.
    #[must_use]
    pub fn part_of(self, divisor: usize) -> Self {
        Self { divisor, ..self }
    }

    /// With another codec than the default.
    #[must_use]
    pub fn codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    /// With one sync of the file system at the end.
    #[must_use]
    pub fn synced(self) -> Self {
        Self {
            synced: true,
            ..self
        }
    }

    fn request(&mut self) -> Result<Json> {
        let load = self.load.part(self.divisor);
        let rows = load.numbers.bytes().len() / load.record_bytes();
        let shape: Vec<usize> = [rows].into_iter().chain(load.shape.clone()).collect();
        if self.numbers.is_none() {
            let bytes = &load.numbers.bytes()[..rows * load.record_bytes()];
            self.numbers = Some(Lent::new(&self.worker, bytes, &self.folder)?);
        }
        Ok(json!({
            "work": "record",
            "values": self.numbers.as_ref().map(|it| &it.path),
            "dtype": load.numbers.numpy_name(),
            "shape": shape,
            "keys": load.keys,
            "count": load.count,
            "how": self.peer.how(),
            "by_hand": self.by_hand,
            "codec": self.codec.request(),
            "sync": self.synced,
        }))
    }
}

impl Candidate for PythonRecord {
    fn name(&self) -> String {
        let how = match (self.by_hand, self.load.chunk_rows()) {
            (_, 1) => "",
            (true, _) => ", whole chunks by hand",
            (false, _) => ", one by one",
        };
        match self.codec {
            Codec::None if self.peer == Peer::H5py => "h5py, datasets without chunks".to_owned(),
            Codec::None if self.peer.how().is_some() => self.peer.name().to_owned(),
            Codec::None => format!("{}{how}", self.peer.name()),
            codec => format!("{}{how}, {}", self.peer.name(), codec.name()),
        }
    }

    fn is_ours(&self) -> bool {
        matches!(self.peer, Peer::Simrecorder(_))
    }

    fn run(&mut self) -> Result<Outcome> {
        let mut request = self.request()?;
        if self.peer == Peer::RedisPy {
            let server = Server::start(&self.folder)?;
            request["url"] = json!(server.url());
            request["block_bytes"] = json!(256 << 10);
            return outcome_of(&self.worker.ask(&request)?)?.stored_at(server.folder());
        }
        let folder = scratch(&self.folder)?;
        // The extension is for simrecorder.
        let path = folder.path().join("recording.mdb");
        request["path"] = json!(path);
        let outcome = outcome_of(&self.worker.ask(&request)?)?;
        match self.peer {
            Peer::Lists => Ok(outcome),
            _ => outcome.stored_at(&path),
        }
    }

    fn part(&self) -> Option<Part> {
        Part::of(&self.load, self.divisor).1
    }

    fn process(&self) -> Option<u32> {
        self.worker.process_id()
    }
}

/// Numbers that a process read from a file and keeps until this is dropped.
#[derive(Debug)]
struct Lent {
    worker: Worker,
    path: PathBuf,
}

impl Lent {
    fn new(worker: &Worker, bytes: &[u8], folder: &Path) -> Result<Self> {
        let (mut file, path) = tempfile::Builder::new()
            .prefix("simrecorder-bench-")
            .tempfile_in(folder)?
            .keep()?;
        let worker = worker.clone();
        // From here on, the file is removed in any case.
        let lent = Self { worker, path };
        file.write_all(bytes)?;
        Ok(lent)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A process that has ended keeps nothing.
        if self.worker.process_id().is_some() {
            let request = json!({ "work": "forget", "values": self.path });
            drop(self.worker.ask(&request));
        }
        // The process removes the file after reading it.
        drop(std::fs::remove_file(&self.path));
    }
}

fn outcome_of(answer: &Json) -> Result<Outcome> {
    let seconds = answer["seconds"].as_f64().ok_or("no seconds")?;
    let checksum = answer["checksum"].as_u64().ok_or("no checksum")?;
    Ok(Outcome::new(Duration::from_secs_f64(seconds), checksum))
}

/// Reads a recording of simrecorder with a peer.
#[derive(Debug)]
pub struct PythonRead {
    worker: Worker,
    name: String,
    request: Json,
    stored: Option<u64>,
}

impl PythonRead {
    fn new(python: &Arc<Python>, peer: Peer, request: Json, stored: Option<u64>) -> Self {
        let name = match peer {
            Peer::ZarrPython | Peer::TensorStore => format!("{}, directory", peer.name()),
            Peer::Simrecorder(_) => "simrecorder from Python, Zarr/LMDB".to_owned(),
            _ => peer.name().to_owned(),
        };
        Self {
            worker: python.worker(peer.script()),
            name,
            request,
            stored,
        }
    }

    /// Reads a whole array, or, in HDF5, the series of a key.
    pub fn all(python: &Arc<Python>, peer: Peer, path: &Path, key: &str) -> Result<Self> {
        let request = json!({ "work": "read_all", "path": path, "key": key });
        let stored = Some(bytes_at(path)?);
        Ok(Self::new(python, peer, request, stored))
    }

    /// Reads a whole series on a Redis server.
    pub fn all_of_redis(python: &Arc<Python>, url: &str, key: &str) -> Self {
        let request = json!({ "work": "read_all", "url": url, "key": key });
        Self::new(python, Peer::RedisPy, request, None)
    }

    /// Reads slices at the given places.
    pub fn slices(
        python: &Arc<Python>,
        peer: Peer,
        path: &Path,
        key: &str,
        places: &Places,
    ) -> Result<Self> {
        let request = json!({ "work": "slices", "path": path, "key": key, "places": **places });
        let stored = Some(bytes_at(path)?);
        Ok(Self::new(python, peer, request, stored))
    }
}

impl Candidate for PythonRead {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn run(&mut self) -> Result<Outcome> {
        let outcome = outcome_of(&self.worker.ask(&self.request)?)?;
        let stored = self.stored;
        Ok(Outcome { stored, ..outcome })
    }
}
