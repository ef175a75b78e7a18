//! Rows of different length in memory.

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};

/// The rows of a ragged series in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct RaggedArray<T> {
    pub(crate) values: ArrayD<T>,
    pub(crate) ends: Vec<usize>,
}

impl<T> RaggedArray<T> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One row; `None` if there is no such row.
    pub fn row(&self, index: usize) -> Option<ArrayViewD<'_, T>> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(self.values.slice_axis(Axis(0), Slice::from(start..end)))
    }

    /// All rows in order.
    pub fn rows(&self) -> impl Iterator<Item = ArrayViewD<'_, T>> {
        (0..self.len()).filter_map(|index| self.row(index))
    }

    /// The items of all rows, one after the other.
    pub fn values(&self) -> &ArrayD<T> {
        &self.values
    }

    /// Where each row ends in [`values`](Self::values).
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The items of all rows, one after the other, and where each row ends in them.
    pub fn into_parts(self) -> (ArrayD<T>, Vec<usize>) {
        (self.values, self.ends)
    }
}
