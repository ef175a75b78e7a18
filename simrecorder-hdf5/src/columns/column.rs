//! Columns: datasets of rows, the older ones in chunks, the newest in the tail.
//!
//! A ragged series is two columns, all others are one.

use std::sync::Arc;

use simrecorder_core::backend::RowSize;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::layout::Layout;
use crate::format::variable::Variable;

/// What the rows of a column are.
#[derive(Clone, Debug)]
pub(crate) enum ColumnLayout {
    Elements(Arc<Layout>),
    Variable(Variable),
}

impl ColumnLayout {
    pub(crate) fn row_size(&self) -> RowSize {
        match self {
            Self::Elements(layout) => layout.row_size(),
            Self::Variable(_) => RowSize::Variable,
        }
    }

    /// How many rows are written together.
    pub(crate) fn chunk_rows(&self) -> u64 {
        match self {
            Self::Elements(layout) => layout.chunk_rows(),
            Self::Variable(_) => VARIABLE_CHUNK_ROWS,
        }
    }
}

/// A chunk of rows of variable length holds 16 bytes for each; the rows are elsewhere.
pub(crate) const VARIABLE_CHUNK_ROWS: u64 = 1024;

/// A column has no more rows than this, so that sums with the rows of a chunk do not overflow.
const MAX_ROWS: u64 = i64::MAX as u64;

/// A column, without the rows of its tail.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// The path of its dataset.
    pub(crate) path: Arc<str>,
    pub(crate) layout: ColumnLayout,
    /// How many rows are in the dataset; the others are in the tail.
    pub(crate) stored: u64,
    /// How many rows there are.
    pub(crate) rows: u64,
    /// How often the series had been cut.
    pub(crate) cuts: u64,
}

impl Column {
    pub(crate) fn new(
        path: &str,
        layout: ColumnLayout,
        stored: u64,
        tail: u64,
        cuts: u64,
    ) -> Result<Self> {
        let rows = stored.checked_add(tail).filter(|&rows| rows <= MAX_ROWS);
        let rows =
            rows.ok_or_else(|| Error::new(ErrorKind::Corrupt, "read", "the dataset is too long"))?;
        Ok(Self {
            path: path.into(),
            layout,
            stored,
            rows,
            cuts,
        })
    }
}
