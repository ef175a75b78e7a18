//! Coordinates that are not series: values, and those that are defined by their first element and a step.

use std::ops::Range;
use std::sync::Arc;

use super::Axis;
use crate::backend::{count_records, read_fixed};
use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::{ArrayValue, Value};
use crate::reading::selection::Region;
use crate::store::array_view::ArrayView;
use crate::store::node::Node;

/// A coordinate in memory of one axis of a view.
#[derive(Clone, Debug)]
pub(super) struct ComputedCoordinate {
    /// The view that it is a coordinate of.
    of: Arc<dyn ArrayView>,
    axis: usize,
    key: Key,
    schema: Arc<Schema>,
    shape: [u64; 1],
    chunk_shape: [u64; 1],
    elements: Elements,
}

#[derive(Clone, Debug)]
enum Elements {
    Stored(Arc<ArrayValue>),
    Integers { first: i64, step: i64 },
    Reals { first: f64, step: f64 },
}

impl ComputedCoordinate {
    fn new(
        axis: &Axis<'_>,
        key: Key,
        elements: Elements,
        len: u64,
        attributes: Attributes,
    ) -> Self {
        let dtype = match &elements {
            Elements::Stored(array) => array.dtype(),
            Elements::Integers { .. } => DType::I64,
            Elements::Reals { .. } => DType::F64,
        };
        let schema = Schema::array_of(dtype, []).with_dimension_names([key.name()]);
        Self {
            of: axis.view.to_arc(),
            axis: axis.number,
            schema: Arc::new(schema.with_attributes(attributes)),
            key,
            shape: [len],
            chunk_shape: [len.max(1)],
            elements,
        }
    }

    /// The elements of a value with one axis.
    pub(super) fn of_value(
        axis: &Axis<'_>,
        key: Key,
        value: ArrayValue,
        attributes: Attributes,
    ) -> Self {
        let len = value.len() as u64;
        let elements = Elements::Stored(Arc::new(value));
        Self::new(axis, key, elements, len, attributes)
    }

    /// An evenly spaced coordinate as H5MD stores it: a scalar is the step, and its attribute `offset` the first
    /// element, by default 0. `None` if the scalar is not a real number.
    pub(super) fn evenly_spaced(
        axis: &Axis<'_>,
        key: Key,
        step: ArrayValue,
        attributes: Attributes,
    ) -> Result<Option<Self>> {
        if !is_real(step.dtype()) {
            return Ok(None);
        }
        let offset = attributes.get("offset");
        let not_even = |message: &str| Error::new(ErrorKind::Corrupt, "coordinate", message);
        let is_integer = !step.dtype().is_floating()
            && offset.is_none_or(|offset| offset.is_i64() || offset.is_u64());
        let scalar = Value::Array(step);
        let len = axis.view.shape().get(axis.number).copied().unwrap_or(0);
        let elements = if is_integer {
            let first = offset.map_or(Some(0), serde_json::Value::as_i64);
            let step = scalar.cast::<i64>()?.first().copied();
            let (first, step) = first
                .zip(step)
                .ok_or_else(|| not_even("the offset does not fit into 64 bits"))?;
            let last = i128::from(step) * i128::from(len) + i128::from(first);
            i64::try_from(last)
                .map_err(|_| not_even("the last element does not fit into 64 bits"))?;
            Elements::Integers { first, step }
        } else {
            let first = offset.map_or(Some(0.0), serde_json::Value::as_f64);
            let step = scalar.cast::<f64>()?.first().copied();
            let (first, step) = first
                .zip(step)
                .ok_or_else(|| not_even("the attribute 'offset' is not a number"))?;
            Elements::Reals { first, step }
        };
        Ok(Some(Self::new(axis, key, elements, len, attributes)))
    }
}

impl ComputedCoordinate {
    /// Whether it is evenly spaced, and strictly increases or decreases.
    pub(super) fn is_strict(&self) -> bool {
        match self.elements {
            Elements::Stored(_) => false,
            Elements::Integers { step, .. } => step != 0,
            Elements::Reals { first, step } => {
                let last = first + step * self.shape[0] as f64;
                step != 0.0 && last.is_finite()
            }
        }
    }
}

/// Whether the elements are real numbers, so that they have an order.
pub(super) fn is_real(dtype: DType) -> bool {
    !matches!(dtype, DType::Bool | DType::Complex64 | DType::Complex128)
}

impl ArrayView for ComputedCoordinate {
    fn key(&self) -> &Key {
        &self.key
    }

    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn chunk_shape(&self) -> &[u64] {
        &self.chunk_shape
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let size = self.dtype().map_or(1, DType::size);
        region.check(&self.shape, size, out.len())?;
        let Some(part) = region.axes().first() else {
            return Ok(());
        };
        let indices = (0..part.count).map(|i| part.start + i * part.step);
        for (out, index) in out.chunks_exact_mut(size).zip(indices) {
            match &self.elements {
                Elements::Stored(array) => {
                    let start = index as usize * size;
                    out.copy_from_slice(&array.as_bytes()[start..start + size]);
                }
                Elements::Integers { first, step } => {
                    let x = step.wrapping_mul(index as i64).wrapping_add(*first);
                    out.copy_from_slice(&x.to_ne_bytes());
                }
                Elements::Reals { first, step } => {
                    let x = first + step * index as f64;
                    out.copy_from_slice(&x.to_ne_bytes());
                }
            }
        }
        Ok(())
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        count_records(&range, &self.shape)?;
        read_fixed(self, range, max_bytes)
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let now = self.of.refresh()?;
        let axis = Axis::of(&*now, self.axis);
        let found = axis.map_or(Ok(None), |axis| axis.coordinate(self.key.name()))?;
        found.map(|found| found.view).ok_or_else(|| {
            let message = "the coordinate no longer exists";
            Error::new(ErrorKind::NotFound, "refresh", message).with_key(self.key.as_str())
        })
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.of.sibling_nodes(keys)
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }
}
