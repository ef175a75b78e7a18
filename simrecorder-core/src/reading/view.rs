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

/// A lazy, read-only handle on one series. It keeps the length that the series had when the view was taken, and reads
/// only the chunks that a method needs.
///
/// It dereferences to `dyn ArrayView`, whose methods need no import. Cloning is cheap.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::ndarray::s;
/// use simrecorder::{InMemoryDataStore, Recorder};
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
    /// Returns a view of the same series with its current length. It has at least as many records as this one, unless
    /// the series was truncated or replaced, or records were [freed](crate::backend::SharedStore::free).
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/rate", 0.5)?;
    /// let rate = recorder.get_all("net/rate")?;
    /// recorder.record("net/rate", 0.25)?;
    /// recorder.flush()?;
    /// assert_eq!((rate.len(), rate.refresh()?.len()), (1, 2));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the series no longer exists, [`ErrorKind::OutOfBounds`] if a
    /// selection is no longer within it; otherwise the error of the store.
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

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.0.sibling_nodes(keys)
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

/// One line with the key, the kind and element type, the shape, and the units if there are any.
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
    /// Returns a view of a part, without reading it. The [`Selection`] is a range, an index, or the `s!` of `ndarray`.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::ndarray::s;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..100 {
    ///     recorder.record("net/v", [f64::from(step), -65.0, -64.5])?;
    /// }
    /// let v = recorder.get_all("net/v")?;
    /// let first_neuron = v.select(s![.., 0])?;
    /// assert_eq!(first_neuron.shape(), [100]);
    /// assert_eq!(first_neuron.select(..3)?.read::<f64>()?.sum(), 3.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] if the selection is not within the shape;
    /// [`ErrorKind::KindMismatch`] for an index or a new axis if the series is not an array ([`get`](#method.get)
    /// reads a record of any series).
    pub fn select(&self, selection: impl Into<Selection>) -> Result<View> {
        let view = SelectedView::new(self.to_arc(), &selection.into())
            .map_err(|e| e.with_key(self.key().as_str()))?;
        Ok(View(Arc::new(view)))
    }

    /// Reads everything into an array with the shape of the view.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/v", [-65.0, -64.5])?;
    /// recorder.record("net/v", [-64.0, -63.5])?;
    /// let v = recorder.get_all("net/v")?.read::<f64>()?;
    /// assert_eq!(v.shape(), [2, 2]);
    /// assert_eq!(v[[1, 0]], -64.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] if the element type is not `T`; [`ErrorKind::KindMismatch`] if the series is not an
    /// array; otherwise the error of the store.
    pub fn read<T: Element>(&self) -> Result<ArrayD<T>> {
        check_dtype::<T>(self)?;
        let (shape, len) = self.memory_shape()?;
        let elements = T::filled_with(len, |out| self.read_into(&Region::all(self.shape()), out));
        elements
            .and_then(|elements| shaped(&shape, elements))
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// Reads everything into an array with a known number of axes.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::ndarray::Ix2;
    /// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("v", [1.0, 2.0])?;
    /// let v = recorder.get_all("v")?.read_dim::<f64, Ix2>()?;
    /// assert_eq!(v.row(0).sum(), 3.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`read`](#method.read), and [`ErrorKind::InvalidArgument`] if the view has another number
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

    /// Reads everything into a slice, in row-major order. Reusing one slice is faster than allocating memory for each
    /// read.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
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
    /// As for [`read`](#method.read), and [`ErrorKind::InvalidArgument`] if the length of `out` is not the number of
    /// elements. After an error, the contents of `out` are unspecified.
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

    /// Reads everything and converts the elements as Rust's `as` does. A `bool` becomes 0 or 1, and a real number a
    /// complex one.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/spike_count", 12_u32)?;
    /// let counts = recorder.get_all("net/spike_count")?.cast::<f64>()?;
    /// assert_eq!(counts[0], 12.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] from complex to real; otherwise as for [`read`](#method.read).
    pub fn cast<T: Element>(&self) -> Result<ArrayD<T>> {
        let (shape, len) = self.memory_shape()?;
        let dtype = self.dtype().ok_or_else(|| no_array(self, "read()"))?;
        let region = Region::all(self.shape());
        u8::filled_with(len * dtype.size(), |out| self.read_into(&region, out))
            .and_then(|data| cast_elements(dtype, &data))
            .and_then(|elements| shaped(&shape, elements))
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// Reads everything of an array whose element type is known only at run time.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{DType, InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/v", [-65.0_f32, -64.5])?;
    /// let v = recorder.get_all("net/v")?.read_value()?;
    /// if v.dtype() == Some(DType::F32) {
    ///     assert_eq!(v.array::<f32>()?.shape(), [1, 2]);
    /// }
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`read`](#method.read).
    pub fn read_value(&self) -> Result<Value> {
        let (shape, len) = self.memory_shape()?;
        let dtype = self.dtype().ok_or_else(|| no_array(self, "read_value()"))?;
        let region = Region::all(self.shape());
        u8::filled_with(len * dtype.size(), |out| self.read_into(&region, out))
            .and_then(|data| ArrayValue::from_bytes(dtype, shape, data))
            .map(Value::Array)
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// Reads one record of any kind.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..100 {
    ///     recorder.record("log", format!("step {step}"))?;
    /// }
    /// assert_eq!(recorder.get_all("log")?.get(42)?.as_str()?, "step 42");
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
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

    /// Reads the last record; `None` if there are none.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/rate", 0.5)?;
    /// let last = recorder.get_all("net/rate")?.last()?.unwrap();
    /// assert_eq!(last.scalar::<f64>()?, 0.5);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of the store.
    pub fn last(&self) -> Result<Option<Value>> {
        let last = self.len().checked_sub(1);
        last.map(|index| self.get(index)).transpose()
    }

    /// Iterates over all records in order. It keeps about 4 MiB of chunks in memory.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..1000 {
    ///     recorder.record("net/v", [f64::from(step), 1.0])?;
    /// }
    /// let mut largest = f64::MIN;
    /// for v in recorder.get_all("net/v")?.iter() {
    ///     largest = v?.array::<f64>()?.fold(largest, |a, b| a.max(*b));
    /// }
    /// assert_eq!(largest, 999.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn iter(&self) -> Iter {
        Iter::new(self.to_arc())
    }

    /// Reads all rows of a ragged series.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Ragged, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/spikes", Ragged(&[3_u32, 1, 4]))?;
    /// recorder.record("net/spikes", Ragged(&[5_u32]))?;
    /// let spikes = recorder.get_all("net/spikes")?.read_ragged::<u32>()?;
    /// assert_eq!(spikes.row(0).unwrap().len(), 3);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::KindMismatch`] if the series is not ragged; [`ErrorKind::TypeMismatch`] if the element type is not
    /// `T`.
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
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("log", "started")?;
    /// assert_eq!(recorder.get_all("log")?.read_text()?, ["started"]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::KindMismatch`] if the series is not text.
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
    /// ```
    /// # use simrecorder_core::{Blob, InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("frames", Blob(b"one frame"))?;
    /// assert_eq!(recorder.get_all("frames")?.read_bytes()?, [b"one frame"]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::KindMismatch`] if the series is of another kind.
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
    /// # use simrecorder_core as simrecorder;
    /// use serde::{Deserialize, Serialize};
    /// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
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
    /// [`ErrorKind::KindMismatch`] if the series is of another kind;
    /// [`ErrorKind::TypeMismatch`] if a record cannot be deserialised as a `T`.
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

    /// Returns the index in the series of the first record of the view. It is 0 unless records were
    /// [freed](crate::backend::SharedStore::free): then views begin at the first remaining record.
    pub fn first_record(&self) -> u64 {
        self.as_shared().map_or(0, |shared| shared.first_record())
    }

    /// Returns the writer of a record, as a number that identifies each writer of the store. `None` if the store does
    /// not keep it, such as a store with one writer.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] if there is no such record.
    pub fn writer_of(&self, record: u64) -> Result<Option<u64>> {
        let shared = self.as_shared();
        shared.map_or(Ok(None), |shared| shared.writer_of(record))
    }

    /// Waits for records after the last one of the view, at most for `timeout`, and returns a view of the series with
    /// its current length. The store waits without polling.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use std::time::Duration;
    ///
    /// use simrecorder::{ErrorKind, InMemoryDataStore, Recorder, Result, View};
    ///
    /// fn wait_for_records(view: &View) -> Result<View> {
    ///     match view.follow(Duration::from_secs(1)) {
    ///         Err(error) if error.kind() == ErrorKind::Unsupported => view.refresh(), // a store with one writer
    ///         newer => newer,
    ///     }
    /// }
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// # recorder.record("net/rate", 0.5)?;
    /// # assert_eq!(wait_for_records(&recorder.get_all("net/rate")?)?.len(), 1);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the store cannot wait, or if the view is a selection.
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

/// The error of a method that does not read series of this kind.
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
