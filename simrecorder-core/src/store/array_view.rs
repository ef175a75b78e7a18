//! The contract of a view.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::reading::selected_view::SelectedView;
use crate::reading::selection::Region;
use crate::store::encoded::EncodedView;
use crate::store::node::Node;

/// How many bytes [`ArrayView::check_records`] reads at once, at most, unless one record is larger.
const CHECK_BYTES: usize = 16 << 20;

/// A lazy view of one series: a snapshot of its length, from which only what is asked for is
/// read.
///
/// This is what stores implement. Users read through [`View`](crate::View).
///
/// # Contract
/// - A view is a snapshot: its shape stays while the series grows, and what it reads does not
///   change. It stays valid after its store was closed.
/// - `shape()[0]` is the number of records; the shape of a record follows for arrays, nothing
///   for the other kinds.
/// - Reading copies only the elements of the region; chunks outside it are not touched.
/// - Damaged data is an error for the reads that touch it, and for no others.
/// - Nothing panics, whatever is stored.
pub trait ArrayView: fmt::Debug + Send + Sync {
    /// The key of the series.
    fn key(&self) -> &Key;

    /// The schema of the series.
    fn schema(&self) -> &Arc<Schema>;

    /// The length of each axis, records first.
    fn shape(&self) -> &[u64];

    /// The length of a chunk along each axis; no axis is 0. Reads that begin and end on these
    /// borders are the fastest.
    fn chunk_shape(&self) -> &[u64];

    /// Reads `region` into `out`, in row-major order and native byte order.
    ///
    /// - An empty region reads nothing and succeeds.
    /// - A region outside the shape is `OutOfBounds`; a buffer of another size is
    ///   `InvalidArgument` (see [`Region::check`]).
    /// - A series that is no array is `KindMismatch`.
    /// - Elements that were never written have the fill value.
    /// - Records that were cut off since the view was taken are `OutOfBounds`.
    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()>;

    /// Reads records from the start of `range` on, of any kind.
    ///
    /// - An empty range gives no records and succeeds.
    /// - A range that ends after the last record is `OutOfBounds`, and so are records that were cut
    ///   off since the view was taken.
    /// - At least one record is read, and no more than `range`; it may end early after
    ///   `max_bytes`, so that records of unknown size do not fill the memory.
    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records>;

    /// Reads records of any kind and returns only the error, after checking everything that shows
    /// whether they are as they were written: checksums, and chunks that are no longer there.
    ///
    /// - An empty range succeeds, one that ends after the last record is `OutOfBounds`.
    /// - By default, those that are not [filled](Self::filled) are read.
    fn check_records(&self, range: Range<u64>) -> Result<()> {
        let (mut start, end) = (range.start.max(self.filled()), range.end);
        while start < end {
            start += self.read_records(start..end, CHECK_BYTES)?.len().max(1);
        }
        Ok(())
    }

    /// A view of the same series as it is now. It has at least as many records as this one,
    /// unless the series was truncated or replaced, or records were
    /// [freed](crate::backend::SharedStore::free).
    fn refresh(&self) -> Result<Arc<dyn ArrayView>>;

    /// The nodes at `keys` in the recording of the series, as of one commit in which the series still has
    /// all records of the view. The coordinates of the view are among them.
    ///
    /// - Nothing at a key: `None`. What [`DataStore::nodes`](crate::DataStore::nodes) says of the nodes
    ///   holds here too.
    /// - Records that the view shows were cut off, or their series removed: `OutOfBounds`. They were freed:
    ///   `NotFound`.
    fn nodes_beside(&self, keys: &[Key]) -> Result<Vec<Option<Node>>>;

    /// A handle to this view.
    fn to_arc(&self) -> Arc<dyn ArrayView>;

    /// How many records at the beginning of the view are filled: the series was declared with them,
    /// they have its fill value, and the store did not write them.
    fn filled(&self) -> u64 {
        0
    }

    /// How many bytes the series takes as it is stored: its encoded chunks and its tail. `None` if the store
    /// does not know, and of a selection.
    fn stored_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    // The rest follows from the schema and the shape.

    /// The kind of the records.
    fn kind(&self) -> Kind {
        self.schema().kind()
    }

    /// The element type; `None` for text, bytes and objects.
    fn dtype(&self) -> Option<DType> {
        self.schema().dtype()
    }

    /// The user's attributes, `units` among them.
    fn attributes(&self) -> &Attributes {
        self.schema().attributes()
    }

    /// The names of the axes, records first, if they were given.
    fn dimension_names(&self) -> Option<&[Option<String>]> {
        self.schema().dimension_names()
    }

    /// The number of records; of a selection, the length of its first axis, and 0 if it has none.
    fn len(&self) -> u64 {
        self.shape().first().copied().unwrap_or(0)
    }

    /// Whether [`len`](Self::len) is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the view can do because its store has many writers; `None` if it has one.
    fn as_shared(&self) -> Option<&dyn SharedView> {
        None
    }

    /// The view as a part of another one; `None` if a store gave it.
    #[doc(hidden)]
    fn as_selected(&self) -> Option<&SelectedView> {
        None
    }

    /// Reads records as they are stored; `None` if only [`read_records`](Self::read_records) can.
    fn as_encoded(&self) -> Option<&dyn EncodedView> {
        None
    }
}

/// A view of a series in a [`SharedStore`](crate::backend::SharedStore).
pub trait SharedView {
    /// The index in its series of the first record of the view. It is 0 unless records were
    /// [freed](crate::backend::SharedStore::free): then views begin at the first remaining one.
    fn first_record(&self) -> u64;

    /// The index in its series after the last [filled](ArrayView::filled) record, also if that was freed; 0
    /// if there are none.
    fn filled_end(&self) -> u64;

    /// The writer of a record: a number that identifies each writer of the store.
    ///
    /// - `None` if the store does not know.
    /// - No such record: `OutOfBounds`.
    fn writer_of(&self, record: u64) -> Result<Option<u64>>;

    /// Waits until there are records after the last one of the view, but no longer than
    /// `timeout`, and returns a view of the series as it is then.
    ///
    /// - The store waits without polling.
    /// - A view that cannot grow: `Unsupported`.
    fn follow(&self, timeout: Duration) -> Result<Arc<dyn ArrayView>>;
}
