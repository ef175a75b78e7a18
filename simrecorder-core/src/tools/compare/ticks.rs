//! The common ticks of two timelines.

use std::cmp::Ordering;
use std::ops::Range;

use crate::error::Result;
use crate::model::dtype::{DType, Number};
use crate::model::value::Value;
use crate::reading::selection::Region;
use crate::reading::view::View;
use crate::store::array_view::ArrayView;
use crate::tools::compare::criterion::{distance, magnitude};
use crate::tools::compare::difference::{DifferenceKind, Side};
use crate::tools::compare::values::{Elements, Unreadable};

/// How many coordinates are read at once.
const BLOCK: u64 = 1 << 16;
/// The most runs of common ticks that are kept; if there are more, the coordinates are read for each series.
const MAX_RUNS: usize = 1 << 12;
/// Floating-point coordinates that are this close, relative to their size or to the step between ticks, are
/// the same tick, since programs that compute a time in different ways get different last bits.
const CLOSE: f64 = 1e-9;

/// Consecutive ticks that both timelines have: the index of the first in each, and their number.
pub(super) type Run = (u64, u64, u64);

/// The ticks of two timelines.
pub(super) struct Ticks {
    a: View,
    b: View,
    /// All runs of common ticks; `None` if there are too many.
    runs: Option<Vec<Run>>,
}

/// Ticks that one timeline has.
#[derive(Default)]
struct Only {
    count: u64,
    first: Option<Value>,
    last: Option<Value>,
}

impl Ticks {
    /// Finds the common ticks of two timelines with these coordinates, and the differences. `None` if the
    /// coordinates cannot be compared.
    pub(super) fn new(a: View, b: View) -> Result<Option<(Self, Vec<DifferenceKind>)>, Unreadable> {
        let types = [DType::F64, DType::I64, DType::U64];
        if a.dtype() != b.dtype() || !a.dtype().is_some_and(|dtype| types.contains(&dtype)) {
            return Ok(None);
        }
        let mut ticks = Self { a, b, runs: None };
        let (mut runs, mut only) = (Vec::new(), [Only::default(), Only::default()]);
        ticks.join(
            |run| {
                if runs.len() <= MAX_RUNS {
                    runs.push(run);
                }
                Ok(())
            },
            |side, value| only[side as usize].add(value),
        )?;
        ticks.runs = (runs.len() <= MAX_RUNS).then_some(runs);
        let coordinate = ticks.a.key().name().to_owned();
        let differences = [Side::A, Side::B].into_iter().zip(only);
        let differences = differences.filter_map(|(side, only)| {
            Some(DifferenceKind::Ticks {
                coordinate: coordinate.clone(),
                side,
                count: only.count,
                first: only.first?,
                last: only.last?,
            })
        });
        let differences = differences.collect();
        Ok(Some((ticks, differences)))
    }

    /// Calls `visit` with each run of common ticks.
    pub(super) fn for_each_run(
        &self,
        mut visit: impl FnMut(Run) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        match &self.runs {
            Some(runs) => runs.iter().try_for_each(|run| visit(*run)),
            None => self.join(visit, |_, _| {}),
        }
    }

    fn join(
        &self,
        mut both: impl FnMut(Run) -> Result<(), Unreadable>,
        mut only: impl FnMut(Side, Value),
    ) -> Result<(), Unreadable> {
        let (mut in_a, mut in_b) = (
            Coordinates::new(&self.a, Side::A),
            Coordinates::new(&self.b, Side::B),
        );
        let (mut a, mut b, mut run) = (0, 0, (0, 0, 0));
        let mut before = None;
        loop {
            let order = match (in_a.number(a)?, in_b.number(b)?) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(x), Some(y)) => {
                    let step = before.map_or(0.0, |before| distance(before, x));
                    before = Some(x);
                    order(x, y, step)
                }
            };
            if order == Ordering::Equal {
                if run.2 == 0 {
                    run = (a, b, 0);
                }
                run.2 += 1;
                (a, b) = (a + 1, b + 1);
                continue;
            }
            if run.2 > 0 {
                both(std::mem::take(&mut run))?;
            }
            match order {
                Ordering::Less => {
                    only(Side::A, in_a.value(a)?);
                    a += 1;
                }
                _ => {
                    only(Side::B, in_b.value(b)?);
                    b += 1;
                }
            }
        }
        match run.2 {
            0 => Ok(()),
            _ => both(run),
        }
    }
}

impl Only {
    fn add(&mut self, value: Value) {
        self.count += 1;
        self.first.get_or_insert_with(|| value.clone());
        self.last = Some(value);
    }
}

/// The order of two coordinates; `step` is the distance between ticks.
fn order(a: Number, b: Number, step: f64) -> Ordering {
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
        (Number::Real(x), Number::Real(y)) => {
            let scale = magnitude(a).max(magnitude(b)).max(step);
            match x == y || distance(a, b) <= CLOSE * scale && scale.is_finite() {
                true => Ordering::Equal,
                // Puts NaN last, which no timeline writes.
                false => x.total_cmp(&y),
            }
        }
        _ => Ordering::Less,
    }
}

/// The coordinates of a timeline, read in blocks.
struct Coordinates<'a> {
    view: &'a View,
    side: Side,
    in_memory: Range<u64>,
    elements: Option<Elements>,
}

impl<'a> Coordinates<'a> {
    fn new(view: &'a View, side: Side) -> Self {
        Self {
            view,
            side,
            in_memory: 0..0,
            elements: None,
        }
    }

    fn number(&mut self, index: u64) -> Result<Option<Number>, Unreadable> {
        if index >= self.view.len() {
            return Ok(None);
        }
        if !self.in_memory.contains(&index) {
            let range = index..self.view.len().min(index + BLOCK);
            let read = self.read(range.clone());
            self.elements = Some(read.map_err(|error| (self.side, error))?);
            self.in_memory = range;
        }
        let index = (index - self.in_memory.start) as usize;
        Ok(self.elements.as_ref().and_then(|it| it.number(index)))
    }

    fn read(&self, range: Range<u64>) -> Result<Elements> {
        let dtype = self.view.dtype().unwrap_or(DType::F64);
        let mut bytes = vec![0; (range.end - range.start) as usize * dtype.size()];
        let region = Region::records(range, self.view.shape());
        self.view.read_into(&region, &mut bytes)?;
        Elements::decode(dtype, &bytes)
    }

    /// The coordinate at `index`, which was read as a number before.
    fn value(&self, index: u64) -> Result<Value, Unreadable> {
        let index = (index - self.in_memory.start) as usize;
        let value = self.elements.as_ref().map(|it| it.value(index));
        let value = value.unwrap_or_else(|| self.view.get(self.in_memory.start + index as u64));
        value.map_err(|error| (self.side, error))
    }
}
