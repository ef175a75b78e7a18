//! zarrs, as in its own documentation.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use zarrs::array::{Array, ArrayBytes, ArrayMetadata, ArraySubset};
use zarrs_filesystem::FilesystemStore;

use super::simrecorder_store::Places;
use crate::candidate::{Candidate, Outcome, Result, bytes_at, checksum, sync_file_system, timed};
use crate::codec::Blosc;
use crate::load::{Load, Numbers, checksum_of_bytes};
use crate::workloads::scratch;

type FileArray = Array<FilesystemStore>;

fn open(path: &Path) -> Result<FileArray> {
    let store = Arc::new(FilesystemStore::new(path)?);
    Ok(Array::open(store, "/")?)
}

/// Records into arrays in a directory, combined by hand into whole chunks of 1 MiB.
#[derive(Debug)]
pub struct ZarrsRecord {
    load: Arc<Load>,
    codec: Blosc,
    name: Option<String>,
    folder: PathBuf,
    synced: bool,
}

impl ZarrsRecord {
    /// Records into a folder within `folder`.
    pub fn new(load: &Arc<Load>, codec: Blosc, folder: &Path) -> Self {
        Self {
            load: Arc::clone(load),
            codec,
            name: None,
            folder: folder.to_owned(),
            synced: false,
        }
    }

    /// With one sync at the end.
    #[must_use]
    pub fn synced(self) -> Self {
        Self {
            synced: true,
            ..self
        }
    }

    /// With a name that mentions the origin of the codec.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..self
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let load = &*self.load;
        let store = Arc::new(FilesystemStore::new(path)?);
        let arrays = load.keys.iter().map(|key| self.array(&store, key));
        let mut arrays = arrays.collect::<Result<Vec<FileArray>>>()?;
        let chunk_bytes = load.chunk_rows() * load.record_bytes();
        let (mut buffer, mut chunk) = (Vec::with_capacity(chunk_bytes), 0);
        let store_chunk = |buffer: &[u8], chunk: u64| -> Result<()> {
            let indices: Vec<u64> = [chunk]
                .into_iter()
                .chain(load.shape.iter().map(|_| 0))
                .collect();
            for array in &arrays {
                array.store_chunk(&indices, ArrayBytes::new_flen(buffer))?;
            }
            Ok(())
        };
        load.steps(|record| {
            buffer.extend_from_slice(record);
            if buffer.len() == chunk_bytes {
                store_chunk(&buffer, chunk)?;
                chunk += 1;
                buffer.clear();
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?;
        if !buffer.is_empty() {
            buffer.resize(chunk_bytes, 0);
            store_chunk(&buffer, chunk)?;
        }
        for array in &mut arrays {
            array.set_shape(self.shape(load.count))?;
            array.store_metadata()?;
        }
        if self.synced {
            sync_file_system(path)?;
        }
        Ok(())
    }

    fn shape(&self, records: usize) -> Vec<u64> {
        let shape = [records].into_iter().chain(self.load.shape.iter().copied());
        shape.map(|size| size as u64).collect()
    }

    fn array(&self, store: &Arc<FilesystemStore>, key: &str) -> Result<FileArray> {
        let data_type = match self.load.numbers {
            Numbers::F64(_) => "float64",
            Numbers::F32(_) => "float32",
            Numbers::U32(_) => "uint32",
        };
        let metadata: ArrayMetadata = serde_json::from_value(json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": self.shape(0),
            "data_type": data_type,
            "chunk_grid": {
                "name": "regular",
                "configuration": { "chunk_shape": self.shape(self.load.chunk_rows()) },
            },
            "chunk_key_encoding": { "name": "default" },
            "fill_value": 0,
            "codecs": [
                { "name": "bytes", "configuration": { "endian": "little" } },
                { "name": "blosc", "configuration": self.codec.zarr(self.load.numbers.item_bytes()) },
            ],
        }))?;
        let array = Array::new_with_metadata(Arc::clone(store), &format!("/{key}"), metadata)?;
        array.store_metadata()?;
        Ok(array)
    }

    fn checksum(&self, path: &Path) -> Result<u64> {
        let mut sum = 0_u64;
        for key in &self.load.keys {
            let array = open(&path.join(key))?;
            let bytes: ArrayBytes<'static> = array.retrieve_array_subset(&array.subset_all())?;
            let bytes = bytes.into_fixed()?;
            sum = sum.wrapping_add(checksum_of_bytes(&bytes, self.load.numbers.item_bytes()));
        }
        Ok(sum)
    }
}

impl Candidate for ZarrsRecord {
    fn name(&self) -> String {
        if let Some(name) = &self.name {
            return format!("{name} through zarrs, {}", self.codec);
        }
        let how = match self.load.chunk_rows() {
            1 => "",
            _ => ", whole chunks by hand",
        };
        format!("zarrs{how}, {}", self.codec)
    }

    fn run(&mut self) -> Result<Outcome> {
        let folder = scratch(&self.folder)?;
        let path = folder.path().join("recording");
        let (elapsed, ()) = timed(|| self.write(&path))?;
        Outcome::new(elapsed, self.checksum(&path)?).stored_at(&path)
    }
}

/// Reads a whole array.
pub struct ZarrsReadAll {
    array: FileArray,
    bytes: u64,
}

impl ZarrsReadAll {
    /// The array in a directory.
    pub fn new(path: &Path) -> Result<Self> {
        let (array, bytes) = (open(path)?, bytes_at(path)?);
        Ok(Self { array, bytes })
    }
}

impl fmt::Debug for ZarrsReadAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZarrsReadAll")
    }
}

impl Candidate for ZarrsReadAll {
    fn name(&self) -> String {
        "zarrs, directory".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, values) = timed(|| {
            let values: Vec<f64> = self.array.retrieve_array_subset(&self.array.subset_all())?;
            Ok(values)
        })?;
        Ok(Outcome {
            stored: Some(self.bytes),
            ..Outcome::new(elapsed, checksum(&values))
        })
    }
}

/// Reads the slice `[:n/2, b, t, :]` at random places.
pub struct ZarrsSlices {
    array: FileArray,
    bytes: u64,
    places: Places,
}

impl ZarrsSlices {
    /// Slices of the array in a directory.
    pub fn new(path: &Path, places: Places) -> Result<Self> {
        let (array, bytes) = (open(path)?, bytes_at(path)?);
        Ok(Self {
            array,
            bytes,
            places,
        })
    }
}

impl fmt::Debug for ZarrsSlices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZarrsSlices")
    }
}

impl Candidate for ZarrsSlices {
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
        Ok(Outcome {
            stored: Some(self.bytes),
            ..Outcome::new(elapsed, checksum)
        })
    }
}
