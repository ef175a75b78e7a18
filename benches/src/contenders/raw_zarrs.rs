//! zarrs, as its own documentation shows it, on the files that simrecorder wrote.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use zarrs::array::{Array, ArraySubset};
use zarrs_filesystem::FilesystemStore;

use super::simrecorder_store::Places;
use crate::contender::{Contender, Outcome, Result, checksum, timed};

type FileArray = Array<FilesystemStore>;

fn open(path: &Path) -> Result<FileArray> {
    let store = Arc::new(FilesystemStore::new(path)?);
    Ok(Array::open(store, "/")?)
}

/// Reads a whole array.
pub struct ZarrsReadAll(FileArray);

impl ZarrsReadAll {
    /// The array in a directory.
    pub fn new(path: &Path) -> Result<Self> {
        Ok(Self(open(path)?))
    }
}

impl fmt::Debug for ZarrsReadAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZarrsReadAll")
    }
}

impl Contender for ZarrsReadAll {
    fn name(&self) -> String {
        "zarrs, directory".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, values) = timed(|| {
            let values: Vec<f64> = self.0.retrieve_array_subset(&self.0.subset_all())?;
            Ok(values)
        })?;
        let checksum = checksum(&values);
        Ok(Outcome { elapsed, checksum })
    }
}

/// Reads the slice `[:n/2, b, t, :]` at random places.
pub struct ZarrsSlices {
    array: FileArray,
    places: Places,
}

impl ZarrsSlices {
    /// Slices of the array in a directory.
    pub fn new(path: &Path, places: Places) -> Result<Self> {
        let array = open(path)?;
        Ok(Self { array, places })
    }
}

impl fmt::Debug for ZarrsSlices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZarrsSlices")
    }
}

impl Contender for ZarrsSlices {
    fn name(&self) -> String {
        "zarrs, directory".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let shape = self.array.shape();
        let (half, last) = (shape[0] / 2, shape[3]);
        let (elapsed, checksum) = timed(|| {
            let mut sum = 0_u64;
            for &[b, t] in &*self.places {
                let subset = ArraySubset::new_with_ranges(&[0..half, b..b + 1, t..t + 1, 0..last]);
                let slice: Vec<f64> = self.array.retrieve_array_subset(&subset)?;
                sum = sum.wrapping_add(checksum(&slice));
            }
            Ok(sum)
        })?;
        Ok(Outcome { elapsed, checksum })
    }
}
