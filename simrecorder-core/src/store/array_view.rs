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

/// A lazy view of one series, as a store implements it. Users read through [`View`](crate::View), which dereferences to
/// this trait.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, Schema};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let schema = Schema::array::<f64>([2]).with_dimension_names(["time", "neuron"]).with_units("mV");
/// recorder.declare("net/v", schema)?;
/// recorder.record("net/v", [-65.0, -64.5])?;
/// let v = recorder.get_all("net/v")?;
/// assert_eq!((v.len(), v.shape()), (1, &[1, 2][..]));
/// assert_eq!(v.attributes()["units"], "mV");
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Contract
/// - A view is a snapshot: while the series grows, the view keeps its shape and its records. It remains readable after
///   its store was closed.
/// - `shape()[0]` is the number of records. For arrays, the shape of a record follows.
/// - A read copies only the elements of its region, and reads no chunks outside it.
/// - Damaged data is an error only for the reads that touch it.
/// - No stored data makes a method panic.
pub trait ArrayView: fmt::Debug + Send + Sync {
    /// Returns the key of the series.
    fn key(&self) -> &Key;

    /// Returns the schema of the series.
    fn schema(&self) -> &Arc<Schema>;

    /// Returns the length of each axis, records first.
    fn shape(&self) -> &[u64];

    /// Returns the length of a chunk along each axis, which is never 0. Reads that begin and end at chunk borders are
    /// the fastest.
    fn chunk_shape(&self) -> &[u64];

    /// Reads `region` into `out`, in row-major order and native byte order.
    ///
    /// - An empty region reads nothing and succeeds.
    /// - A region outside the shape is `OutOfBounds`; a buffer of another size is
    ///   `InvalidArgument` (see [`Region::check`]).
    /// - A series that is not an array is `KindMismatch`.
    /// - Elements that were never written have the fill value.
    /// - Records that were cut off after the view was taken are `OutOfBounds`.
    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()>;

    /// Reads records of any kind, from the start of `range` on.
    ///
    /// - For an empty range, it succeeds without records.
    /// - A range that ends after the last record is `OutOfBounds`, and so are records that were cut
    ///   off after the view was taken.
    /// - It reads at least one record and at most `range`. It may end early after `max_bytes`, so that records of
    ///   unknown size do not exhaust memory.
    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records>;

    /// Checks records of any kind for damage, with everything that shows whether they are as they were written:
    /// checksums, and missing chunks.
    ///
    /// - An empty range succeeds; one that ends after the last record is `OutOfBounds`.
    /// - By default, it reads the records that are not [filled](Self::filled).
    fn check_records(&self, range: Range<u64>) -> Result<()> {
        let (mut start, end) = (range.start.max(self.filled()), range.end);
        while start < end {
            start += self.read_records(start..end, CHECK_BYTES)?.len().max(1);
        }
        Ok(())
    }

    /// Returns a view of the same series with its current length. It has at least as many records as this one, unless
    /// the series was truncated or replaced, or records were [freed](crate::backend::SharedStore::free).
    fn refresh(&self) -> Result<Arc<dyn ArrayView>>;

    /// Reads the nodes at `keys` in the recording of the series, as of one commit in which the series still has
    /// all records of the view. This is how the coordinates of the view are found.
    ///
    /// - Nothing at a key: `None`. Otherwise as for [`DataStore::nodes`](crate::DataStore::nodes).
    /// - Records of the view were cut off, or their series removed: `OutOfBounds`. They were freed:
    ///   `NotFound`.
    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>>;

    /// Returns a handle to this view.
    fn to_arc(&self) -> Arc<dyn ArrayView>;

    /// Returns how many records at the beginning of the view are filled: the series was declared with them, they have
    /// its fill value, and the store did not write them.
    fn filled(&self) -> u64 {
        0
    }

    /// Returns the stored size of the series in bytes: its encoded chunks and its tail. `None` if the store does not
    /// know it, and for a selection.
    fn stored_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    // The default methods below derive from the schema and the shape.

    /// Returns the kind of the records.
    fn kind(&self) -> Kind {
        self.schema().kind()
    }

    /// Returns the element type; `None` for text, bytes and objects.
    fn dtype(&self) -> Option<DType> {
        self.schema().dtype()
    }

    /// Returns the user's attributes, including `units`.
    fn attributes(&self) -> &Attributes {
        self.schema().attributes()
    }

    /// Returns the names of the axes, records first, if they were set.
    fn dimension_names(&self) -> Option<&[Option<String>]> {
        self.schema().dimension_names()
    }

    /// Returns the number of records; of a selection, the length of its first axis, or 0 if it has no axis.
    fn len(&self) -> u64 {
        self.shape().first().copied().unwrap_or(0)
    }

    /// Whether [`len`](Self::len) is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the methods of a view whose store has many writers; `None` if the store has one writer.
    fn as_shared(&self) -> Option<&dyn SharedView> {
        None
    }

    /// Returns the view as a selection of another view; `None` if a store returned it.
    #[doc(hidden)]
    fn as_selected(&self) -> Option<&SelectedView> {
        None
    }

    /// Returns the methods that read records as they are stored; `None` if the view cannot.
    fn as_encoded(&self) -> Option<&dyn EncodedView> {
        None
    }
}

/// A view of a series in a [`SharedStore`](crate::backend::SharedStore).
pub trait SharedView {
    /// Returns the index in the series of the first record of the view. It is 0 unless records were
    /// [freed](crate::backend::SharedStore::free): then views begin at the first remaining record.
    fn first_record(&self) -> u64;

    /// Returns the index in the series after the last [filled](ArrayView::filled) record, even if that was freed; 0
    /// without filled records.
    fn filled_end(&self) -> u64;

    /// Returns the writer of a record: a number that identifies each writer of the store.
    ///
    /// - `None` if the store does not know.
    /// - No such record: `OutOfBounds`.
    fn writer_of(&self, record: u64) -> Result<Option<u64>>;

    /// Waits for records after the last one of the view, at most for `timeout`, and returns a view of the series with
    /// its current length.
    ///
    /// - The store waits without polling.
    /// - A view that cannot grow: `Unsupported`.
    fn follow(&self, timeout: Duration) -> Result<Arc<dyn ArrayView>>;
}
