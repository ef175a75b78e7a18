//! hdf5-metno, as in its own documentation: datasets that are resized.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hdf5_metno::types::TypeDescriptor;
use hdf5_metno::{Dataset, Extent, File, Hyperslab, Selection, SliceOrIndex};
use simrecorder::ndarray::{ArrayViewD, s};

use super::simrecorder_store::Places;
use crate::candidate::{Candidate, Outcome, Part, Result, checksum, timed};
use crate::load::{Load, Numbers, checksum_of_bytes};
use crate::workloads::scratch;

/// Records into a new file, with `shuffle` and deflate level 1.
#[derive(Debug)]
pub struct Hdf5Record {
    load: Load,
    part: Option<Part>,
    by_hand: bool,
    level: u8,
    folder: PathBuf,
}

impl Hdf5Record {
    /// One of `divisor` records, combined by hand into whole chunks of 1 MiB.
    pub fn by_hand(load: &Arc<Load>, divisor: usize, folder: &Path) -> Self {
        let (load, part) = Part::of(load, divisor);
        Self {
            load,
            part,
            by_hand: true,
            level: 1,
            folder: folder.to_owned(),
        }
    }

    /// One of `divisor` records, written one by one.
    pub fn one_by_one(load: &Arc<Load>, divisor: usize, folder: &Path) -> Self {
        Self {
            by_hand: false,
            ..Self::by_hand(load, divisor, folder)
        }
    }

    /// With another level of deflate.
    #[must_use]
    pub fn level(self, level: u8) -> Self {
        Self { level, ..self }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let load = &self.load;
        let file = File::create(path)?;
        let series = load.keys.iter().map(|key| self.dataset(&file, key));
        let series = series.collect::<Result<Vec<_>>>()?;
        let rows = if self.by_hand { load.chunk_rows() } else { 1 };
        let (mut buffer, mut done, mut filled) = (Vec::new(), 0, 0);
        let append = |bytes: &[u8], at: Range<usize>| -> Result<()> {
            let extent: Vec<usize> = [at.end].into_iter().chain(load.shape.clone()).collect();
            for data in &series {
                data.resize(extent.clone())?;
                write_rows(data, load, bytes, at.clone())?;
            }
            Ok(())
        };
        load.steps(|record| {
            if rows == 1 {
                append(record, done..done + 1)?;
                done += 1;
                return Ok(());
            }
            buffer.extend_from_slice(record);
            filled += 1;
            if filled == rows {
                append(&buffer, done..done + filled)?;
                (done, filled) = (done + filled, 0);
                buffer.clear();
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?;
        if filled > 0 {
            append(&buffer, done..done + filled)?;
        }
        Ok(file.close()?)
    }

    fn dataset(&self, file: &File, key: &str) -> Result<Dataset> {
        let load = &self.load;
        let chunk: Vec<usize> = [load.chunk_rows()]
            .into_iter()
            .chain(load.shape.clone())
            .collect();
        let fixed = load.shape.iter().map(|&size| Extent::from(size));
        let extents: Vec<Extent> = [Extent::resizable(0)].into_iter().chain(fixed).collect();
        let item: TypeDescriptor = match load.numbers {
            Numbers::F64(_) => {
                hdf5_metno::types::TypeDescriptor::Float(hdf5_metno::types::FloatSize::U8)
            }
            Numbers::F32(_) => TypeDescriptor::Float(hdf5_metno::types::FloatSize::U4),
            Numbers::U32(_) => TypeDescriptor::Unsigned(hdf5_metno::types::IntSize::U4),
        };
        let builder = file.new_dataset_builder().shuffle().deflate(self.level);
        Ok(builder
            .chunk(chunk)
            .empty_as(&item)
            .shape(extents)
            .create(key)?)
    }

    fn checksum(&self, path: &Path) -> Result<u64> {
        let file = File::open(path)?;
        let mut sum = 0_u64;
        for key in &self.load.keys {
            let data = file.dataset(key)?;
            let read = match self.load.numbers {
                Numbers::F64(_) => checksum(&data.read_raw::<f64>()?),
                Numbers::F32(_) => {
                    checksum_of_bytes(bytemuck::cast_slice(&data.read_raw::<f32>()?), 4)
                }
                Numbers::U32(_) => {
                    checksum_of_bytes(bytemuck::cast_slice(&data.read_raw::<u32>()?), 4)
                }
            };
            sum = sum.wrapping_add(read);
        }
        Ok(sum)
    }
}

/// Writes some whole records into a dataset that is already long enough.
fn write_rows(data: &Dataset, load: &Load, bytes: &[u8], at: Range<usize>) -> Result<()> {
    let shape: Vec<usize> = [at.len()].into_iter().chain(load.shape.clone()).collect();
    let whole = load.shape.iter().map(|_| SliceOrIndex::from(..));
    let rows = [SliceOrIndex::from(at)].into_iter().chain(whole);
    let part = Selection::from(Hyperslab::from(rows.collect::<Vec<_>>()));
    match load.numbers {
        Numbers::F64(_) => {
            let values: &[f64] = bytemuck::cast_slice(bytes);
            data.write_slice(ArrayViewD::from_shape(shape, values)?, part)?;
        }
        Numbers::F32(_) => {
            let values: &[f32] = bytemuck::cast_slice(bytes);
            data.write_slice(ArrayViewD::from_shape(shape, values)?, part)?;
        }
        Numbers::U32(_) => {
            let values: &[u32] = bytemuck::cast_slice(bytes);
            data.write_slice(ArrayViewD::from_shape(shape, values)?, part)?;
        }
    }
    Ok(())
}

impl Candidate for Hdf5Record {
    fn name(&self) -> String {
        let how = match (self.by_hand, self.load.chunk_rows()) {
            (_, 1) => "",
            (true, _) => ", whole chunks by hand",
            (false, _) => ", one by one",
        };
        format!("hdf5-metno{how}, gzip level {}", self.level)
    }

    fn run(&mut self) -> Result<Outcome> {
        let folder = scratch(&self.folder)?;
        let path = folder.path().join("recording.h5");
        let (elapsed, ()) = timed(|| self.write(&path))?;
        Outcome::new(elapsed, self.checksum(&path)?).stored_at(&path)
    }

    fn part(&self) -> Option<Part> {
        self.part
    }
}

fn open(path: &Path, key: &str) -> Result<Dataset> {
    Ok(File::open(path)?.dataset(key)?)
}

/// Reads a whole series of a file of simrecorder.
pub struct Hdf5ReadAll {
    path: PathBuf,
    data: Dataset,
}

impl Hdf5ReadAll {
    /// The series of a key.
    pub fn new(path: &Path, key: &str) -> Result<Self> {
        let (path, data) = (path.to_owned(), open(path, key)?);
        Ok(Self { path, data })
    }
}

impl fmt::Debug for Hdf5ReadAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hdf5ReadAll")
    }
}

impl Candidate for Hdf5ReadAll {
    fn name(&self) -> String {
        "hdf5-metno".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, values) = timed(|| Ok(self.data.read_dyn::<f64>()?))?;
        let checksum = checksum(values.as_slice().unwrap_or_default());
        Outcome::new(elapsed, checksum).stored_at(&self.path)
    }
}

/// Reads the slice `[:n/2, b, t, :]` at random places of a file of simrecorder.
pub struct Hdf5Slices {
    path: PathBuf,
    data: Dataset,
    places: Places,
}

impl Hdf5Slices {
    /// Slices of the series of a key.
    pub fn new(path: &Path, key: &str, places: Places) -> Result<Self> {
        let (path, data) = (path.to_owned(), open(path, key)?);
        Ok(Self { path, data, places })
    }
}

impl fmt::Debug for Hdf5Slices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hdf5Slices")
    }
}

impl Candidate for Hdf5Slices {
    fn name(&self) -> String {
        "hdf5-metno".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let half = self.data.shape()[0] / 2;
        let (elapsed, checksum) = timed(|| {
            let mut sum = 0_u64;
            for &[b, t] in &*self.places {
                let part = s![..half, b as usize, t as usize, ..];
                let slice = self.data.read_slice_2d::<f64, _>(part)?;
                sum = sum.wrapping_add(checksum(slice.as_slice().unwrap_or_default()));
            }
            Ok(sum)
        })?;
        Outcome::new(elapsed, checksum).stored_at(&self.path)
    }
}
