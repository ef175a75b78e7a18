//! Lazy views of recorded series, as users read them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use ndarray::{Array, ArrayD, Dimension};
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::model::cast::cast_elements;
use crate::model::dtype::{DType, Element};
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::model::short::units;
use crate::model::value::{ArrayValue, Value, shaped};
use crate::reading::ragged_array::RaggedArray;
use crate::reading::record_iter::{ITER_BYTES, Iter};
use crate::reading::selected_view::SelectedView;
use crate::reading::selection::{Region, Selection, element_count};
use crate::store::array_view::ArrayView;
use crate::store::array_view::SharedView;
use crate::store::encoded::EncodedView;
use crate::store::node::Node;

/// A lazy view of one series: a snapshot of its length, from which only what is asked for is read.
///
/// It dereferences to `dyn ArrayView`, whose methods need no import. A clone is cheap.
///
/// ```
/// use simrecorder_core::ndarray::s;
/// use simrecorder_core::{InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for step in 0..10 {
///     recorder.record("net/v", [step as f64, 0.5])?;
/// }
/// let v = recorder.get_all("net/v")?;
/// assert_eq!(v.to_string(), "net/v: array of float64, shape [10, 2]");
/// assert_eq!(v.select(s![..;2, 0])?.read::<f64>()?.sum(), 20.0);
/// assert_eq!(v.get(3)?.array::<f64>()?[0], 3.0);
/// for record in &v {
///     assert_eq!(record?.array::<f64>()?.len(), 2);
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct View(Arc<dyn ArrayView>);

impl View {
    /// A view of the same series as it is now. It has at least as many records as this one, unless the
    /// series was truncated or replaced, or records were [freed](crate::backend::SharedStore::free).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the series no longer exists, [`ErrorKind::OutOfBounds`] if a
    /// selection is no longer within it; else what the store reports.
    pub fn refresh(&self) -> Result<Self> {
        self.0.refresh().map(Self)
    }
}

impl<V: ArrayView + 'static> From<Arc<V>> for View {
    fn from(view: Arc<V>) -> Self {
        Self(view)
    }
}

impl From<Arc<dyn ArrayView>> for View {
    fn from(view: Arc<dyn ArrayView>) -> Self {
        Self(view)
    }
}

impl From<View> for Arc<dyn ArrayView> {
    fn from(view: View) -> Self {
        view.0
    }
}

impl Deref for View {
    type Target = dyn ArrayView;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl ArrayView for View {
    fn key(&self) -> &Key {
        self.0.key()
    }

    fn schema(&self) -> &Arc<Schema> {
        self.0.schema()
    }

    fn shape(&self) -> &[u64] {
        self.0.shape()
    }

    fn chunk_shape(&self) -> &[u64] {
        self.0.chunk_shape()
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        self.0.read_into(region, out)
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        self.0.read_records(range, max_bytes)
    }

    fn check_records(&self, range: Range<u64>) -> Result<()> {
        self.0.check_records(range)
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        self.0.refresh()
    }

    fn nodes_beside(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.0.nodes_beside(keys)
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::clone(&self.0)
    }

    fn filled(&self) -> u64 {
        self.0.filled()
    }

    fn stored_bytes(&self) -> Result<Option<u64>> {
        self.0.stored_bytes()
    }

    fn as_shared(&self) -> Option<&dyn SharedView> {
        self.0.as_shared()
    }

    fn as_selected(&self) -> Option<&SelectedView> {
        self.0.as_selected()
    }

    fn as_encoded(&self) -> Option<&dyn EncodedView> {
        self.0.as_encoded()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One line: the key, what the records are, the shape, and the units if there are any.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key().as_str().escape_debug(), self.kind())?;
        if let Some(dtype) = self.dtype() {
            write!(f, " of {dtype}")?;
        }
        write!(f, ", shape {:?}", self.shape())?;
        match units(self.attributes()) {
            Some(units) => write!(f, ", {units}"),
            None => Ok(()),
        }
    }
}

impl IntoIterator for &View {
    type Item = Result<Value>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

/// Reading.
impl dyn ArrayView + '_ {
    /// A view of a part: `view.select(s![..50, 3, .., ..;-2])?`. Nothing is read yet.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] if the selection is not within the shape;
    /// [`ErrorKind::KindMismatch`] if an index or a new axis is used on a series that is no
    /// array ([`get`](#method.get) takes an index).
    pub fn select(&self, selection: impl Into<Selection>) -> Result<View> {
        let view = SelectedView::new(self.to_arc(), &selection.into())
            .map_err(|e| e.with_key(self.key().as_str()))?;
        Ok(View(Arc::new(view)))
    }

    /// Reads everything. The array has the shape of the view.
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] if the elements are no `T`; [`ErrorKind::KindMismatch`] if
    /// the series is no array; else what the store reports.
    pub fn read<T: Element>(&self) -> Result<ArrayD<T>> {
        check_dtype::<T>(self)?;
        let (shape, len) = self.memory_shape()?;
        let elements = T::filled_with(len, |out| self.read_into(&Region::all(self.shape()), out));
        elements
            .and_then(|elements| shaped(&shape, elements))
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// Reads everything of a view whose number of axes is known: `read_dim::<f64, Ix2>()`.
    ///
    /// ```
    /// use simrecorder_core::ndarray::Ix2;
    /// use simrecorder_core::{InMemoryDataStore, Recorder, prelude::*};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("v", [1.0, 2.0])?;
    /// let v = recorder.get_all("v")?.read_dim::<f64, Ix2>()?;
    /// assert_eq!(v.row(0).sum(), 3.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`read`](#method.read), and [`ErrorKind::InvalidArgument`] if the view has another number
    /// of axes. Nothing is read then.
    pub fn read_dim<T: Element, D: Dimension>(&self) -> Result<Array<T, D>> {
        let axes = self.shape().len();
        if let Some(wanted) = D::NDIM.filter(|&wanted| wanted != axes) {
            let message = format!("the view has {axes} axes, not {wanted}; select a part of it");
            return Err(Error::new(ErrorKind::InvalidArgument, "read", message)
                .with_key(self.key().as_str()));
        }
        self.read()?
            .into_dimensionality()
            .map_err(|e| Error::new(ErrorKind::Internal, "read", e.to_string()))
    }

    /// Reads everything into a slice, in row-major order. Reading repeatedly into the same
    /// memory is faster than into new memory each time.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Recorder, prelude::*};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("v", [1.0, 2.0])?;
    /// recorder.record("v", [3.0, 4.0])?;
    /// let mut all = [0.0; 4];
    /// recorder.get_all("v")?.read_to_slice(&mut all)?;
    /// assert_eq!(all, [1.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`read`](#method.read), and [`ErrorKind::InvalidArgument`] if `out` has another length
    /// than the view has elements; `out` then holds anything.
    pub fn read_to_slice<T: Element>(&self, out: &mut [T]) -> Result<()> {
        check_dtype::<T>(self)?;
        let (_, len) = self.memory_shape()?;
        if out.len() != len {
            let message = format!("the view has {len} elements, the slice {}", out.len());
            return Err(Error::new(ErrorKind::InvalidArgument, "read", message)
                .with_key(self.key().as_str()));
        }
        T::fill(out, |out| self.read_into(&Region::all(self.shape()), out))
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// Reads everything and converts the elements as Rust's `as` does; `bool` counts as 0 and
    /// 1, and a real number becomes a complex one.
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] from complex to real; else as [`read`](#method.read).
    pub fn cast<T: Element>(&self) -> Result<ArrayD<T>> {
        let (shape, len) = self.memory_shape()?;
        let dtype = self.dtype().ok_or_else(|| no_array(self, "read()"))?;
        let region = Region::all(self.shape());
        u8::filled_with(len * dtype.size(), |out| self.read_into(&region, out))
            .and_then(|data| cast_elements(dtype, &data))
            .and_then(|elements| shaped(&shape, elements))
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// Reads everything of an array whose element type is known at run time only.
    ///
    /// # Errors
    /// As [`read`](#method.read).
    pub fn read_value(&self) -> Result<Value> {
        let (shape, len) = self.memory_shape()?;
        let dtype = self.dtype().ok_or_else(|| no_array(self, "read_value()"))?;
        let region = Region::all(self.shape());
        u8::filled_with(len * dtype.size(), |out| self.read_into(&region, out))
            .and_then(|data| ArrayValue::from_bytes(dtype, shape, data))
            .map(Value::Array)
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// One record.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] if there is none at `index`.
    pub fn get(&self, index: u64) -> Result<Value> {
        if index >= self.len() {
            let message = format!("there is no record {index}; the view has {}", self.len());
            return Err(
                Error::new(ErrorKind::OutOfBounds, "get", message).with_key(self.key().as_str())
            );
        }
        self.read_records(index..index + 1, ITER_BYTES)
            .and_then(|records| records.value(0))
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// The last record; `None` if there are none.
    ///
    /// # Errors
    /// What the store reports.
    pub fn last(&self) -> Result<Option<Value>> {
        let last = self.len().checked_sub(1);
        last.map(|index| self.get(index)).transpose()
    }

    /// All records in order. About 4 MiB of chunks are in memory at a time.
    pub fn iter(&self) -> Iter {
        Iter::new(self.to_arc())
    }

    /// Reads all rows of a ragged series.
    ///
    /// # Errors
    /// [`ErrorKind::KindMismatch`] if the series is not ragged; [`ErrorKind::TypeMismatch`] if
    /// the elements are no `T`.
    pub fn read_ragged<T: Element>(&self) -> Result<RaggedArray<T>> {
        if self.kind() != Kind::Ragged {
            return Err(no_array(self, "read_ragged()"));
        }
        check_dtype::<T>(self)?;
        let records = self.read_all_records()?;
        let item = self.schema().record_bytes().unwrap_or(0).max(1);
        let ends = records
            .ends()
            .iter()
            .map(|&end| end as usize / item)
            .collect::<Vec<_>>();
        let mut shape = vec![ends.last().copied().unwrap_or(0)];
        shape.extend(self.schema().record_shape().iter().map(|&len| len as usize));
        Ok(RaggedArray {
            values: shaped(&shape, T::decoded(records.data())?)?,
            ends,
        })
    }

    /// Reads all records of a text series.
    ///
    /// # Errors
    /// [`ErrorKind::KindMismatch`] if the series is no text.
    pub fn read_text(&self) -> Result<Vec<String>> {
        if self.kind() != Kind::Text {
            return Err(no_array(self, "read_text()"));
        }
        let records = self.read_all_records()?;
        (0..records.len())
            .map(|index| records.value(index)?.try_into())
            .collect()
    }

    /// Reads all records of a series of bytes, which were recorded as [`Blob`](crate::Blob)s.
    ///
    /// # Errors
    /// [`ErrorKind::KindMismatch`] if the series holds something else.
    pub fn read_bytes(&self) -> Result<Vec<Vec<u8>>> {
        if self.kind() != Kind::Bytes {
            return Err(no_array(self, "read_bytes()"));
        }
        let records = self.read_all_records()?;
        Ok((0..records.len())
            .filter_map(|index| records.record(index).map(<[u8]>::to_vec))
            .collect())
    }

    /// Reads all records of a series of objects, each as a `T`.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use simrecorder_core::{InMemoryDataStore, Recorder, prelude::*};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Event { time_ms: f64, name: String }
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("events", Object(Event { time_ms: 1.5, name: "stimulus".into() }))?;
    /// let events = recorder.get_all("events")?.read_objects::<Event>()?;
    /// assert_eq!(events[0].name, "stimulus");
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::KindMismatch`] if the series holds something else;
    /// [`ErrorKind::TypeMismatch`] if a record does not have the form of `T`.
    pub fn read_objects<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        if self.kind() != Kind::Object {
            return Err(no_array(self, "read_objects()"));
        }
        let records = self.read_all_records()?;
        (0..records.len())
            .map(|index| records.value(index)?.object())
            .collect::<Result<_>>()
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    fn memory_shape(&self) -> Result<(Vec<usize>, usize)> {
        if self.kind() != Kind::Array {
            return Err(no_array(self, "read()"));
        }
        let shape: Option<Vec<usize>> = self
            .shape()
            .iter()
            .map(|&len| usize::try_from(len).ok())
            .collect();
        let size = self.dtype().map_or(1, DType::size);
        let len = element_count(self.shape()).filter(|len| {
            len.checked_mul(size)
                .is_some_and(|bytes| bytes < isize::MAX as usize)
        });
        shape.zip(len).ok_or_else(|| {
            let message = format!("{:?} does not fit into memory; select a part", self.shape());
            Error::new(ErrorKind::TooLarge, "read", message).with_key(self.key().as_str())
        })
    }

    fn read_all_records(&self) -> Result<Records> {
        // Whether there is room at all: a damaged series may claim any length.
        u64::filled_with(
            usize::try_from(self.len()).unwrap_or(usize::MAX),
            |_| Ok(()),
        )
        .map_err(|e| e.with_key(self.key().as_str()))?;
        let mut all = Records::empty(Arc::clone(self.schema()));
        while all.len() < self.len() {
            let part = self.read_records(all.len()..self.len(), usize::MAX)?;
            if part.is_empty() {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "read",
                    "the store returned no records",
                ));
            }
            if all.is_empty() {
                all = part;
            } else {
                all.extend_from(&part, 0..part.len());
            }
        }
        Ok(all)
    }

    /// The index in its series of the first record of the view. It is 0 unless records were
    /// [freed](crate::backend::SharedStore::free): then views begin at the first remaining one.
    pub fn first_record(&self) -> u64 {
        self.as_shared().map_or(0, |shared| shared.first_record())
    }

    /// The writer of a record: a number that identifies each writer of the store; `None` if the
    /// store does not know, as stores with one writer do not.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] if there is no such record.
    pub fn writer_of(&self, record: u64) -> Result<Option<u64>> {
        let shared = self.as_shared();
        shared.map_or(Ok(None), |shared| shared.writer_of(record))
    }

    /// Waits until there are records after the last one of the view, but no longer than
    /// `timeout`, and returns a view of the series as it is then. The store waits without
    /// polling.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the store cannot wait, or this is a selection.
    pub fn follow(&self, timeout: Duration) -> Result<View> {
        if let Some(shared) = self.as_shared() {
            return shared.follow(timeout).map(View);
        }
        let message = "this store cannot wait for records; call refresh() repeatedly";
        Err(Error::new(ErrorKind::Unsupported, "follow", message).with_key(self.key().as_str()))
    }
}

fn check_dtype<T: Element>(view: &dyn ArrayView) -> Result<()> {
    match view.dtype() {
        Some(dtype) if dtype == T::DTYPE => Ok(()),
        Some(dtype) => {
            let message = format!(
                "the elements are {dtype}, not {}; cast::<T>() converts them",
                T::DTYPE
            );
            Err(Error::new(ErrorKind::TypeMismatch, "read", message).with_key(view.key().as_str()))
        }
        None => Err(no_array(view, "read()")),
    }
}

/// The error of a method that is for another kind.
pub(crate) fn no_array(view: &dyn ArrayView, method: &str) -> Error {
    let kind = view.kind();
    let instead = match kind {
        Kind::Array => "read(), get() and iter()",
        Kind::Ragged => "read_ragged(), get() and iter()",
        Kind::Text => "read_text(), get() and iter()",
        Kind::Bytes => "read_bytes(), get() and iter()",
        Kind::Object => "read_objects(), get() and iter()",
    };
    let message = format!("{method} does not read a series of kind {kind}; use {instead}");
    Error::new(ErrorKind::KindMismatch, "read", message).with_key(view.key().as_str())
}
