//! Moving single series.

use std::ops::Range;
use std::sync::Arc;

use super::Drain;
use crate::error::{Error, ErrorKind, Result};
use crate::model::compression::Compression;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::view::View;
use crate::store::array_view::ArrayView;
use crate::store::commit::{Batch, Change};
use crate::store::data_store::DataStoreExt;
use crate::store::node::Node;
use crate::tools::copy::reader::{BATCH_BYTES, read_block, whole_chunks};
use crate::tools::target_clash;

/// A series that is moved.
pub(super) struct MovedSeries<'v> {
    view: &'v View,
    schema: Arc<Schema>,
    /// How many records share a chunk of the target.
    chunk: u64,
    /// How many records the target has; `None` if it does not have the series.
    pub(super) done: Option<u64>,
}

impl MovedSeries<'_> {
    pub(super) fn key(&self) -> &Key {
        self.view.key()
    }

    /// The index of the first record that the source has.
    fn first(&self) -> u64 {
        self.view.first_record()
    }

    /// The index after the last record.
    pub(super) fn end(&self) -> u64 {
        self.first() + self.view.len()
    }

    /// Its key, and the index after the last record that the target has as well.
    pub(super) fn kept(&self) -> (Key, u64) {
        (self.key().clone(), self.done.unwrap_or(self.first()))
    }

    /// How many filled records a new series begins with.
    pub(super) fn filled(&self) -> u64 {
        filled_end(&**self.view)
    }

    /// The size of a record in bytes, if it is fixed.
    pub(super) fn record_bytes(&self) -> Option<usize> {
        let bytes = self.schema.record_bytes();
        bytes.filter(|_| self.schema.kind().is_fixed())
    }

    /// The number of records in a batch that ends where a chunk of the target does.
    pub(super) fn batch(&self) -> u64 {
        self.record_bytes().map_or(u64::MAX, |bytes| {
            whole_chunks(self.chunk, bytes.max(1), BATCH_BYTES)
        })
    }

    /// Reads records from the start of `range` on, at most `max_bytes` if they have no fixed size.
    pub(super) fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        let first = self.first();
        self.view
            .read_records(range.start - first..range.end - first, max_bytes)
    }
}

impl Drain<'_> {
    pub(super) fn move_series(&mut self, view: &View) -> Result<()> {
        let series = self.begin(view)?;
        self.shared.free(&[series.kept()])?;
        let mut at = match series.done {
            Some(done) => done,
            None => {
                self.declare(&series, series.filled());
                self.commit_if_large()?;
                series.filled()
            }
        };
        while at < series.end() {
            let first = series.first();
            let records = read_block(&**view, at - first..series.end() - first)?;
            at += records.len();
            self.append(&series, at - records.len(), &records);
            self.commit_if_large()?;
        }
        self.progress.key_count += 1;
        Ok(())
    }

    /// Compares a series with the records of it that the target has, and updates its attributes and names there.
    pub(super) fn begin<'v>(&mut self, view: &'v View) -> Result<MovedSeries<'v>> {
        let (key, first) = (view.key(), view.first_record());
        let end = first + view.len();
        let schema = Arc::new(Schema::clone(view.schema()).without_storage());
        let there = match self.to.node(key)? {
            None => None,
            Some(Node::Series(there)) => {
                check_same_schema(there.schema(), view.schema())?;
                Some(there)
            }
            Some(other) => return Err(target_clash("drain", NodeKind::Series, other.kind())),
        };
        let there_end = |there: &View| there.first_record() + there.len();
        let filled = || filled_end(&**view);
        let done = there.as_ref().map_or_else(filled, there_end);
        if done < first || done > end {
            return Err(diverged(done, first..end));
        }
        if let Some(there) = &there
            && done > first
        {
            check_same(&**view, &**there, first..done)?;
        }
        // Frees nothing, but fails before anything is written if the source cannot free records.
        self.shared.free(&[])?;
        let chunk = self.to.plan(key, Some(&schema))?;
        if let Some(there) = &there {
            if there.dimension_names() != view.dimension_names()
                && let Some(names) = view.dimension_names()
            {
                let describe = Change::Describe {
                    key: key.clone(),
                    dimension_names: Some(names.into()),
                    attributes: Arc::default(),
                };
                self.add(describe, 0)?;
            }
            let attributes = view.attributes().clone();
            self.set_attributes(key, self.to.attributes(key)?, attributes)?;
        }
        Ok(MovedSeries {
            view,
            schema,
            chunk,
            done: there.is_some().then_some(done),
        })
    }

    /// Adds a series to the target, with its filled records.
    pub(super) fn declare(&mut self, series: &MovedSeries<'_>, filled: u64) {
        let key = series.key().clone();
        if filled > 0 {
            self.moved.insert(key.clone(), filled);
        }
        let schema = Arc::clone(&series.schema);
        self.push(
            Change::Declare {
                key,
                schema,
                filled,
            },
            0,
        );
    }

    /// Adds records in batches; the first record has the index `at`.
    pub(super) fn append(&mut self, series: &MovedSeries<'_>, at: u64, records: &Records) {
        let (batch, until) = (series.batch(), at + records.len());
        let mut start = at;
        while start < until {
            let stop = (start / batch + 1).checked_mul(batch).unwrap_or(until);
            let stop = stop.min(until);
            let part = records.slice(start - at..stop - at);
            self.progress.record_count += part.len();
            self.moved.insert(series.key().clone(), stop);
            let bytes = part.data().len() + size_of_val(part.ends());
            let append = Change::Append {
                batch: Arc::new(Batch::new(series.key().clone(), start, part)),
                prepared: None,
            };
            self.push(append, bytes);
            start = stop;
        }
    }
}

/// Checks that the target can keep records of the source.
fn check_same_schema(to: &Schema, from: &Schema) -> Result<()> {
    to.check_same_records(from).map_err(|_| {
        let message = format!(
            "the series holds {from}, but that of the target holds {to}; drain into another recording"
        );
        Error::new(ErrorKind::SchemaMismatch, "drain", message)
    })
}

/// Checks that the target has the same records of `range` as the source, except those that the target itself has
/// freed.
fn check_same(from: &dyn ArrayView, to: &dyn ArrayView, range: Range<u64>) -> Result<()> {
    let bound = match to.schema().compression() {
        Some(Compression::Lossy(bound)) => Some(bound),
        _ => None,
    };
    let as_stored = |records: Records| {
        let (mut data, ends) = records.into_parts();
        if let (Some(bound), Some(dtype)) = (bound, from.dtype()) {
            bound.round(dtype, &mut data);
        }
        (data, ends)
    };
    // Filled records are the same if the fill values are.
    let filled = match from.schema().fill_value() == to.schema().fill_value() {
        true => filled_end(from).min(filled_end(to)),
        false => 0,
    };
    let mut at = range.start.max(to.first_record()).max(filled);
    while at < range.end {
        let within =
            |view: &dyn ArrayView, end| at - view.first_record()..end - view.first_record();
        let ours = read_block(from, within(from, range.end))?;
        let end = at + ours.len();
        let theirs = to.read_records(within(to, end), usize::MAX)?;
        if as_stored(ours) != as_stored(theirs) {
            let message = format!(
                "the records {at} to {end} of the target differ from those of the source, which keeps \
                 them; drain into another recording"
            );
            return Err(Error::new(ErrorKind::Diverged, "drain", message));
        }
        at = end;
    }
    Ok(())
}

/// The index after the last filled record of a series.
fn filled_end(view: &dyn ArrayView) -> u64 {
    match view.as_shared() {
        Some(shared) => shared.filled_end(),
        None => view.filled(),
    }
}

fn diverged(done: u64, source: Range<u64>) -> Error {
    let message = format!(
        "the source has the records {} to {}, but the target has {done}; drain into the recording \
         that was drained into before",
        source.start, source.end
    );
    Error::new(ErrorKind::Diverged, "drain", message)
}
