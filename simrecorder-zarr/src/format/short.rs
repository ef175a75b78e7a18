//! Short series: arrays with fewer rows than a chunk.
//!
//! simrecorder stores the chunk shape of an array in its attribute. Until the array has filled a
//! chunk, its chunk grid may have fewer rows: as many as the array had when its tail was folded.
//! During this time it has no shards, and stores their future shape.

use serde_json::{Value as Json, json};

use crate::format::metadata::Document;

/// The member of the attribute `simrecorder` with the shape of a full chunk.
const CHUNK_SHAPE: &str = "chunk_shape";
/// The member with the shape of the shards that a short array will have.
const SHARD_SHAPE: &str = "shard_shape";

impl Document {
    /// Stores the chunk shape of a new array, so that its chunks can be shorter at first.
    pub(crate) fn note_chunk_shape(&mut self) {
        if let Some(shape) = self.grid_shape().cloned() {
            self.set_noted(CHUNK_SHAPE, Some(shape));
        }
    }

    /// The shape of a full chunk, if it is stored and matches the chunk grid. An array with shards
    /// has full chunks.
    pub(crate) fn noted_chunk_shape(&self) -> Option<&Json> {
        let noted = self.reserved()?.get(CHUNK_SHAPE)?;
        let (full, written) = (noted.as_array()?, self.grid_shape()?.as_array()?);
        let (full_rows, rows) = (full.first()?.as_u64()?, written.first()?.as_u64()?);
        let fits = (1..=full_rows).contains(&rows) && full.get(1..) == written.get(1..);
        (fits && !self.has_shards()).then_some(noted)
    }

    /// The number of rows of the only chunk of a short array; `None` if the array is not short.
    pub(crate) fn short_rows(&self) -> Option<u64> {
        let full = self.noted_chunk_shape()?.get(0)?.as_u64()?;
        let rows = self.grid_shape()?.get(0)?.as_u64()?;
        (rows < full).then_some(rows)
    }

    /// Gives the array one chunk of `rows` rows, or full chunks.
    pub(crate) fn set_short_rows(&mut self, rows: Option<u64>) {
        if rows.is_some()
            && let Some((mut inner, _)) = self.without_shards()
            && inner.noted_chunk_shape().is_some()
        {
            inner.set_noted(SHARD_SHAPE, self.grid_shape().cloned());
            inner.set_short_keys();
            *self = inner;
        }
        let Some(mut shape) = self.noted_chunk_shape().cloned() else {
            return;
        };
        if let (Some(rows), Some(first)) = (rows, shape.get_mut(0)) {
            *first = json!(rows);
        }
        if let Some(written) = self.grid_shape_mut() {
            *written = shape;
        }
        if rows.is_none() {
            self.restore_shards();
        }
    }

    fn restore_shards(&mut self) {
        let noted = self
            .reserved()
            .and_then(|reserved| reserved.get(SHARD_SHAPE));
        let lens = noted
            .and_then(Json::as_array)
            .map(|shape| shape.iter().map(Json::as_u64));
        if let Some(shape) = lens.and_then(|lens| lens.collect::<Option<Vec<_>>>()) {
            self.set_noted(SHARD_SHAPE, None);
            self.set_flat_keys();
            self.add_shards(&shape);
        }
    }

    fn set_noted(&mut self, name: &str, shape: Option<Json>) {
        let mut reserved = self.take_reserved();
        match shape {
            Some(shape) => reserved.insert(name.to_owned(), shape),
            None => reserved.remove(name),
        };
        self.set_reserved(Json::Object(reserved));
    }

    pub(super) fn grid_shape(&self) -> Option<&Json> {
        let grid = self.fields().get("chunk_grid")?;
        grid.get("configuration")?.get("chunk_shape")
    }

    pub(super) fn grid_shape_mut(&mut self) -> Option<&mut Json> {
        let grid = self.fields_mut().get_mut("chunk_grid")?;
        grid.get_mut("configuration")?.get_mut("chunk_shape")
    }
}
