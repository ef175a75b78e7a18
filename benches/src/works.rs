//! The pieces of work, and who does each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::comparison::Comparison;
use crate::contender::Result;
use crate::contenders::bare_loop::BareLoop;
use crate::contenders::h5py::H5py;
use crate::contenders::mcap_log::McapLog;
use crate::contenders::raw_file::RawFile;
use crate::contenders::raw_zarrs::{ZarrsReadAll, ZarrsSlices};
use crate::contenders::redis_store::{
    IntoRedis, OnServer, ReadRedis, ReadRedisInPython, RedisBenchmark, RedisWork,
};
use crate::contenders::simrecorder_store::{
    FramesInto, ReadAll, ScalarsInto, Slices, Store, VectorsInto,
};
use crate::contenders::tensorstore::TensorstoreReadAll;
use crate::data::{Frames, random_walk};
use crate::python::Python;

/// Scalars of some keys in turn.
#[derive(Debug)]
pub struct Scalars {
    /// The keys.
    pub keys: Vec<String>,
    /// The values of one key, used again and again.
    pub values: Vec<f64>,
    /// How many records each key gets.
    pub records: usize,
}

impl Scalars {
    /// `total` records of ten keys.
    pub fn new(total: usize) -> Self {
        Self {
            keys: (0..10)
                .map(|i| format!("population_{i}/mean_rate"))
                .collect(),
            values: random_walk(1 << 20),
            records: total / 10,
        }
    }

    /// Calls `record` with the index of a key and a value, once for each record.
    #[inline]
    pub fn each(&self, mut record: impl FnMut(usize, f64) -> Result<()>) -> Result<()> {
        for value in self.values.iter().cycle().take(self.records) {
            for key in 0..self.keys.len() {
                record(key, *value)?;
            }
        }
        Ok(())
    }
}

/// Vectors of a hundred numbers.
#[derive(Debug)]
pub struct Vectors {
    /// The numbers of all vectors, used again and again.
    pub values: Vec<f64>,
    /// How many records there are.
    pub records: usize,
}

impl Vectors {
    /// The length of a vector.
    pub const LEN: usize = 100;

    /// `records` vectors.
    pub fn new(records: usize) -> Self {
        Self {
            values: random_walk(Self::LEN << 13),
            records,
        }
    }

    /// Calls `record` with each vector.
    #[inline]
    pub fn each(&self, mut record: impl FnMut(&[f64]) -> Result<()>) -> Result<()> {
        let vectors = self.values.as_chunks::<{ Self::LEN }>().0;
        for vector in vectors.iter().cycle().take(self.records) {
            record(vector)?;
        }
        Ok(())
    }
}

/// Frames of 1 MiB.
#[derive(Debug)]
pub struct FrameWork {
    /// Some frames, used again and again.
    pub frames: Vec<Vec<f32>>,
    /// How many records there are.
    pub count: usize,
}

/// Where and how large.
#[derive(Clone, Debug)]
pub struct Setting {
    /// A folder in memory.
    pub memory: PathBuf,
    /// A folder on a disk.
    pub disk: PathBuf,
    /// What sizes are multiplied with.
    pub scale: f64,
    /// Where Python peers live.
    pub python: Option<Arc<Python>>,
}

impl Setting {
    fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.scale) as usize).max(1)
    }
}

/// A piece of work: its name on the command line, and what makes it.
pub type Work = (&'static str, fn(&Setting) -> Result<Comparison>);

/// All pieces of work.
pub const WORKS: &[Work] = &[
    ("scalars-by-key", scalars_by_key),
    ("scalars-by-handle", scalars_by_handle),
    ("vectors", vectors),
    ("smooth-frames", |setting| frames(setting, Frames::Smooth)),
    ("random-frames", |setting| frames(setting, Frames::Random)),
    ("read-all", read_all),
    ("slices", slices),
    ("hdf5-scalars", hdf5_scalars),
    ("hdf5-vectors", hdf5_vectors),
    ("hdf5-smooth-frames", |setting| {
        hdf5_frames(setting, Frames::Smooth)
    }),
    ("hdf5-random-frames", |setting| {
        hdf5_frames(setting, Frames::Random)
    }),
    ("hdf5-read-all", hdf5_read_all),
    ("hdf5-slices", hdf5_slices),
    ("redis-scalars", redis_scalars),
    ("redis-vectors", redis_vectors),
    ("redis-frames", redis_frames),
    ("redis-read", redis_read),
];

/// The works whose contenders live in Python.
pub fn needs_python(work: &str) -> bool {
    matches!(work, "read-all" | "redis-read") || work.starts_with("hdf5-")
}

fn scalars_by_key(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    Ok(Comparison {
        title: "f64 scalars, ten keys in turn, by key".to_owned(),
        amount: (work.records * work.keys.len()) as f64 / 1e6,
        unit: "million records/s",
        contenders: vec![
            Box::new(BareLoop::by_key(&work)),
            Box::new(ScalarsInto::by_key(&work, Store::Lmdb, &setting.memory)),
            Box::new(ScalarsInto::by_key(
                &work,
                Store::Directory,
                &setting.memory,
            )),
            Box::new(McapLog::scalars(&work, &setting.memory)),
        ],
    })
}

fn scalars_by_handle(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    Ok(Comparison {
        title: "f64 scalars, ten keys in turn, by handle".to_owned(),
        amount: (work.records * work.keys.len()) as f64 / 1e6,
        unit: "million records/s",
        contenders: vec![
            Box::new(BareLoop::by_handle(&work)),
            Box::new(ScalarsInto::by_handle(&work, Store::Lmdb, &setting.memory)),
        ],
    })
}

fn vectors(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(1_000_000)));
    Ok(Comparison {
        title: "100 f64 per record".to_owned(),
        amount: work.records as f64 / 1e6,
        unit: "million records/s",
        contenders: vec![
            Box::new(McapLog::vectors(&work, &setting.memory)),
            Box::new(VectorsInto::new(&work, Store::Lmdb, &setting.memory)),
            Box::new(VectorsInto::new(&work, Store::Directory, &setting.memory)),
        ],
    })
}

fn frames(setting: &Setting, frames: Frames) -> Result<Comparison> {
    let work = Arc::new(FrameWork {
        frames: frames.make(8),
        count: setting.scaled(512),
    });
    Ok(Comparison {
        title: format!("1 MiB frames, {frames:?}, on a disk, synced"),
        amount: work.count as f64,
        unit: "MiB/s",
        contenders: vec![
            Box::new(RawFile::new(&work, &setting.disk)),
            Box::new(FramesInto::new(&work, Store::Lmdb, &setting.disk)),
            Box::new(FramesInto::new(&work, Store::Directory, &setting.disk)),
        ],
    })
}

fn read_all(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(600_000)));
    let recorded = |store| ReadAll::new(&work, store, &setting.memory);
    let directory = recorded(Store::Directory)?;
    let path = directory.array_path();
    let mut contenders: Vec<Box<dyn super::Contender>> = Vec::new();
    if let Some(python) = &setting.python {
        contenders.push(Box::new(TensorstoreReadAll::new(python, &path)?));
    }
    contenders.push(Box::new(ZarrsReadAll::new(&path)?));
    contenders.push(Box::new(directory));
    contenders.push(Box::new(recorded(Store::Lmdb)?));
    contenders.push(Box::new(recorded(Store::Lmdb)?.reusing_memory()));
    Ok(Comparison {
        title: "read all, lz4, page cache warm".to_owned(),
        amount: (work.records * Vectors::LEN * size_of::<f64>()) as f64 / 1e9,
        unit: "GB/s",
        contenders,
    })
}

/// How many slices are read.
const SLICES: usize = 50;

/// The shape of the seed; its first axis is shorter when less is asked for.
fn slice_shape(setting: &Setting) -> [usize; 4] {
    [
        setting.scaled(10).clamp(2, 10),
        10,
        setting.scaled(10_000).clamp(100, 10_000),
        200,
    ]
}

fn slices(setting: &Setting) -> Result<Comparison> {
    let shape = slice_shape(setting);
    let recorded = |store| Slices::new(shape, SLICES, store, &setting.memory);
    let directory = recorded(Store::Directory)?;
    let raw = ZarrsSlices::new(&directory.array_path(), directory.slices())?;
    Ok(Comparison {
        title: format!(
            "slices [:n/2, b, t, :] of {} records of {:?}",
            shape[0],
            &shape[1..]
        ),
        amount: SLICES as f64,
        unit: "slices/s",
        contenders: vec![
            Box::new(raw),
            Box::new(directory),
            Box::new(recorded(Store::Lmdb)?),
        ],
    })
}

fn hdf5_scalars(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    let mut contenders: Vec<Box<dyn super::Contender>> = Vec::new();
    if let Some(python) = &setting.python {
        contenders.push(Box::new(H5py::scalars(python, &work, &setting.memory)?));
    }
    contenders.push(Box::new(ScalarsInto::by_key(
        &work,
        Store::Hdf5,
        &setting.memory,
    )));
    contenders.push(Box::new(ScalarsInto::by_handle(
        &work,
        Store::Hdf5,
        &setting.memory,
    )));
    Ok(Comparison {
        title: "HDF5: f64 scalars, ten keys in turn, by key, then by handle".to_owned(),
        amount: (work.records * work.keys.len()) as f64 / 1e6,
        unit: "million records/s",
        contenders,
    })
}

fn hdf5_vectors(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(500_000)));
    let mut contenders: Vec<Box<dyn super::Contender>> = Vec::new();
    if let Some(python) = &setting.python {
        contenders.push(Box::new(H5py::vectors(python, &work, &setting.memory)?));
    }
    contenders.push(Box::new(VectorsInto::new(
        &work,
        Store::Hdf5,
        &setting.memory,
    )));
    Ok(Comparison {
        title: "HDF5: 100 f64 per record".to_owned(),
        amount: work.records as f64 / 1e6,
        unit: "million records/s",
        contenders,
    })
}

fn hdf5_frames(setting: &Setting, frames: Frames) -> Result<Comparison> {
    let work = Arc::new(FrameWork {
        frames: frames.make(8),
        count: setting.scaled(256),
    });
    let mut contenders: Vec<Box<dyn super::Contender>> = Vec::new();
    if let Some(python) = &setting.python {
        for filter in ["gzip", "lzf"] {
            contenders.push(Box::new(H5py::frames(
                python,
                &work,
                filter,
                &setting.memory,
            )?));
        }
    }
    contenders.push(Box::new(FramesInto::new(
        &work,
        Store::Hdf5,
        &setting.memory,
    )));
    Ok(Comparison {
        title: format!("HDF5: 1 MiB frames, {frames:?}"),
        amount: work.count as f64,
        unit: "MiB/s",
        contenders,
    })
}

fn hdf5_read_all(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(600_000)));
    let recorded = || ReadAll::new(&work, Store::Hdf5, &setting.memory);
    let ours = recorded()?;
    let mut contenders: Vec<Box<dyn super::Contender>> = Vec::new();
    if let Some(python) = &setting.python {
        contenders.push(Box::new(H5py::read_all(python, ours.path())?));
    }
    contenders.push(Box::new(ours));
    contenders.push(Box::new(recorded()?.reusing_memory()));
    Ok(Comparison {
        title: "HDF5: read all, page cache warm".to_owned(),
        amount: (work.records * Vectors::LEN * size_of::<f64>()) as f64 / 1e9,
        unit: "GB/s",
        contenders,
    })
}

fn hdf5_slices(setting: &Setting) -> Result<Comparison> {
    let shape = slice_shape(setting);
    let ours = Slices::new(shape, SLICES, Store::Hdf5, &setting.memory)?;
    let mut contenders: Vec<Box<dyn super::Contender>> = Vec::new();
    if let Some(python) = &setting.python {
        contenders.push(Box::new(H5py::slices(python, ours.path(), &ours.slices())?));
    }
    contenders.push(Box::new(ours));
    Ok(Comparison {
        title: format!(
            "HDF5: slices [:n/2, b, t, :] of {} records of {:?}",
            shape[0],
            &shape[1..]
        ),
        amount: SLICES as f64,
        unit: "slices/s",
        contenders,
    })
}

fn redis_scalars(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    let into_redis = IntoRedis::new(RedisWork::Scalars(Arc::clone(&work)), &setting.memory);
    Ok(Comparison {
        title: "Redis: f64 scalars, ten keys in turn, by key".to_owned(),
        amount: (work.records * work.keys.len()) as f64 / 1e6,
        unit: "million records/s",
        contenders: vec![Box::new(BareLoop::by_key(&work)), Box::new(into_redis)],
    })
}

fn redis_vectors(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(1_000_000)));
    pushed(setting, "100 f64 per record", RedisWork::Vectors(work))
}

fn redis_frames(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(FrameWork {
        frames: Frames::Random.make(8),
        count: setting.scaled(512).max(1),
    });
    pushed(setting, "1 MiB frames", RedisWork::Frames(work))
}

fn pushed(setting: &Setting, what: &str, work: RedisWork) -> Result<Comparison> {
    Ok(Comparison {
        title: format!("Redis: {what}, append-only file synced every second"),
        amount: work.bytes() as f64 / 1e6,
        unit: "MB/s",
        contenders: vec![
            Box::new(RedisBenchmark::new(&work, &setting.memory)?),
            Box::new(IntoRedis::new(work, &setting.memory)),
        ],
    })
}

fn redis_read(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(300_000)));
    let recorded = OnServer::new(&work, &setting.memory)?;
    let mut contenders: Vec<Box<dyn super::Contender>> = Vec::new();
    if let Some(python) = &setting.python {
        contenders.push(Box::new(ReadRedisInPython::new(python, &recorded)?));
    }
    contenders.push(Box::new(ReadRedis(recorded)));
    Ok(Comparison {
        title: "Redis: read all".to_owned(),
        amount: (work.records * Vectors::LEN * size_of::<f64>()) as f64 / 1e9,
        unit: "GB/s",
        contenders,
    })
}

/// A folder that is removed at the end, within `folder`.
pub(crate) fn scratch(folder: &Path) -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("simrecorder-bench-")
        .tempdir_in(folder)?)
}
