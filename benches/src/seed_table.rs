//! The benchmark of SimRecorder for Python, with each store of simrecorder: large arrays under one
//! key.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use rand::RngExt;
use serde::Serialize;
use simrecorder::ndarray::{ArrayView3, s};
use simrecorder::{
    ArrayView, Compression, InMemoryDataStore, OpenMode, Recorder, RedisDataStore, RedisEncoding,
};
use tempfile::TempDir;

use crate::candidate::{Result, bytes_at, checksum_f32};
use crate::candidates::redis_store::Server;
use crate::candidates::simrecorder_store::{KEY, Store};
use crate::data::generator;
use crate::disk::written_bytes;
use crate::workloads::{Setting, scratch};

/// The number of slices that are read.
const SLICES: usize = 50;

/// The store of the arrays.
#[derive(Clone, Copy, Debug)]
enum Target {
    Memory,
    Store(Store, Compression),
    Redis(RedisEncoding),
}

impl Target {
    fn all() -> [Self; 6] {
        [
            Self::Memory,
            Self::Store(Store::Lmdb, Compression::Fast),
            Self::Store(Store::Lmdb, Compression::Small),
            Self::Store(Store::Hdf5, Compression::Fast),
            Self::Redis(RedisEncoding::Arrow),
            Self::Redis(RedisEncoding::Bincode),
        ]
    }

    fn name(self) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Store(Store::Lmdb, Compression::Fast) => "Zarr (LMDB)".to_owned(),
            Self::Store(Store::Lmdb, compression) => format!("Zarr (LMDB), {compression:?}"),
            Self::Store(store, _) => store.name().replace("simrecorder, ", ""),
            Self::Redis(encoding) => format!("Redis ({encoding:?})"),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The store.
    pub name: String,
    /// The number of arrays.
    pub arrays: usize,
    /// The shape of an array of `f32`.
    pub shape: [usize; 3],
    /// The time from opening to the end of closing, including stopping a server.
    pub total_write_seconds: f64,
    /// The mean time of a call of `record`.
    pub mean_write_seconds: f64,
    /// The mean time of reading a slice.
    pub mean_slice_seconds: f64,
    /// The time of all calls that read the arrays, one after another.
    pub total_read_seconds: f64,
    /// The size on disk.
    pub stored_bytes: Option<u64>,
    /// The bytes that were written to the disk until then.
    pub written_bytes: Option<u64>,
    /// The number of syncs, if they were counted.
    pub syncs: Option<u64>,
}

/// The arrays: two arrays of random numbers, alternating.
struct Arrays {
    shape: [usize; 3],
    numbers: [Vec<f32>; 2],
    count: usize,
}

impl Arrays {
    fn new(shape: [usize; 3], count: usize) -> Self {
        let mut rng = generator();
        let len = shape.iter().product();
        let numbers = [(); 2].map(|()| (0..len).map(|_| rng.random()).collect());
        Self {
            shape,
            numbers,
            count,
        }
    }

    fn get(&self, index: usize) -> Result<ArrayView3<'_, f32>> {
        Ok(ArrayView3::from_shape(
            self.shape,
            &self.numbers[index % 2],
        )?)
    }
}

/// An open recording.
struct Place {
    folder: TempDir,
    memory: InMemoryDataStore,
    server: Option<Server>,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.folder.path().join("recording")
    }

    fn recorder(&self, target: Target, mode: OpenMode) -> Result<Recorder> {
        Ok(match (target, &self.server) {
            (Target::Store(store, compression), _) => {
                Recorder::new(store.open_with(&self.path(), mode, compression)?)
            }
            (Target::Redis(encoding), Some(server)) => {
                let options = RedisDataStore::options().encoding(encoding).mode(mode);
                Recorder::new(options.open(server.url())?)
            }
            _ if mode == OpenMode::Read => Recorder::new(self.memory.open(mode)?),
            _ => Recorder::new(self.memory.clone()),
        })
    }
}

/// Records `count` arrays into each store and reads them back.
///
/// # Errors
///
/// What a store reports; arrays that differ from what was recorded.
pub fn run(setting: &Setting, count: usize) -> Result<Vec<Row>> {
    let arrays = arrays(setting, count);
    let rows = Target::all().map(|target| row(target, &arrays, setting));
    rows.into_iter().collect()
}

/// Like [`run`], for one of the stores.
///
/// # Errors
///
/// As for [`run`]; there is no such store.
pub fn run_only(setting: &Setting, count: usize, index: usize) -> Result<Row> {
    let targets = Target::all();
    let target = targets.get(index).ok_or("there is no such store")?;
    row(*target, &arrays(setting, count), setting)
}

fn arrays(setting: &Setting, count: usize) -> Arrays {
    let middle = setting.scaled(10_000).clamp(10, 10_000);
    Arrays::new([10, middle, 200], count)
}

fn row(target: Target, arrays: &Arrays, setting: &Setting) -> Result<Row> {
    let written_before = written_bytes(std::process::id())?;
    let mut place = Place {
        folder: scratch(&setting.disk)?,
        memory: InMemoryDataStore::new(),
        server: None,
    };
    if matches!(target, Target::Redis(_)) {
        place.server = Some(Server::start(place.folder.path())?);
    }
    let start = Instant::now();
    let recorder = place.recorder(target, OpenMode::CreateNew)?;
    let mut recording = 0.0;
    for index in 0..arrays.count {
        let array = arrays.get(index)?;
        let start = Instant::now();
        recorder.record(KEY, array)?;
        recording += start.elapsed().as_secs_f64();
    }
    recorder.close()?;
    let mut total_write_seconds = start.elapsed().as_secs_f64();
    let reading = place.recorder(target, OpenMode::Read)?;
    let view = reading.get_all(KEY)?;
    let mean_slice_seconds = slices(&*view, arrays)?;
    let total_read_seconds = read_all(&*view, arrays)?;
    drop((view, reading));
    let stored_bytes = match (target, place.server.take()) {
        (Target::Memory, _) => None,
        (_, Some(server)) => {
            // The server writes the rest when it is stopped.
            let start = Instant::now();
            let folder = server.stop()?;
            total_write_seconds += start.elapsed().as_secs_f64();
            Some(bytes_at(folder.path())?)
        }
        (_, None) => Some(bytes_at(&place.path())?),
    };
    let written_bytes = written_bytes(std::process::id())? - written_before;
    Ok(Row {
        name: target.name(),
        arrays: arrays.count,
        shape: arrays.shape,
        total_write_seconds,
        mean_write_seconds: recording / arrays.count as f64,
        mean_slice_seconds,
        total_read_seconds,
        stored_bytes,
        written_bytes: stored_bytes.map(|_| written_bytes),
        syncs: None,
    })
}

/// The mean time of reading `[:n/2, b, t, :]`, verified against what was recorded.
fn slices(view: &dyn ArrayView, arrays: &Arrays) -> Result<f64> {
    let mut rng = generator();
    let half = (arrays.count / 2).max(1);
    let mut seconds = 0.0;
    for _ in 0..SLICES {
        let b = rng.random_range(0..arrays.shape[0]);
        let t = rng.random_range(0..arrays.shape[1]);
        let start = Instant::now();
        let part = view.select(s![..half as isize, b as isize, t as isize, ..])?;
        let slice = part.read::<f32>()?;
        seconds += start.elapsed().as_secs_f64();
        for (index, row) in slice.outer_iter().enumerate() {
            if row != arrays.get(index)?.slice(s![b, t, ..]).into_dyn() {
                return Err("a slice came back changed".into());
            }
        }
    }
    Ok(seconds / SLICES as f64)
}

fn read_all(view: &dyn ArrayView, arrays: &Arrays) -> Result<f64> {
    let expected = [0, 1].map(|index: usize| checksum_f32(&arrays.numbers[index]));
    let mut seconds = 0.0;
    for index in 0..arrays.count {
        let start = Instant::now();
        let part = view.select(s![index as isize, .., .., ..])?;
        let array = part.read::<f32>()?;
        seconds += start.elapsed().as_secs_f64();
        if checksum_f32(array.as_slice().unwrap_or_default()) != expected[index % 2] {
            return Err("an array came back changed".into());
        }
    }
    Ok(seconds)
}

/// The table of all stores, as in the readme of SimRecorder for Python.
///
/// # Errors
/// None in practice.
pub fn table(rows: &[Row]) -> Result<String> {
    let (arrays, shape) = rows
        .first()
        .map_or((0, [0; 3]), |row| (row.arrays, row.shape));
    let mut text = format!(
        "\n## The table of SimRecorder for Python\n\n`seed-table`, {arrays} arrays of \
         {}x{}x{} random `f32` under one key, on a disk, page cache warm\n\n| | total write, s | \
         mean write, s | mean slice, s | total read, s | on disk, GB | written, GB | syncs |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
        shape[0], shape[1], shape[2]
    );
    for row in rows {
        let gigabytes = |bytes: Option<u64>| bytes.map(|it| format!("{:.3}", it as f64 / 1e9));
        writeln!(
            text,
            "| {} | {:.2} | {:.4} | {:.6} | {:.2} | {} | {} | {} |",
            row.name,
            row.total_write_seconds,
            row.mean_write_seconds,
            row.mean_slice_seconds,
            row.total_read_seconds,
            gigabytes(row.stored_bytes).unwrap_or_default(),
            gigabytes(row.written_bytes).unwrap_or_default(),
            row.syncs.map(|it| it.to_string()).unwrap_or_default()
        )?;
    }
    Ok(text)
}
