//! Rows of different length in memory.

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};

/// The rows of a ragged series in memory; [`read_ragged`](crate::View#method.read_ragged) returns it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Ragged, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.record("net/spikes", Ragged(&[3_u32, 1, 4]))?; // the neurons that spiked in this step
/// recorder.record("net/spikes", Ragged(&[5_u32]))?;
/// let spikes = recorder.get_all("net/spikes")?.read_ragged::<u32>()?;
/// for (step, row) in spikes.rows().enumerate() {
///     println!("step {step}: {} spikes", row.len());
/// }
/// assert_eq!(spikes.row(1).unwrap()[0], 5);
/// assert_eq!((spikes.values().len(), spikes.ends()), (4, &[3, 4][..]));
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RaggedArray<T> {
    pub(crate) values: ArrayD<T>,
    pub(crate) ends: Vec<usize>,
}

impl<T> RaggedArray<T> {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns one row; `None` if there is no such row.
    pub fn row(&self, index: usize) -> Option<ArrayViewD<'_, T>> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(self.values.slice_axis(Axis(0), Slice::from(start..end)))
    }

    /// Iterates over all rows in order.
    pub fn rows(&self) -> impl Iterator<Item = ArrayViewD<'_, T>> {
        (0..self.len()).filter_map(|index| self.row(index))
    }

    /// Returns the items of all rows, one after the other.
    pub fn values(&self) -> &ArrayD<T> {
        &self.values
    }

    /// Returns the index in [`values`](Self::values) after each row.
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// Returns [`values`](Self::values) and [`ends`](Self::ends) without copying.
    pub fn into_parts(self) -> (ArrayD<T>, Vec<usize>) {
        (self.values, self.ends)
    }
}
