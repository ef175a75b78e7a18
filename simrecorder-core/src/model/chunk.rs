//! The size of the chunks of a series, computed from its element size and record shape.

use std::num::NonZeroU64;

use crate::error::{Error, ErrorKind, Result};

/// How the records of a series are cut into chunks, the units of storage and compression.
///
/// By default a chunk is about 1 MiB: as many whole records as fit. A larger record is split along its first axes; its
/// last axis is split only if it alone is larger than a chunk, since that makes slices 10 to 100 times slower.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::ChunkPolicy;
///
/// let policy = ChunkPolicy::default();
/// // One f64 a record.
/// assert_eq!(policy.chunk_shape(&[], 8)?, [131_072]);
/// // 1000 f32 a record: 262 records in a chunk.
/// assert_eq!(policy.chunk_shape(&[1000], 4)?, [262, 1000]);
/// // A record of 16 MiB is split along its first axis.
/// assert_eq!(policy.chunk_shape(&[512, 4096], 8)?, [1, 32, 4096]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkPolicy {
    target_bytes: NonZeroU64,
    records: Option<NonZeroU64>,
    shape: Option<Vec<u64>>,
    /// `None` without shards.
    shard_bytes: Option<NonZeroU64>,
}

/// The most records of a chunk, however small they are.
const MAX_CHUNK_RECORDS: u64 = 1 << 20;
/// The most chunks of a shard, however small they are, since one index lists all of them.
const MAX_SHARD_CHUNKS: u64 = 1 << 10;

impl Default for ChunkPolicy {
    fn default() -> Self {
        Self::target_bytes(Self::DEFAULT_TARGET_BYTES)
    }
}

impl ChunkPolicy {
    /// The default size of chunks before compression: 1 MiB.
    pub const DEFAULT_TARGET_BYTES: u64 = 1 << 20;
    /// The default size of shards, as the sum of their chunks before compression: 64 MiB.
    pub const DEFAULT_SHARD_BYTES: u64 = 64 << 20;

    /// Makes chunks of about `bytes` before compression; 0 counts as 1.
    pub fn target_bytes(bytes: u64) -> Self {
        let target_bytes = NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN);
        Self {
            target_bytes,
            records: None,
            shape: None,
            shard_bytes: NonZeroU64::new(Self::DEFAULT_SHARD_BYTES),
        }
    }

    /// Makes chunks of `records` whole records, of any size; 0 counts as 1.
    pub fn records(records: u64) -> Self {
        Self {
            records: NonZeroU64::new(records.max(1)),
            ..Self::default()
        }
    }

    /// Makes chunks of exactly this shape, records first, for series whose record shape has one axis less.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{ChunkPolicy, InMemoryDataStore, Recorder, Schema};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// // Chunks of 100 frames and a quarter of the field are fast to read as films of one corner.
    /// let policy = ChunkPolicy::shape([100, 32, 32])?;
    /// recorder.declare("field/u", Schema::array::<f32>([64, 64]).with_chunk_policy(policy))?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the shape is empty or has a zero.
    pub fn shape(shape: impl Into<Vec<u64>>) -> Result<Self> {
        let shape = shape.into();
        if shape.is_empty() || shape.contains(&0) {
            let message = format!("{shape:?} is not a chunk shape: every axis needs a length");
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "choose chunks",
                message,
            ));
        }
        Ok(Self {
            shape: Some(shape),
            ..Self::default()
        })
    }

    /// Sets the size of the shards of a series, as the sum of their chunks before compression; 0 switches shards off.
    ///
    /// A shard is a file that contains many chunks of a series, so that a recording has few files. The Zarr store
    /// writes shards in a directory. Other stores ignore the size, and so do series whose shards would have a single
    /// chunk.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::ChunkPolicy;
    ///
    /// let policy = ChunkPolicy::default();
    /// let chunk = policy.chunk_shape(&[512, 512], 4)?;
    /// assert_eq!(chunk, [1, 512, 512]);
    /// assert_eq!(policy.shard_shape(&chunk, &[512, 512], 4), Some(vec![64, 512, 512]));
    ///
    /// let small = policy.clone().with_shard_bytes(8 << 20);
    /// assert_eq!(small.shard_shape(&chunk, &[512, 512], 4), Some(vec![8, 512, 512]));
    /// let single_files = policy.with_shard_bytes(0);
    /// assert_eq!(single_files.shard_shape(&chunk, &[512, 512], 4), None);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_shard_bytes(mut self, bytes: u64) -> Self {
        self.shard_bytes = NonZeroU64::new(bytes);
        self
    }

    /// Returns the size of shards, see [`with_shard_bytes`](Self::with_shard_bytes); 0 if there are none.
    pub fn shard_bytes(&self) -> u64 {
        self.shard_bytes.map_or(0, NonZeroU64::get)
    }

    /// Computes the shape of a shard for records of `record_shape` with elements of `element_size` bytes: a multiple of
    /// `chunk_shape` along each axis. `None` without shards.
    ///
    /// A shard contains all chunks of one record before it contains any of the next. A record with more chunks than
    /// fit is split along its first axes.
    pub fn shard_shape(
        &self,
        chunk_shape: &[u64],
        record_shape: &[u64],
        element_size: usize,
    ) -> Option<Vec<u64>> {
        let chunk_bytes = chunk_shape
            .iter()
            .fold(element_size.max(1) as u64, |bytes, &len| {
                bytes.saturating_mul(len)
            });
        let chunk_count = self.shard_bytes?.get() / chunk_bytes.max(1);
        let mut fitting = chunk_count.min(MAX_SHARD_CHUNKS);
        if fitting < 2 || chunk_shape.len() != record_shape.len() + 1 {
            return None;
        }
        let mut shape = chunk_shape.to_vec();
        for axis in (1..shape.len()).rev() {
            let needed = record_shape[axis - 1].max(1).div_ceil(chunk_shape[axis]);
            let taken = needed.min(fitting);
            shape[axis] = chunk_shape[axis].checked_mul(taken)?;
            fitting = match taken == needed {
                true => fitting / taken,
                false => 1,
            };
        }
        shape[0] = chunk_shape[0].checked_mul(fitting.max(1))?;
        (shape != chunk_shape).then_some(shape)
    }

    /// Returns the number of records in a chunk, if the policy fixes it.
    pub fn fixed_records(&self) -> Option<u64> {
        match &self.shape {
            Some(shape) => shape.first().copied(),
            None => self.records.map(NonZeroU64::get),
        }
    }

    /// Computes the shape of a chunk, records first, for records of `record_shape` with elements of `element_size`
    /// bytes. No axis is 0, and only the first may be longer than the record (whose axes of length 0 count as 1).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if a fixed shape has another number of axes.
    pub fn chunk_shape(&self, record_shape: &[u64], element_size: usize) -> Result<Vec<u64>> {
        let lens = || record_shape.iter().map(|&len| len.max(1));
        if let Some(shape) = &self.shape {
            if shape.len() != record_shape.len() + 1 {
                let message = format!(
                    "the chunk shape {shape:?} has {} axes, but records of shape {record_shape:?} \
                     need {}",
                    shape.len(),
                    record_shape.len() + 1
                );
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "choose chunks",
                    message,
                ));
            }
            let record = shape[1..]
                .iter()
                .zip(lens())
                .map(|(&chunk, len)| chunk.min(len));
            return Ok(std::iter::once(shape[0]).chain(record).collect());
        }

        let target = u128::from(self.target_bytes.get());
        let element_size = element_size.max(1) as u128;
        let record_bytes = lens().fold(element_size, |bytes, len| {
            bytes.saturating_mul(u128::from(len))
        });
        if let Some(records) = self.records {
            return Ok(std::iter::once(records.get()).chain(lens()).collect());
        }
        if record_bytes <= target {
            let records = u64::try_from(target / record_bytes).unwrap_or(u64::MAX);
            return Ok(std::iter::once(records.min(MAX_CHUNK_RECORDS))
                .chain(lens())
                .collect());
        }
        let mut shape = vec![1];
        for (axis, len) in lens().enumerate() {
            let step_bytes = lens().skip(axis + 1).fold(element_size, |bytes, len| {
                bytes.saturating_mul(u128::from(len))
            });
            let fitting = (target / step_bytes).max(1);
            shape.push(u64::try_from(fitting).unwrap_or(u64::MAX).min(len));
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_chunk_is_at_most_the_target_and_never_longer_than_the_record(
            target in 1_u64..10_000_000,
            record in prop::collection::vec(0_u64..3000, 0..5),
            element_size in prop::sample::select(vec![1_usize, 2, 4, 8, 16]),
        ) {
            let chunk = ChunkPolicy::target_bytes(target).chunk_shape(&record, element_size)?;
            prop_assert_eq!(chunk.len(), record.len() + 1);
            prop_assert!(chunk.iter().all(|&len| len > 0));
            for (&chunk, &len) in chunk[1..].iter().zip(&record) {
                prop_assert!(chunk <= len.max(1));
            }
            let bytes = chunk.iter().map(|&len| u128::from(len)).product::<u128>()
                * element_size as u128;
            prop_assert!(bytes <= u128::from(target).max(element_size as u128));
        }

        #[test]
        fn a_shard_has_whole_chunks_and_at_most_its_size(
            target in 1_u64..1_000_000,
            shard_bytes in 0_u64..100_000_000,
            record in prop::collection::vec(0_u64..3000, 0..4),
        ) {
            let policy = ChunkPolicy::target_bytes(target).with_shard_bytes(shard_bytes);
            let chunk = policy.chunk_shape(&record, 8)?;
            if let Some(shard) = policy.shard_shape(&chunk, &record, 8) {
                prop_assert!(shard.iter().zip(&chunk).all(|(shard, chunk)| shard % chunk == 0));
                let chunks: u64 = shard.iter().zip(&chunk).map(|(shard, chunk)| shard / chunk).product();
                prop_assert!((2..=MAX_SHARD_CHUNKS).contains(&chunks));
                prop_assert!(shard.iter().product::<u64>() * 8 <= shard_bytes);
            }
        }

        #[test]
        fn an_axis_is_split_only_if_all_slower_axes_are(
            record in prop::collection::vec(1_u64..5000, 1..4),
        ) {
            let chunk = ChunkPolicy::default().chunk_shape(&record, 8)?;
            let record = std::iter::once(u64::MAX).chain(record);
            let split = chunk.iter().zip(record).map(|(&chunk, len)| chunk < len);
            let split: Vec<_> = split.collect();
            for axis in 1..split.len() {
                if split[axis] {
                    prop_assert!(chunk[..axis].iter().all(|&len| len == 1), "{chunk:?}");
                }
            }
        }

        #[test]
        fn no_shape_overflows(record in prop::collection::vec(any::<u64>(), 0..6)) {
            let chunk = ChunkPolicy::default().chunk_shape(&record, 16)?;
            let bytes = chunk.iter().try_fold(16_u64, |bytes, &len| bytes.checked_mul(len));
            prop_assert!(bytes.is_some_and(|bytes| bytes <= 1 << 20));
        }
    }

    #[test]
    fn a_shard_has_whole_records_before_it_has_several() {
        let policy = ChunkPolicy::default().with_shard_bytes(64 << 20);
        let shard = |chunk: &[u64], record: &[u64]| policy.shard_shape(chunk, record, 1 << 20);
        assert_eq!(shard(&[1], &[]), Some(vec![64]));
        assert_eq!(shard(&[1, 2, 1], &[7, 4]), Some(vec![2, 8, 4]));
        assert_eq!(shard(&[1, 1], &[100]), Some(vec![1, 64]));
        assert_eq!(shard(&[1, 1, 1], &[10, 16]), Some(vec![1, 4, 16]));
        assert_eq!(shard(&[33], &[]), None);
    }

    #[test]
    fn a_fixed_shape_must_fit_the_number_of_axes() {
        let policy = ChunkPolicy::shape([4, 100]).unwrap();
        assert_eq!(policy.chunk_shape(&[10], 8).unwrap(), [4, 10]);
        assert!(policy.chunk_shape(&[10, 10], 8).is_err());
        assert!(ChunkPolicy::shape([4, 0]).is_err());
    }
}
