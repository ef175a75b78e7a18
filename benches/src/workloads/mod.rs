//! The pieces of work and their candidates.

mod hdf5;
mod many;
mod reading;
mod recording;
mod redis;
mod shell;
mod sizes;
mod timelines;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::candidate::{Candidate, Result};
use crate::candidates::python_peer::{Peer, PythonRecord};
use crate::candidates::simrecorder_store::KEY;
use crate::comparison::Comparison;
use crate::data::{Frames, random_walk};
use crate::load::{Load, Numbers};
use crate::python::Python;

/// Scalars of some keys in turn.
#[derive(Debug)]
pub struct Scalars {
    /// The keys.
    pub keys: Vec<String>,
    /// The values of one key, which are repeated.
    pub values: Vec<f64>,
    /// The number of records of each key.
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
            records: (total / 10).max(1),
        }
    }

    /// The same for peers.
    pub fn load(&self) -> Load {
        Load {
            keys: self.keys.clone(),
            numbers: Numbers::F64(self.values.clone()),
            shape: Vec::new(),
            count: self.records,
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
    /// The numbers of all vectors, which are repeated.
    pub values: Vec<f64>,
    /// The number of records.
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

    /// The same for peers.
    pub fn load(&self) -> Load {
        Load {
            keys: vec![KEY.to_owned()],
            numbers: Numbers::F64(self.values.clone()),
            shape: vec![Self::LEN],
            count: self.records,
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
    /// Some frames, which are repeated.
    pub frames: Vec<Vec<f32>>,
    /// The number of records.
    pub count: usize,
}

impl FrameWork {
    /// `count` frames, eight of which differ.
    pub fn new(frames: Frames, count: usize) -> Self {
        let frames = frames.make(count.min(8));
        Self { frames, count }
    }

    /// The same for peers.
    pub fn load(&self) -> Load {
        Load {
            keys: vec![KEY.to_owned()],
            numbers: Numbers::F32(self.frames.concat()),
            shape: vec![Frames::SIDE, Frames::SIDE],
            count: self.count,
        }
    }
}

/// The folders and sizes of all work.
#[derive(Clone, Debug)]
pub struct Setting {
    /// A folder in memory.
    pub memory: PathBuf,
    /// A folder on a disk.
    pub disk: PathBuf,
    /// The factor for all sizes.
    pub scale: f64,
    /// The environment of Python peers.
    pub python: Option<Arc<Python>>,
}

impl Setting {
    pub(crate) fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.scale) as usize).max(1)
    }
}

type Candidates = Vec<Box<dyn Candidate>>;

/// A piece of work: its name on the command line, and its constructor.
pub type Workload = (&'static str, fn(&Setting) -> Result<Comparison>);

/// All pieces of work.
pub const WORKLOADS: &[Workload] = &[
    ("scalars-by-key", recording::scalars_by_key),
    ("scalars-by-handle", recording::scalars_by_handle),
    ("vectors", recording::vectors),
    ("smooth-frames", recording::smooth_frames),
    ("random-frames", recording::random_frames),
    (
        "smooth-frames-in-memory",
        recording::smooth_frames_in_memory,
    ),
    (
        "random-frames-in-memory",
        recording::random_frames_in_memory,
    ),
    ("read-all", reading::read_all),
    ("slices", reading::slices),
    ("many-groups", many::groups),
    ("many-series", many::series),
    ("timelines-by-member-1", timelines::by_member::<1>),
    ("timelines-by-member-10", timelines::by_member::<10>),
    ("timelines-by-member-1000", timelines::by_member::<1000>),
    ("timelines-by-name-1", timelines::by_name::<1>),
    ("timelines-by-name-10", timelines::by_name::<10>),
    ("timelines-by-name-1000", timelines::by_name::<1000>),
    ("timelines-frames", timelines::with_frames),
    ("python-ticks", timelines::from_python),
    ("hdf5-scalars", hdf5::scalars),
    ("hdf5-vectors", hdf5::vectors),
    ("hdf5-smooth-frames", hdf5::smooth_frames),
    ("hdf5-random-frames", hdf5::random_frames),
    ("hdf5-read-all", hdf5::read_all),
    ("hdf5-slices", hdf5::slices),
    ("redis-scalars", redis::scalars),
    ("redis-vectors", redis::vectors),
    ("redis-frames", redis::frames),
    ("redis-read", redis::read),
    ("simrec-ls", shell::list),
    ("simrec-info", shell::describe),
    ("simrec-cat", shell::print),
    ("simrec-export", shell::export),
    ("simrec-copy", shell::copy),
    ("simrec-convert", shell::convert),
    ("sizes-voltages", sizes::voltages),
    ("sizes-field", sizes::field),
    ("sizes-counts", sizes::counts),
    ("sizes-random", sizes::random),
];

/// Whether a work has a candidate in Python.
pub fn needs_python(work: &str) -> bool {
    work != "scalars-by-handle" && !work.starts_with("timelines-")
}

/// Candidates with about a tenth of the speed of others write one of this many records.
const SLOW: usize = 10;

/// Adds Python peers that combine records by hand, and some that do not, each with the part of the
/// work that it does: one of this many records.
fn add_python(
    candidates: &mut Candidates,
    setting: &Setting,
    load: &Arc<Load>,
    peers: &[(Peer, usize)],
    one_by_one: &[(Peer, usize)],
) {
    let Some(python) = &setting.python else {
        return;
    };
    let record = |peer| PythonRecord::by_hand(python, peer, load, &setting.memory);
    for &(peer, divisor) in peers {
        candidates.push(Box::new(record(peer).part_of(divisor)));
    }
    for &(peer, divisor) in one_by_one {
        candidates.push(Box::new(record(peer).one_by_one(divisor)));
    }
}

/// A folder that is removed at the end, within `folder`.
pub fn scratch(folder: &Path) -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("simrecorder-bench-")
        .tempdir_in(folder)?)
}
