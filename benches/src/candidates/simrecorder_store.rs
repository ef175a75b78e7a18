//! simrecorder, with each of its stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt;
use simrecorder::ndarray::{ArrayView2, ArrayView3, ArrayViewD, s};
use simrecorder::prelude::*;
use simrecorder::{
    Compression, DataStore, DataStoreExt, Element, Hdf5DataStore, Key, OpenMode, Recorder, View,
    ZarrDataStore, ZarrStorage,
};
use tempfile::TempDir;

use crate::candidate::{Candidate, Outcome, Result, checksum, checksum_f32, timed};
use crate::data::{Frames, generator, random_walk};
use crate::load::{Load, Numbers};
use crate::workloads::{FrameWork, Scalars, Vectors, scratch};

/// A store of simrecorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Zarr over LMDB.
    Lmdb,
    /// Zarr in a directory.
    Directory,
    /// HDF5.
    Hdf5,
}

impl Store {
    /// Creates a recording at `path`, or opens an existing one for reading.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn open(self, path: &Path, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        self.open_with(path, mode, Compression::default())
    }

    /// [`open`](Self::open), with the compression of new series.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open_with(
        self,
        path: &Path,
        mode: OpenMode,
        compression: Compression,
    ) -> Result<Arc<dyn DataStore>> {
        let zarr = |storage| {
            let options = ZarrDataStore::options().compression(compression);
            options.mode(mode).storage(storage).open(path)
        };
        let hdf5 = || Hdf5DataStore::options().compression(compression).mode(mode);
        Ok(match self {
            Self::Lmdb => Arc::new(zarr(ZarrStorage::Lmdb)?),
            Self::Directory => Arc::new(zarr(ZarrStorage::Directory)?),
            Self::Hdf5 => Arc::new(hdf5().open(path)?),
        })
    }

    /// The name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lmdb => "simrecorder, Zarr/LMDB",
            Self::Directory => "simrecorder, Zarr directory",
            Self::Hdf5 => "simrecorder, HDF5",
        }
    }
}

/// Records into a new recording, measured until it is closed. Then `check` reads it.
pub(super) fn record(
    store: Store,
    folder: &Path,
    work: impl FnOnce(&Recorder) -> Result<()>,
    check: impl FnOnce(&Recorder) -> Result<u64>,
) -> Result<Outcome> {
    let folder = scratch(folder)?;
    let path = folder.path().join("recording");
    let (elapsed, ()) = timed(|| {
        let recorder = Recorder::new(store.open(&path, OpenMode::CreateNew)?);
        work(&recorder)?;
        Ok(recorder.close()?)
    })?;
    let checksum = check(&Recorder::new(store.open(&path, OpenMode::Read)?))?;
    Outcome::new(elapsed, checksum).stored_at(&path)
}

/// Scalars of many keys.
#[derive(Debug)]
pub struct ScalarsInto {
    work: Arc<Scalars>,
    store: Store,
    folder: PathBuf,
    by_key: bool,
}

impl ScalarsInto {
    /// By `recorder.record(key, value)`.
    pub fn by_key(work: &Arc<Scalars>, store: Store, folder: &Path) -> Self {
        Self {
            work: Arc::clone(work),
            store,
            folder: folder.to_owned(),
            by_key: true,
        }
    }

    /// By typed handles.
    pub fn by_handle(work: &Arc<Scalars>, store: Store, folder: &Path) -> Self {
        Self {
            by_key: false,
            ..Self::by_key(work, store, folder)
        }
    }
}

impl Candidate for ScalarsInto {
    fn name(&self) -> String {
        let how = if self.by_key { "by key" } else { "by handle" };
        format!("{}, {how}", self.store.name())
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let Scalars { keys, .. } = &*self.work;
        let work = |recorder: &Recorder| {
            if self.by_key {
                return self
                    .work
                    .each(|key, value| Ok(recorder.record(&keys[key], value)?));
            }
            let series = keys.iter().map(|key| recorder.series::<f64>(key));
            let series = series.collect::<simrecorder::Result<Vec<_>>>()?;
            self.work.each(|key, value| Ok(series[key].record(value)?))
        };
        record(self.store, &self.folder, work, |recorder| {
            let mut sum = 0_u64;
            for key in keys {
                let values = recorder.get_all(key)?.read::<f64>()?;
                sum = sum.wrapping_add(checksum(values.as_slice().unwrap_or_default()));
            }
            Ok(sum)
        })
    }
}

/// Vectors of one key.
#[derive(Debug)]
pub struct VectorsInto {
    work: Arc<Vectors>,
    store: Store,
    folder: PathBuf,
}

impl VectorsInto {
    /// Records into a folder within `folder`.
    pub fn new(work: &Arc<Vectors>, store: Store, folder: &Path) -> Self {
        Self {
            work: Arc::clone(work),
            store,
            folder: folder.to_owned(),
        }
    }
}

/// The key of a piece of work that has one.
pub const KEY: &str = "net/v";

impl Candidate for VectorsInto {
    fn name(&self) -> String {
        self.store.name().to_owned()
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let work = |recorder: &Recorder| self.work.each(|v| Ok(recorder.record(KEY, v)?));
        record(self.store, &self.folder, work, |recorder| {
            let values = recorder.get_all(KEY)?.read::<f64>()?;
            Ok(checksum(values.as_slice().unwrap_or_default()))
        })
    }
}

/// Frames of one key.
#[derive(Debug)]
pub struct FramesInto {
    work: Arc<FrameWork>,
    store: Store,
    folder: PathBuf,
}

impl FramesInto {
    /// Records into a folder within `folder`.
    pub fn new(work: &Arc<FrameWork>, store: Store, folder: &Path) -> Self {
        Self {
            work: Arc::clone(work),
            store,
            folder: folder.to_owned(),
        }
    }
}

impl Candidate for FramesInto {
    fn name(&self) -> String {
        self.store.name().to_owned()
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let work = |recorder: &Recorder| {
            for frame in self.work.frames.iter().cycle().take(self.work.count) {
                let frame = ArrayView2::from_shape((Frames::SIDE, Frames::SIDE), frame)?;
                recorder.record(KEY, frame)?;
            }
            Ok(())
        };
        record(self.store, &self.folder, work, |recorder| {
            let values = recorder.get_all(KEY)?.read::<f32>()?;
            Ok(checksum_f32(values.as_slice().unwrap_or_default()))
        })
    }
}

/// A data set, by key.
#[derive(Debug)]
pub struct LoadInto {
    load: Arc<Load>,
    store: Store,
    compression: Compression,
    folder: PathBuf,
}

impl LoadInto {
    /// Records into a folder within `folder`.
    pub fn new(load: &Arc<Load>, store: Store, compression: Compression, folder: &Path) -> Self {
        Self {
            load: Arc::clone(load),
            store,
            compression,
            folder: folder.to_owned(),
        }
    }

    fn record<T: Element>(&self, recorder: &Recorder, numbers: &[T]) -> Result<()> {
        let shape = &self.load.shape[..];
        let len = shape.iter().product();
        for record in numbers.chunks_exact(len).cycle().take(self.load.count) {
            let record = ArrayViewD::from_shape(shape, record)?;
            for key in &self.load.keys {
                recorder.record(key, record.view())?;
            }
        }
        Ok(())
    }

    fn checksum(&self, view: &View) -> Result<u64> {
        Ok(match &self.load.numbers {
            Numbers::F64(_) => checksum(view.read()?.as_slice().unwrap_or_default()),
            Numbers::F32(_) => checksum_f32(view.read()?.as_slice().unwrap_or_default()),
            Numbers::U32(_) => {
                let sum = |sum: u64, &value: &u32| sum.wrapping_add(value.into());
                view.read::<u32>()?.iter().fold(0, sum)
            }
        })
    }
}

impl Candidate for LoadInto {
    fn name(&self) -> String {
        format!("{}, {:?}", self.store.name(), self.compression)
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let folder = scratch(&self.folder)?;
        let path = folder.path().join("recording");
        let (elapsed, ()) = timed(|| {
            let store = self
                .store
                .open_with(&path, OpenMode::CreateNew, self.compression)?;
            let recorder = Recorder::new(store);
            match &self.load.numbers {
                Numbers::F64(numbers) => self.record(&recorder, numbers)?,
                Numbers::F32(numbers) => self.record(&recorder, numbers)?,
                Numbers::U32(numbers) => self.record(&recorder, numbers)?,
            }
            Ok(recorder.close()?)
        })?;
        let recorder = Recorder::new(self.store.open(&path, OpenMode::Read)?);
        let mut checksum = 0_u64;
        for key in &self.load.keys {
            checksum = checksum.wrapping_add(self.checksum(&recorder.get_all(key)?)?);
        }
        Outcome::new(elapsed, checksum).stored_at(&path)
    }
}

/// An existing recording, and its view.
#[derive(Debug)]
struct Recorded {
    store: Store,
    path: PathBuf,
    view: View,
    /// Removed when this is dropped.
    _folder: TempDir,
}

impl Recorded {
    fn new(
        store: Store,
        folder: &Path,
        work: impl FnOnce(&Recorder) -> Result<()>,
    ) -> Result<Self> {
        let folder = scratch(folder)?;
        let path = folder.path().join("recording");
        let recorder = Recorder::new(store.open(&path, OpenMode::CreateNew)?);
        work(&recorder)?;
        recorder.close()?;
        let view = store.open(&path, OpenMode::Read)?.view(&Key::new(KEY)?)?;
        Ok(Self {
            store,
            path,
            view: view.ok_or("nothing was recorded")?,
            _folder: folder,
        })
    }
}

/// Reads a whole series.
#[derive(Debug)]
pub struct ReadAll {
    recorded: Recorded,
    /// The array to read into, if it is reused.
    memory: Option<Vec<f64>>,
}

impl ReadAll {
    /// Records `work` into a folder within `folder`, for reading.
    pub fn new(work: &Vectors, store: Store, folder: &Path) -> Result<Self> {
        let recorded = Recorded::new(store, folder, |recorder| {
            work.each(|v| Ok(recorder.record(KEY, v)?))
        })?;
        Ok(Self {
            recorded,
            memory: None,
        })
    }

    /// Reads into the same memory each time.
    #[must_use]
    pub fn reusing_memory(mut self) -> Self {
        let len: u64 = self.recorded.view.shape().iter().product();
        self.memory = Some(vec![0.0; len as usize]);
        self
    }

    /// The path of the recording.
    pub fn path(&self) -> &Path {
        &self.recorded.path
    }

    /// The path of the array, if the recording is in a directory.
    pub fn array_path(&self) -> PathBuf {
        self.recorded.path.join(KEY)
    }
}

impl Candidate for ReadAll {
    fn name(&self) -> String {
        let memory = match self.memory {
            Some(_) => ", into the same memory",
            None => "",
        };
        format!("{}{memory}", self.recorded.store.name())
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let view = &self.recorded.view;
        if let Some(memory) = &mut self.memory {
            let (elapsed, ()) = timed(|| Ok(view.read_to_slice(memory)?))?;
            return Outcome::new(elapsed, checksum(memory)).stored_at(&self.recorded.path);
        }
        let (elapsed, values) = timed(|| Ok(view.read::<f64>()?))?;
        let checksum = checksum(values.as_slice().unwrap_or_default());
        Outcome::new(elapsed, checksum).stored_at(&self.recorded.path)
    }
}

/// Indices along the two middle axes.
pub type Places = Arc<Vec<[u64; 2]>>;

/// Reads the slice `[:n/2, b, t, :]` at random places.
#[derive(Debug)]
pub struct Slices {
    recorded: Recorded,
    places: Places,
}

impl Slices {
    /// Records arrays of `shape` (the number of records first), for reading `count` slices.
    pub fn new(shape: [usize; 4], count: usize, store: Store, folder: &Path) -> Result<Self> {
        let [records, b, t, x] = shape;
        let walk = random_walk(b * t * x);
        let record = ArrayView3::from_shape((b, t, x), &walk)?;
        let recorded = Recorded::new(store, folder, |recorder| {
            (0..records).try_for_each(|_| Ok(recorder.record(KEY, record)?))
        })?;
        let mut rng = generator();
        let mut place = |_| [b, t].map(|len| rng.random_range(0..len as u64));
        let places = Arc::new((0..count).map(&mut place).collect());
        Ok(Self { recorded, places })
    }

    /// The path of the recording.
    pub fn path(&self) -> &Path {
        &self.recorded.path
    }

    /// The path of the array, if the recording is in a directory.
    pub fn array_path(&self) -> PathBuf {
        self.recorded.path.join(KEY)
    }

    /// The places of the slices.
    pub fn slices(&self) -> Places {
        Arc::clone(&self.places)
    }
}

impl Candidate for Slices {
    fn name(&self) -> String {
        self.recorded.store.name().to_owned()
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let view = &self.recorded.view;
        let half = view.shape()[0] as isize / 2;
        let (elapsed, checksum) = timed(|| {
            let mut sum = 0_u64;
            for &[b, t] in &*self.places {
                let slice = view
                    .select(s![..half, b as isize, t as isize, ..])?
                    .read::<f64>()?;
                sum = sum.wrapping_add(checksum(slice.as_slice().unwrap_or_default()));
            }
            Ok(sum)
        })?;
        Outcome::new(elapsed, checksum).stored_at(&self.recorded.path)
    }
}
