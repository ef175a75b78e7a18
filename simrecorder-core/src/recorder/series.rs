//! Handles of single series.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use super::parts::Parts;
use super::series_buffer::SeriesBuffer;
use crate::backend::fork::ProcessLocal;
use crate::error::Result;
use crate::model::dtype::Element;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::record::{IntoValue, RecordRef};
use crate::model::schema::Schema;
use crate::store::errors::clash;

/// A handle for one series with elements of type `T`, for hot loops. [`Recorder::series`](crate::Recorder::series)
/// returns it.
///
/// The recorder stays open until its handles are dropped.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let rate = recorder.series::<f64>("net/rate")?;
/// for step in 0..1000 {
///     rate.record(step as f64)?;
/// }
/// assert_eq!(recorder.get_all("net/rate")?.shape(), [1000]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// The compiler checks the element type, of literals too: `series::<u64>(…)` takes `1_u64`, not `1`.
///
/// ```compile_fail
/// # use simrecorder_core::{InMemoryDataStore, Recorder};
/// # let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.series::<f64>("net/rate")?.record(1_u32)?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Series<T> {
    /// `None` for a disabled recorder.
    parts: Option<Arc<ProcessLocal<Parts>>>,
    key: Box<str>,
    buffer: OnceLock<Arc<SeriesBuffer>>,
    element: PhantomData<fn(T)>,
}

impl<T: Element> Series<T> {
    pub(super) fn new(parts: Option<Arc<ProcessLocal<Parts>>>, key: &str) -> Result<Self> {
        let operation = "open series";
        let buffer = OnceLock::new();
        if let Some(parts) = &parts {
            let parts = parts.get(operation).map_err(|e| e.with_key(key))?;
            parts.stores.check_running(operation)?;
            let key = Key::new(key)?;
            let clash = |key: &Key, is| clash(operation, key, is, NodeKind::Series);
            if let Some(schema) = parts.keys.series_schema(&key, clash)? {
                if schema.dtype() != Some(T::DTYPE) {
                    let wanted = schema.with_elements_of::<T>();
                    let error = schema.mismatch_of(&wanted).with_operation(operation);
                    return Err(error.with_key(key.as_str()));
                }
                let create = || Schema::clone(&schema);
                let series = parts.keys.find_or_create(key.as_str(), create)?;
                buffer.set(series).unwrap_or_default();
            }
        }
        Ok(Self {
            parts,
            key: key.into(),
            buffer,
            element: PhantomData,
        })
    }

    /// Appends a record: a scalar, a slice or an array of `T`, or a [`Ragged`](crate::Ragged) row.
    ///
    /// # Errors
    /// As for [`Recorder::record`](crate::Recorder::record).
    #[inline]
    pub fn record(&self, value: impl IntoValue<Element = T>) -> Result<()> {
        let Some(parts) = &self.parts else {
            return Ok(());
        };
        let parts = parts.get("record").map_err(|e| e.with_key(&*self.key))?;
        if let (Some(scalar), Some(buffer)) = (value.as_scalar(), self.buffer.get())
            && parts.fast_path.push(buffer, |b| b.try_push_scalar(scalar))
        {
            return Ok(());
        }
        self.record_any(parts, &value)
    }

    // Takes the value and not a record of it, so that the caller keeps a scalar in registers.
    #[inline(never)]
    fn record_any(&self, parts: &Parts, value: &impl IntoValue<Element = T>) -> Result<()> {
        let record = |record: &RecordRef<'_>| match self.buffer.get() {
            Some(buffer) if parts.fast_path.push(buffer, |b| b.try_push(record)) => Ok(()),
            _ => {
                let series = parts.keys.record(&self.key, record)?;
                self.buffer.get_or_init(|| series);
                Ok(())
            }
        };
        value
            .as_record()
            .and_then(|of_value| record(&of_value))
            .map_err(|e| e.with_key(&*self.key).with_operation("record"))
    }

    /// The key of the series.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl<T> fmt::Debug for Series<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
