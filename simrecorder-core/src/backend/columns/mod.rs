//! Series as columns, for backends that store rows in chunks and keep the newest rows in a tail.
//!
//! A series of arrays is one column of elements. A series of ragged records is two columns: the ends of the records,
//! and the items of all records. [`ColumnFormat`] says how the chunks of a column are encoded.
//! [`SeriesChanges`] turn batches into calls of a [`ColumnSink`], and a [`SeriesView`] reads
//! through a [`ColumnSource`].

mod append;
mod column;
mod layout;
mod read;
mod series;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod tiers;
mod view;

pub use append::EncodedRows;
pub use column::{
    Column, ColumnFormat, Columns, ENDS_DTYPE, Series, policy_by_size, ragged_chunk_shapes,
};
pub use layout::ColumnLayout;
pub use read::read_rows;
pub use series::{
    CommittedSeries, PlannedFormats, SeriesAppend, SeriesCache, SeriesChanges, StoredSeries, fold,
    prepare,
};
pub use sink::{ColumnSink, Cut};
pub use source::{ColumnSource, read_chunks};
pub use tiers::MAX_FRAMES;
pub use view::{ColumnStore, ColumnView, SeriesView};
