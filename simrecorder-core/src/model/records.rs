//! Consecutive records of one series in memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::kind::Kind;
use crate::model::record::RecordRef;
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::model::value::{ArrayValue, ObjectValue};

/// The bytes of consecutive records of one series.
///
/// - Arrays: the elements in row-major order and native byte order; all records have the same size.
/// - Ragged rows: likewise, with a list of the ends of the rows.
/// - Text, bytes, objects (MessagePack): the bytes, with a list of the ends of the records.
#[derive(Clone)]
pub struct Records {
    schema: Arc<Schema>,
    count: u64,
    data: Vec<u8>,
    /// For each record of a kind without fixed size, where it ends in `data`.
    ends: Vec<u64>,
}

impl Records {
    /// Creates an empty sequence of records.
    pub fn empty(schema: Arc<Schema>) -> Self {
        Self {
            schema,
            count: 0,
            data: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Makes `count` records of an array series.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if `data` does not have the size of `count` records.
    pub fn fixed(schema: Arc<Schema>, count: u64, data: Vec<u8>) -> Result<Self> {
        let size = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(schema.record_bytes()?));
        if !schema.kind().is_fixed() || size != Some(data.len()) {
            let message = format!(
                "{} bytes do not make {count} records of {schema}",
                data.len()
            );
            return Err(Error::new(ErrorKind::Corrupt, "read", message));
        }
        Ok(Self {
            schema,
            count,
            data,
            ends: Vec::new(),
        })
    }

    /// Makes records of a kind other than arrays; `ends` has the end of each in `data`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the ends decrease or the last one is not the length of `data`, or if a ragged row
    /// contains an incomplete item.
    pub fn variable(schema: Arc<Schema>, ends: Vec<u64>, data: Vec<u8>) -> Result<Self> {
        let corrupt = |message: String| Err(Error::new(ErrorKind::Corrupt, "read", message));
        if schema.kind().is_fixed()
            || ends.last().copied().unwrap_or(0) != data.len() as u64
            || !ends.is_sorted()
        {
            return corrupt(format!(
                "the ends of {} records do not fit {} bytes of {schema}",
                ends.len(),
                data.len()
            ));
        }
        let item = schema.record_bytes().unwrap_or(0) as u64;
        if item > 1 && ends.iter().any(|end| end % item != 0) {
            return corrupt(format!("a row ends within an item of {schema}"));
        }
        Ok(Self {
            schema,
            count: ends.len() as u64,
            data,
            ends,
        })
    }

    /// Returns the schema of the series.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Returns the number of records.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the bytes of all records.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns where each record ends in [`data`](Self::data); empty for arrays.
    pub fn ends(&self) -> &[u64] {
        &self.ends
    }

    /// Returns the bytes and the ends.
    pub fn into_parts(self) -> (Vec<u8>, Vec<u64>) {
        (self.data, self.ends)
    }

    /// The range of the bytes of record `index`. The caller has checked `index`.
    fn span(&self, index: u64) -> Range<usize> {
        let index = index as usize;
        if self.schema.kind().is_fixed() {
            let size = self.schema.record_bytes().unwrap_or(0);
            return index * size..(index + 1) * size;
        }
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        start..self.ends[index] as usize
    }

    /// Returns the bytes of one record; `None` if there is no such record.
    pub fn record(&self, index: u64) -> Option<&[u8]> {
        (index < self.count).then(|| &self.data[self.span(index)])
    }

    /// Returns one record as a value.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] if there is no such record; [`ErrorKind::Corrupt`] if a text
    /// is not UTF-8.
    pub fn value(&self, index: u64) -> Result<Value> {
        let Some(bytes) = self.record(index) else {
            let message = format!("there is no record {index}; there are {}", self.count);
            return Err(Error::new(ErrorKind::OutOfBounds, "read", message));
        };
        let bytes = bytes.to_vec();
        let shape = self.schema.record_shape().iter().map(|&len| len as usize);
        Ok(match (self.schema.kind(), self.schema.dtype()) {
            (Kind::Array, Some(dtype)) => {
                Value::Array(ArrayValue::from_bytes(dtype, shape.collect(), bytes)?)
            }
            (Kind::Ragged, Some(dtype)) => {
                let item = self.schema.record_bytes().unwrap_or(0).max(1);
                let shape = std::iter::once(bytes.len() / item).chain(shape).collect();
                Value::Array(ArrayValue::from_bytes(dtype, shape, bytes)?)
            }
            (Kind::Text, _) => Value::Text(String::from_utf8(bytes).map_err(|e| {
                Error::new(ErrorKind::Corrupt, "read", "a text is not UTF-8").with_source(e)
            })?),
            (Kind::Object, _) => Value::Object(ObjectValue::from_msgpack(bytes)),
            _ => Value::Bytes(bytes),
        })
    }

    /// The records of `range`, which must lie within.
    pub(crate) fn slice(&self, range: Range<u64>) -> Self {
        let mut part = Self::empty(Arc::clone(&self.schema));
        part.extend_from(self, range);
        part
    }

    /// Adds the records of `range` of `other`, which must have the same schema.
    pub(crate) fn extend_from(&mut self, other: &Self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let start = other.span(range.start).start;
        let end = other.span(range.end - 1).end;
        if !self.schema.kind().is_fixed() {
            let base = self.data.len() as u64;
            let ends = &other.ends[range.start as usize..range.end as usize];
            self.ends
                .extend(ends.iter().map(|end| end - start as u64 + base));
        }
        self.data.extend_from_slice(&other.data[start..end]);
        self.count += range.end - range.start;
    }

    /// Removes and returns the last record, if there is one. The buffer keeps its capacity.
    pub(crate) fn pop(&mut self) -> Option<Self> {
        let before = self.count.checked_sub(1)?;
        let last = self.slice(before..self.count);
        self.data.truncate(self.span(before).start);
        self.ends.pop();
        self.count = before;
        Some(last)
    }

    /// Adds one record that the schema accepts.
    #[inline]
    pub(crate) fn push(&mut self, record: &RecordRef<'_>) {
        self.data.extend_from_slice(&record.data);
        if !self.schema.kind().is_fixed() {
            self.ends.push(self.data.len() as u64);
        }
        self.count += 1;
    }

    /// Adds the bytes of one record of an array series.
    #[inline(always)]
    pub(crate) fn push_fixed(&mut self, data: &[u8]) {
        self.data.extend_from_slice(data);
        self.count += 1;
    }

    /// Adds records of `len` bytes each, at most eight, to an array series. The bytes of each record are the first ones of
    /// its word.
    #[inline(always)]
    pub(crate) fn push_words(&mut self, len: usize, words: &[[u8; 8]]) {
        match len {
            8 => self.data.extend_from_slice(words.as_flattened()),
            _ => words
                .iter()
                .for_each(|word| self.data.extend_from_slice(&word[..len])),
        }
        self.count += words.len() as u64;
    }

    /// The capacity of the buffers in bytes.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.data.capacity() + self.ends.capacity() * size_of::<u64>()
    }

    /// The bytes that [`data`](Self::data) can hold without growing.
    pub(crate) fn data_capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Whether `more` bytes fit into the buffer without growing it.
    #[inline]
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.data.capacity() - self.data.len() >= more
            && (self.schema.kind().is_fixed() || self.ends.capacity() > self.ends.len())
    }

    /// Reserves memory for exactly `records` more records with `bytes` bytes.
    pub(crate) fn reserve_exact(&mut self, bytes: usize, records: usize) {
        self.data.reserve_exact(bytes);
        if !self.schema.kind().is_fixed() {
            self.ends.reserve_exact(records);
        }
    }

    /// Reuses a buffer, whose contents are discarded.
    pub(crate) fn with_buffer(schema: Arc<Schema>, mut data: Vec<u8>) -> Self {
        data.clear();
        Self {
            schema,
            count: 0,
            data,
            ends: Vec::new(),
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("schema", &self.schema)
            .field("count", &self.count)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}
