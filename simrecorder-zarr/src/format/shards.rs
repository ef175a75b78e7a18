//! Shards: several chunks of an array in one entry, with an index of their places.
//!
//! This is the codec `sharding_indexed` of Zarr V3. If the index is at the start of the shard, in
//! the form that this library writes, it can be read without decoding anything. Then each chunk is
//! read and appended separately. Shards of any other form are ordinary chunks that the codecs
//! decode.

use std::ops::Range;

use serde_json::{Value as Json, json};
use simrecorder_core::{ChunkPolicy, DType};

use crate::format::array_format::{CHECKSUM_LEN, checksum};
use crate::format::metadata::Document;

/// The name of the codec.
const CODEC: &str = "sharding_indexed";
/// A shard with more slots is decoded as a whole, because its index is held in memory and written
/// at once.
pub(crate) const MAX_SLOTS: u64 = 1 << 12;
/// The length of one place in an index.
const PLACE_LEN: usize = 16;
/// In an index, the offset and length of a missing chunk.
const MISSING: u64 = u64::MAX;

/// One of the chunks of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its number, in row-major order.
    pub(crate) index: u32,
    /// The number of slots in the shard.
    pub(crate) count: u32,
}

/// How the chunks of an array are divided among shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardGrid {
    /// The number of chunks in a shard along each axis.
    chunks: Vec<u64>,
    count: u32,
}

impl ShardGrid {
    fn new(shard_shape: &[u64], chunk_shape: &[u64]) -> Option<Self> {
        if shard_shape.len() != chunk_shape.len() || shard_shape.is_empty() {
            return None;
        }
        let axes = shard_shape.iter().zip(chunk_shape);
        let chunks = axes.map(|(&shard, &chunk)| {
            let is_multiple = chunk > 0 && shard > 0 && shard % chunk == 0;
            is_multiple.then(|| shard / chunk)
        });
        let chunks: Vec<u64> = chunks.collect::<Option<_>>()?;
        let count = chunks
            .iter()
            .try_fold(1_u64, |count, &len| count.checked_mul(len));
        let count = count.filter(|&count| count <= MAX_SLOTS)?;
        Some(Self {
            chunks,
            count: u32::try_from(count).ok()?,
        })
    }

    /// The indices of the shard that contains a chunk, and the slot of the chunk in it.
    pub(crate) fn place(&self, indices: &[u64]) -> (Vec<u64>, Slot) {
        let axes = || indices.iter().zip(&self.chunks);
        let shard = axes().map(|(index, len)| index / len).collect();
        let index = axes().fold(0, |place, (index, len)| place * len + index % len);
        let slot = Slot {
            index: index as u32,
            count: self.count,
        };
        (shard, slot)
    }
}

/// The place of a chunk in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Extent {
    /// The offset of the first byte after it.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// The places of the chunks of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardIndex {
    slots: Vec<Option<Extent>>,
}

impl ShardIndex {
    /// The index of a shard without chunks.
    pub(crate) fn empty(count: u32) -> Self {
        Self {
            slots: vec![None; count as usize],
        }
    }

    /// Decodes an index; `None` if its checksum does not match.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (places, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
        if *sum != checksum(places) || places.len() % PLACE_LEN != 0 {
            return None;
        }
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |n, &byte| n << 8 | u64::from(byte))
        };
        let slots = places.chunks_exact(PLACE_LEN).map(|place| {
            let (offset, len) = (number(&place[..8]), number(&place[8..]));
            (offset != MISSING || len != MISSING).then_some(Extent { offset, len })
        });
        Some(Self {
            slots: slots.collect(),
        })
    }

    /// Encodes the index with its checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(index_len(self.count()));
        for slot in &self.slots {
            let (offset, len) = slot.map_or((MISSING, MISSING), |it| (it.offset, it.len));
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    /// The number of slots.
    pub(crate) fn count(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The place of the chunk in a slot; `None` if there is no chunk.
    pub(crate) fn get(&self, slot: u32) -> Option<Extent> {
        self.slots.get(slot as usize).copied().flatten()
    }

    /// Sets the place of the chunk in a slot, and returns the previous one. Ignores a slot that
    /// does not exist.
    pub(crate) fn set(&mut self, slot: u32, extent: Option<Extent>) -> Option<Extent> {
        let place = self.slots.get_mut(slot as usize)?;
        std::mem::replace(place, extent)
    }

    /// The slots that contain a chunk, with the place of each.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (u32, Extent)> {
        let slots = (0_u32..).zip(&self.slots);
        slots.filter_map(|(slot, extent)| Some((slot, (*extent)?)))
    }

    /// Whether there are no chunks.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks().next().is_none()
    }

    /// The parts of `range` that contain neither the index nor a chunk.
    pub(crate) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut used: Vec<_> = self
            .chunks()
            .map(|(_, extent)| extent.offset..extent.end())
            .collect();
        used.sort_by_key(|used| used.start);
        let mut gaps = Vec::new();
        let mut next = range.start.max(index_len(self.count()) as u64);
        for used in used {
            if used.start.min(range.end) > next {
                gaps.push(next..used.start.min(range.end));
            }
            next = next.max(used.end);
        }
        if range.end > next {
            gaps.push(next..range.end);
        }
        gaps
    }
}

/// The length of the index of a shard with `count` slots.
pub(crate) fn index_len(count: u32) -> usize {
    count as usize * PLACE_LEN + CHECKSUM_LEN
}

impl Document {
    /// The array without its shards, as if each chunk were an entry, and the division of its chunks
    /// among shards; `None` if it has no shards, or shards of another form than this library
    /// writes.
    pub(crate) fn without_shards(&self) -> Option<(Self, ShardGrid)> {
        let [codec] = &self.fields().get("codecs")?.as_array()?[..] else {
            return None;
        };
        let fields = codec
            .get("configuration")
            .filter(|_| codec["name"] == CODEC)?;
        let is_known = fields.get("index_location") == Some(&json!("start"))
            && fields.get("index_codecs") == Some(&index_codecs());
        if !is_known {
            return None;
        }
        let mut inner = self.clone();
        let shape = inner.grid_shape_mut()?;
        let shard_shape = std::mem::replace(shape, fields.get("chunk_shape")?.clone());
        let grid = ShardGrid::new(&lens(&shard_shape)?, &lens(shape)?)?;
        let codecs = fields.get("codecs")?.clone();
        inner.fields_mut().insert("codecs".to_owned(), codecs);
        Some((inner, grid))
    }

    /// Combines the chunks of an array into shards of this shape, unless it already has shards.
    pub(crate) fn add_shards(&mut self, shard_shape: &[u64]) {
        let codecs = self.fields().get("codecs").cloned().unwrap_or_default();
        if self.has_shards() {
            return;
        }
        let Some(shape) = self.grid_shape_mut() else {
            return;
        };
        let chunk_shape = std::mem::replace(shape, json!(shard_shape));
        let sharding = json!([{ "name": CODEC, "configuration": {
            "chunk_shape": chunk_shape,
            "codecs": codecs,
            "index_codecs": index_codecs(),
            "index_location": "start",
        }}]);
        self.fields_mut().insert("codecs".to_owned(), sharding);
    }

    /// Whether an array has shards of any form.
    pub(super) fn has_shards(&self) -> bool {
        let codecs = self.fields().get("codecs").and_then(Json::as_array);
        let mut names = codecs.into_iter().flatten().map(|codec| &codec["name"]);
        names.any(|name| name == CODEC)
    }

    /// The shape of the shards of an array without shards, according to a policy.
    pub(crate) fn shard_shape(&self, policy: &ChunkPolicy) -> Option<Vec<u64>> {
        let chunk_shape = lens(self.grid_shape()?)?;
        let shape = self.shape().ok()?;
        let data_type = self.fields().get("data_type").and_then(Json::as_str)?;
        let element_size = match data_type.parse::<DType>() {
            Ok(dtype) => dtype.size(),
            // A text may have any length, so a chunk counts as one of the usual size.
            Err(_) => {
                let rows = chunk_shape.first().copied().unwrap_or(1).max(1);
                (ChunkPolicy::DEFAULT_TARGET_BYTES / rows).max(1) as usize
            }
        };
        policy.shard_shape(&chunk_shape, shape.get(1..)?, element_size)
    }

    /// Keeps all chunks of an array in one folder.
    pub(crate) fn set_flat_keys(&mut self) {
        let keys = json!({ "name": "default", "configuration": { "separator": "." } });
        self.fields_mut()
            .insert("chunk_key_encoding".to_owned(), keys);
    }

    /// Gives the only chunk of a short array a name that differs from those of its future shards.
    pub(super) fn set_short_keys(&mut self) {
        self.fields_mut()
            .insert("chunk_key_encoding".to_owned(), short_keys());
    }
}

fn lens(shape: &Json) -> Option<Vec<u64>> {
    shape.as_array()?.iter().map(Json::as_u64).collect()
}

/// The encoding of the key of the only chunk of a short array that will have shards: only its
/// indices.
pub(super) fn short_keys() -> Json {
    json!({ "name": "v2", "configuration": { "separator": "." } })
}

fn index_codecs() -> Json {
    json!([
        { "name": "bytes", "configuration": { "endian": "little" } },
        { "name": "crc32c" },
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extents() -> impl Strategy<Value = Vec<Option<Extent>>> {
        let extent = (0_u64..500, 0_u64..50).prop_map(|(offset, len)| Extent { offset, len });
        prop::collection::vec(prop::option::of(extent), 1..20)
    }

    proptest! {
        #[test]
        fn an_index_round_trips_and_damage_is_detected(
            slots in extents(),
            at in any::<prop::sample::Index>(),
            to: u8,
        ) {
            let index = ShardIndex { slots };
            let mut bytes = index.encode();
            prop_assert_eq!(bytes.len(), index_len(index.count()));
            prop_assert_eq!(ShardIndex::decode(&bytes), Some(index));
            let at = at.index(bytes.len());
            let changed = bytes[at] != to;
            bytes[at] = to;
            prop_assert_eq!(ShardIndex::decode(&bytes).is_none(), changed);
        }

        #[test]
        fn gaps_are_all_that_no_chunk_has(slots in extents(), start in 0_u64..600, len in 0_u64..600) {
            let index = ShardIndex { slots };
            let range = start..start + len;
            let gaps = index.gaps(range.clone());
            for byte in range {
                let used = byte < index_len(index.count()) as u64
                    || index.chunks().any(|(_, it)| (it.offset..it.end()).contains(&byte));
                prop_assert_eq!(gaps.iter().filter(|gap| gap.contains(&byte)).count(), usize::from(!used));
            }
        }

        #[test]
        fn each_chunk_has_a_slot_of_its_own(chunks in prop::collection::vec(1_u64..5, 1..4)) {
            let shard: Vec<u64> = chunks.iter().map(|len| len * 3).collect();
            let grid = ShardGrid::new(&shard, &vec![3; chunks.len()]).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            let mut indices = vec![0; chunks.len()];
            for number in 0..chunks.iter().product::<u64>() * 2 {
                let (mut left, mut axis) = (number, chunks.len());
                while axis > 1 {
                    axis -= 1;
                    indices[axis] = left % chunks[axis];
                    left /= chunks[axis];
                }
                indices[0] = left;
                let (shard, slot) = grid.place(&indices);
                prop_assert!(slot.index < slot.count);
                prop_assert!(seen.insert((shard, slot.index)));
            }
        }
    }
}
