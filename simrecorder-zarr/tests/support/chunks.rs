//! The chunks of a recording in a directory, read without the library. Each is named as if it were
//! an entry with the separator `/`: `net/v/c/3/0`, whatever file contains it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// The place of a chunk.
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// In a shard: the offset of its place in the index, and the length of the index.
    slot: Option<(usize, usize)>,
}

fn lens(json: &Json) -> Vec<u64> {
    let lens = json.as_array().unwrap().iter();
    lens.map(|len| len.as_u64().unwrap()).collect()
}

/// The chunk shape of an array, and its shard shape if it has shards.
fn shapes(document: &Json) -> (Vec<u64>, Option<Vec<u64>>) {
    let outer = lens(&document["chunk_grid"]["configuration"]["chunk_shape"]);
    let codec = &document["codecs"][0];
    match codec["name"] == "sharding_indexed" && codec["configuration"]["index_location"] == "start"
    {
        true => (lens(&codec["configuration"]["chunk_shape"]), Some(outer)),
        false => (outer, None),
    }
}

fn document(root: &Path, array: &str) -> Json {
    serde_json::from_slice(&fs::read(root.join(array).join("zarr.json")).unwrap()).unwrap()
}

/// The place of a chunk, even of a missing one.
pub(crate) fn place(root: &Path, chunk: &str) -> Place {
    let (array, indices) = match chunk.split_once("/c/") {
        Some((array, indices)) => (
            array,
            indices.split('/').map(|i| i.parse().unwrap()).collect(),
        ),
        None => (chunk.strip_suffix("/c").unwrap(), Vec::<u64>::new()),
    };
    let document = document(root, array);
    let (chunk_shape, shard_shape) = shapes(&document);
    let mut slot = None;
    let mut entry = indices.clone();
    if let Some(shard_shape) = shard_shape {
        let counts: Vec<_> = shard_shape
            .iter()
            .zip(&chunk_shape)
            .map(|(s, c)| s / c)
            .collect();
        entry = indices.iter().zip(&counts).map(|(i, n)| i / n).collect();
        let index = indices
            .iter()
            .zip(&counts)
            .fold(0, |at, (i, n)| at * n + i % n);
        slot = Some((
            index as usize * 16,
            counts.iter().product::<u64>() as usize * 16 + 4,
        ));
    }
    let encoding = &document["chunk_key_encoding"];
    let separator = encoding["configuration"]["separator"].as_str().unwrap();
    let numbers = entry.iter().map(u64::to_string);
    let parts: Vec<_> = match encoding["name"] == "v2" {
        true => numbers.collect(),
        false => std::iter::once("c".to_owned()).chain(numbers).collect(),
    };
    let file = root.join(array).join(parts.join(separator));
    Place { file, slot }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

impl Place {
    /// The range of the chunk in the file; `None` if there is no chunk.
    pub(crate) fn range(&self) -> Option<std::ops::Range<usize>> {
        let bytes = fs::read(&self.file).ok()?;
        let Some((at, _)) = self.slot else {
            return Some(0..bytes.len());
        };
        let (offset, len) = (number(&bytes[at..]), number(&bytes[at + 8..]));
        (offset != u64::MAX).then(|| offset as usize..(offset + len) as usize)
    }

    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let range = self.range()?;
        Some(fs::read(&self.file).unwrap()[range].to_vec())
    }

    pub(crate) fn write(&self, chunk: &[u8]) {
        let Some((at, len)) = self.slot else {
            return fs::write(&self.file, chunk).unwrap();
        };
        let mut bytes = fs::read(&self.file).unwrap();
        let end = bytes.len() as u64;
        bytes.extend_from_slice(chunk);
        set_place(&mut bytes, at, len, (end, chunk.len() as u64));
        fs::write(&self.file, bytes).unwrap();
    }

    pub(crate) fn remove(&self) {
        let Some((at, len)) = self.slot else {
            return fs::remove_file(&self.file).unwrap();
        };
        let mut bytes = fs::read(&self.file).unwrap();
        set_place(&mut bytes, at, len, (u64::MAX, u64::MAX));
        fs::write(&self.file, bytes).unwrap();
    }
}

fn set_place(bytes: &mut [u8], at: usize, index_len: usize, (offset, len): (u64, u64)) {
    bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
    bytes[at + 8..at + 16].copy_from_slice(&len.to_le_bytes());
    let (index, sum) = bytes[..index_len].split_at_mut(index_len - 4);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, index) as u32;
    sum.copy_from_slice(&crc.to_le_bytes());
}

/// All chunks of the arrays below a folder, by their names.
pub(crate) fn chunks(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("zarr.json") {
                let array = folder.strip_prefix(root).unwrap().to_str().unwrap();
                let document = document(root, array);
                if document["node_type"] == "array" {
                    chunks_of(root, array, &document, &mut found);
                }
            }
        }
    }
    found
}

fn chunks_of(root: &Path, array: &str, document: &Json, found: &mut BTreeMap<String, Vec<u8>>) {
    let (chunk_shape, _) = shapes(document);
    let counts = lens(&document["shape"]);
    let counts: Vec<_> = counts
        .iter()
        .zip(&chunk_shape)
        .map(|(n, c)| n.div_ceil(*c))
        .collect();
    for number in 0..counts.iter().product() {
        let mut left = number;
        let mut indices = vec![String::new(); counts.len()];
        for (index, count) in indices.iter_mut().zip(&counts).rev() {
            *index = (left % count).to_string();
            left /= count;
        }
        let indices = std::iter::once("c").chain(indices.iter().map(String::as_str));
        let name = format!("{array}/{}", indices.collect::<Vec<_>>().join("/"));
        if let Some(bytes) = place(root, &name).read() {
            found.insert(name, bytes);
        }
    }
}

/// The metadata of an array as if it had no shards and each chunk were in a folder per index.
pub(crate) fn without_shards(mut document: Json) -> Json {
    if document["node_type"] == "array" {
        if let (_, Some(_)) = shapes(&document) {
            let inner = document["codecs"][0]["configuration"].take();
            document["chunk_grid"]["configuration"]["chunk_shape"] = inner["chunk_shape"].clone();
            document["codecs"] = inner["codecs"].clone();
        }
        let own = document.pointer_mut("/attributes/simrecorder");
        if let Some(own) = own.and_then(Json::as_object_mut) {
            own.remove("shard_shape");
        }
        document["chunk_key_encoding"] =
            serde_json::json!({"name": "default", "configuration": {"separator": "/"}});
    }
    document
}
