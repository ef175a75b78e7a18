//! Short series: arrays with fewer rows than a chunk has.
//!
//! An array of simrecorder notes the shape of its chunks in its attribute. Until it has filled one, its
//! chunk grid may have fewer rows: as many as the array had when its tail was folded.

use serde_json::{Value as Json, json};

use crate::format::metadata::Document;

/// The member of the attribute `simrecorder` with the shape of a chunk that is full.
const CHUNK_SHAPE: &str = "chunk_shape";

impl Document {
    /// Notes the shape of the chunks of a new array, so that they can be shorter at first.
    pub(crate) fn note_chunk_shape(&mut self) {
        let Some(shape) = self.grid_shape().cloned() else {
            return;
        };
        let mut reserved = self.reserved().cloned().unwrap_or_default();
        reserved.insert(CHUNK_SHAPE.to_owned(), shape);
        self.set_reserved(Json::Object(reserved));
    }

    /// The shape of a chunk that is full, if it is noted and fits the chunk grid.
    pub(crate) fn noted_chunk_shape(&self) -> Option<&Json> {
        let noted = self.reserved()?.get(CHUNK_SHAPE)?;
        let (full, written) = (noted.as_array()?, self.grid_shape()?.as_array()?);
        let (full_rows, rows) = (full.first()?.as_u64()?, written.first()?.as_u64()?);
        let fits = (1..=full_rows).contains(&rows) && full.get(1..) == written.get(1..);
        fits.then_some(noted)
    }

    /// How many rows the only chunk of a short array has; `None` if its chunks are those of any array.
    pub(crate) fn short_rows(&self) -> Option<u64> {
        let full = self.noted_chunk_shape()?.get(0)?.as_u64()?;
        let rows = self.grid_shape()?.get(0)?.as_u64()?;
        (rows < full).then_some(rows)
    }

    /// Gives the array a chunk of so many rows, or its full chunks.
    pub(crate) fn set_short_rows(&mut self, rows: Option<u64>) {
        let Some(mut shape) = self.noted_chunk_shape().cloned() else {
            return;
        };
        if let (Some(rows), Some(first)) = (rows, shape.get_mut(0)) {
            *first = json!(rows);
        }
        let grid = self.0.get_mut("chunk_grid");
        if let Some(written) =
            grid.and_then(|grid| grid.get_mut("configuration")?.get_mut("chunk_shape"))
        {
            *written = shape;
        }
    }

    fn grid_shape(&self) -> Option<&Json> {
        self.0
            .get("chunk_grid")?
            .get("configuration")?
            .get("chunk_shape")
    }
}
