//! Comparing the elements and records of one key.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::dtype::{DType, Element, Number};
use crate::model::kind::Kind;
use crate::model::records::Records;
use crate::model::value::{ArrayValue, Value};
use crate::reading::view::View;
use crate::store::array_view::ArrayView;
use crate::tools::compare::criterion::{Criterion, Distance, Verdict};
use crate::tools::compare::difference::{Side, ValueDifference};
use crate::tools::copy::reader::read_block;

/// The error of a part that could not be read, and its recording.
pub(super) type Unreadable = (Side, Error);

/// The records of a view, read in whole chunks. Keeps the last ones.
pub(super) struct Blocks<'a> {
    view: &'a View,
    side: Side,
    first: u64,
    records: Records,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(view: &'a View, side: Side) -> Self {
        Self {
            view,
            side,
            first: 0,
            records: Records::empty(Arc::clone(view.schema())),
        }
    }

    /// Reads records from the start of `range` on, and returns their indices among those in memory.
    fn load(&mut self, range: Range<u64>) -> Result<Range<u64>, Unreadable> {
        let in_memory = self.first..self.first + self.records.len();
        if !in_memory.contains(&range.start) {
            let read = read_block(self.view, range.start..self.view.len());
            self.records = read.map_err(|error| (self.side, error))?;
            self.first = range.start;
        }
        let end = range.end.min(self.first + self.records.len());
        Ok(range.start - self.first..end - self.first)
    }
}

/// The differences so far between the values or the records of one key.
pub(super) struct Comparer<'a> {
    criterion: &'a Criterion,
    pub(super) record_count: u64,
    totals: Totals,
    first: Option<First>,
}

#[derive(Default)]
struct Totals {
    compared: u64,
    differing: u64,
    both_nan: u64,
    largest_absolute: Option<f64>,
    largest_relative: Option<f64>,
}

/// The first difference: its index in A, its record in B, and the two values.
struct First {
    index: Vec<u64>,
    record_in_b: Option<u64>,
    a: Value,
    b: Value,
}

impl<'a> Comparer<'a> {
    pub(super) fn new(criterion: &'a Criterion) -> Self {
        Self {
            criterion,
            record_count: 0,
            totals: Totals::default(),
            first: None,
        }
    }

    pub(super) fn finish(self) -> Option<ValueDifference> {
        let (totals, first) = (self.totals, self.first?);
        Some(ValueDifference {
            differing: totals.differing,
            compared: totals.compared,
            both_nan: totals.both_nan,
            largest_absolute: totals.largest_absolute,
            largest_relative: totals.largest_relative,
            index: first.index,
            record_in_b: first.record_in_b,
            a: first.a,
            b: first.b,
        })
    }

    /// Compares `len` records, from record `a` of one view and `b` of the other on.
    pub(super) fn compare_records(
        &mut self,
        (in_a, in_b): (&mut Blocks<'_>, &mut Blocks<'_>),
        (mut a, mut b): (u64, u64),
        len: u64,
    ) -> Result<(), Unreadable> {
        let end = a + len;
        while a < end {
            let of_a = in_a.load(a..end)?;
            let of_b = in_b.load(b..b + (end - a))?;
            let count = (of_a.end - of_a.start).min(of_b.end - of_b.start);
            let part = |of: Range<u64>| of.start..of.start + count;
            let parts = (
                Part::new(in_a, part(of_a), a),
                Part::new(in_b, part(of_b), b),
            );
            self.compare_parts(parts.0, parts.1)?;
            (a, b) = (a + count, b + count);
            self.record_count += count;
        }
        Ok(())
    }

    fn compare_parts(&mut self, a: Part<'_>, b: Part<'_>) -> Result<(), Unreadable> {
        let schema = a.records.schema();
        if let (Kind::Array, Some(dtype)) = (schema.kind(), schema.dtype()) {
            let size = schema.record_bytes().unwrap_or(0);
            let elements = (a.elements(dtype, size)?, b.elements(dtype, size)?);
            return self.compare_elements(elements, schema.record_shape(), Some((a.at, b.at)));
        }
        for record in 0..a.range.end - a.range.start {
            self.totals.compared += 1;
            if !self.compare_record(&a, &b, record)? {
                continue;
            }
            self.totals.differing += 1;
            if self.first.is_none() {
                self.first = Some(First {
                    index: vec![a.at + record],
                    record_in_b: Some(b.at + record),
                    a: a.value(record)?,
                    b: b.value(record)?,
                });
            }
        }
        Ok(())
    }

    /// Whether two records without a fixed size differ.
    fn compare_record(
        &mut self,
        a: &Part<'_>,
        b: &Part<'_>,
        record: u64,
    ) -> Result<bool, Unreadable> {
        let bytes = (a.bytes(record), b.bytes(record));
        let Some(dtype) = a
            .records
            .schema()
            .dtype()
            .filter(|_| bytes.0.len() == bytes.1.len())
        else {
            return Ok(bytes.0 != bytes.1);
        };
        let elements = (a.decode(dtype, bytes.0)?, b.decode(dtype, bytes.1)?);
        let mut differs = false;
        elements.0.scan(&elements.1, self.criterion, |_, distance| {
            self.totals.add(distance);
            differs = true;
        });
        Ok(differs)
    }

    /// Compares the elements of arrays of `shape`, the first of which is record `at` of its series.
    fn compare_elements(
        &mut self,
        (a, b): (Elements, Elements),
        shape: &[u64],
        at: Option<(u64, u64)>,
    ) -> Result<(), Unreadable> {
        self.totals.compared += a.len() as u64;
        let mut first = None;
        a.scan(&b, self.criterion, |index, distance| {
            self.totals.differing += 1;
            self.totals.add(distance);
            first.get_or_insert(index);
        });
        let Some(first) = first.filter(|_| self.first.is_none()) else {
            return Ok(());
        };
        let per_record = shape.iter().product::<u64>().max(1);
        let record = first as u64 / per_record;
        let mut index: Vec<u64> = at.iter().map(|at| at.0 + record).collect();
        index.extend(unravelled(first as u64 % per_record, shape));
        self.first = Some(First {
            index,
            record_in_b: at.map(|at| at.1 + record),
            a: a.value(first).map_err(|error| (Side::A, error))?,
            b: b.value(first).map_err(|error| (Side::B, error))?,
        });
        Ok(())
    }

    /// Compares two values, which both are of one kind, element type and shape.
    pub(super) fn compare_values(&mut self, a: &Value, b: &Value) -> Result<(), Unreadable> {
        if let (Value::Array(a), Value::Array(b)) = (a, b) {
            let shape: Vec<u64> = a.shape().iter().map(|&len| len as u64).collect();
            let decode = |side, array: &ArrayValue| {
                let elements = Elements::decode(array.dtype(), array.as_bytes());
                elements.map_err(|error| (side, error))
            };
            let elements = (decode(Side::A, a)?, decode(Side::B, b)?);
            return self.compare_elements(elements, &shape, None);
        }
        self.totals.compared += 1;
        if a != b {
            self.totals.differing += 1;
            self.first = Some(First {
                index: Vec::new(),
                record_in_b: None,
                a: a.clone(),
                b: b.clone(),
            });
        }
        Ok(())
    }
}

impl Totals {
    fn add(&mut self, distance: Distance) {
        match distance {
            Distance::BothNan => self.both_nan += 1,
            Distance::None => {}
            Distance::Number { absolute, relative } => {
                let larger = |largest: Option<f64>, x: f64| Some(largest.map_or(x, |it| it.max(x)));
                self.largest_absolute = larger(self.largest_absolute, absolute);
                self.largest_relative = larger(self.largest_relative, relative);
            }
        }
    }
}

/// Records in memory, the first of which is record `at` of its series.
struct Part<'a> {
    records: &'a Records,
    side: Side,
    range: Range<u64>,
    at: u64,
}

impl<'a> Part<'a> {
    fn new(blocks: &'a Blocks<'_>, range: Range<u64>, at: u64) -> Self {
        Self {
            records: &blocks.records,
            side: blocks.side,
            range,
            at,
        }
    }

    /// The elements of all records, which have `size` bytes each.
    fn elements(&self, dtype: DType, size: usize) -> Result<Elements, Unreadable> {
        let bytes = self.range.start as usize * size..self.range.end as usize * size;
        self.decode(dtype, &self.records.data()[bytes])
    }

    fn decode(&self, dtype: DType, bytes: &[u8]) -> Result<Elements, Unreadable> {
        Elements::decode(dtype, bytes).map_err(|error| (self.side, error))
    }

    fn bytes(&self, record: u64) -> &[u8] {
        self.records
            .record(self.range.start + record)
            .unwrap_or_default()
    }

    fn value(&self, record: u64) -> Result<Value, Unreadable> {
        let value = self.records.value(self.range.start + record);
        value.map_err(|error| (self.side, error))
    }
}

/// The indices along the axes of `shape` of the element at `index`, in row-major order.
fn unravelled(mut index: u64, shape: &[u64]) -> Vec<u64> {
    let mut indices = vec![0; shape.len()];
    for (place, len) in indices.iter_mut().zip(shape).rev() {
        *place = index % len.max(&1);
        index /= len.max(&1);
    }
    indices
}

macro_rules! elements {
    ($($dtype:ident($type:ty),)*) => {
        /// Elements of any type.
        pub(super) enum Elements {
            $($dtype(Vec<$type>),)*
        }

        impl Elements {
            pub(super) fn decode(dtype: DType, bytes: &[u8]) -> Result<Self> {
                Ok(match dtype {
                    $(DType::$dtype => Self::$dtype(<$type>::decoded(bytes)?),)*
                })
            }

            fn len(&self) -> usize {
                match self {
                    $(Self::$dtype(elements) => elements.len(),)*
                }
            }

            pub(super) fn number(&self, index: usize) -> Option<Number> {
                match self {
                    $(Self::$dtype(elements) => elements.get(index).map(|x| x.to_number()),)*
                }
            }

            pub(super) fn value(&self, index: usize) -> Result<Value> {
                match self {
                    $(Self::$dtype(elements) => Value::new(elements[index]),)*
                }
            }

            /// Calls `differs` with the index of each element that differs, and the difference.
            fn scan(&self, other: &Self, criterion: &Criterion, differs: impl FnMut(usize, Distance)) {
                match (self, other) {
                    $((Self::$dtype(a), Self::$dtype(b)) => scan(a, b, criterion, differs),)*
                    _ => {}
                }
            }
        }
    };
}

elements! {
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    F16(half::f16),
    BF16(half::bf16),
    F32(f32),
    F64(f64),
    Complex64(num_complex::Complex32),
    Complex128(num_complex::Complex64),
}

fn scan<T: Element>(
    a: &[T],
    b: &[T],
    criterion: &Criterion,
    mut differs: impl FnMut(usize, Distance),
) {
    for (index, (a, b)) in a.iter().zip(b).enumerate().filter(|(_, (a, b))| a != b) {
        match criterion.judge(a.to_number(), b.to_number()) {
            _ if T::DTYPE == DType::Bool => differs(index, Distance::None),
            Verdict::Same => {}
            Verdict::Different(distance) => differs(index, distance),
        }
    }
}
