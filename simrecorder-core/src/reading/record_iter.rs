//! Iterating over the records of a view.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::model::dtype::Element;
use crate::model::records::Records;
use crate::model::value::Value;
use crate::store::array_view::ArrayView;

/// How many bytes [`Iter`] reads at once, unless one chunk or record is larger.
pub(crate) const ITER_BYTES: usize = 4 << 20;

/// Where to end reading about [`ITER_BYTES`] from the record `start` on: at the end of a chunk, so that no
/// chunk is decoded twice.
pub(crate) fn end_of_block(view: &dyn ArrayView, start: u64) -> u64 {
    if !view.kind().is_fixed() {
        return view.len();
    }
    let chunk = view.chunk_shape().first().copied().unwrap_or(1).max(1);
    let fitting = (ITER_BYTES / stored_bytes(view).max(1)) as u64 / chunk * chunk;
    let end = (start / chunk * chunk).saturating_add(fitting.max(chunk));
    end.min(view.len())
}

/// Visits the elements of some records in order, a few chunks at a time.
pub(crate) fn for_each_block<T: Element>(
    view: &dyn ArrayView,
    records: Range<u64>,
    mut visit: impl FnMut(Range<u64>, &[T]),
) -> Result<()> {
    let mut next = records.start;
    while next < records.end {
        let block = next..end_of_block(view, next).min(records.end);
        let read = view.read_records(block, ITER_BYTES)?;
        let end = next + read.len().max(1);
        visit(next..end, &T::decoded(read.data())?);
        next = end;
    }
    Ok(())
}

/// About how many bytes of the series have to be read for one record of a view, which may select only a part of it.
fn stored_bytes(view: &dyn ArrayView) -> usize {
    let of_record = || view.schema().record_bytes().unwrap_or(usize::MAX);
    match view.as_selected() {
        Some(selected) => match selected.record_step() {
            Some(step) => stored_bytes(selected.parent()).saturating_mul(step),
            None => of_record(),
        },
        None => of_record(),
    }
}

/// An iterator over all records of a view, in order; [`View::iter`](crate::View#method.iter) returns it.
///
/// It reads about 4 MiB at a time. After an error it continues with the next record.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for step in 0..100 {
///     recorder.record("log", format!("step {step}"))?;
/// }
/// let log = recorder.get_all("log")?;
/// for record in log.iter().skip(98) {
///     println!("{}", record?.as_str()?);
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Iter {
    view: Arc<dyn ArrayView>,
    next: u64,
    /// The records that were read, with the index of the first.
    block: Option<(u64, Records)>,
}

impl Iter {
    pub(crate) fn new(view: Arc<dyn ArrayView>) -> Self {
        Self {
            view,
            next: 0,
            block: None,
        }
    }

    /// Reads whole chunks from the next record on.
    fn read_block(&self) -> Result<Records> {
        let end = end_of_block(&*self.view, self.next);
        self.view.read_records(self.next..end, ITER_BYTES)
    }

    fn read_next(&mut self) -> Result<Value> {
        if let Some((start, records)) = &self.block
            && let Some(index) = self.next.checked_sub(*start)
            && index < records.len()
        {
            return records.value(index);
        }
        let records = self.read_block()?;
        let value = records.value(0);
        self.block = Some((self.next, records));
        value
    }
}

impl Iterator for Iter {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.view.len() {
            return None;
        }
        let value = self
            .read_next()
            .map_err(|e| e.with_key(self.view.key().as_str()));
        self.next += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.view.len().saturating_sub(self.next)).ok();
        (left.unwrap_or(usize::MAX), left)
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.next = self.next.saturating_add(n as u64);
        self.next()
    }
}
