//! Searching the elements of a coordinate.

use std::cmp::Ordering;
use std::ops::Range;

use super::range::{CoordinateNumber, CoordinateRange};
use crate::error::{Error, ErrorKind, Result};

/// How many elements a binary search reads at once.
const BLOCK: u64 = 1 << 10;
/// How many elements a scan reads at once.
const PIECE: u64 = 1 << 16;

/// Elements as numbers of one of three types.
#[derive(Debug)]
pub(super) enum Numbers {
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
    Real(Vec<f64>),
}

impl Numbers {
    fn get(&self, index: usize) -> Option<CoordinateNumber> {
        match self {
            Self::Signed(elements) => elements.get(index).map(|&x| x.into()),
            Self::Unsigned(elements) => elements.get(index).map(|&x| x.into()),
            Self::Real(elements) => elements.get(index).map(|&x| x.into()),
        }
    }
}

/// A search in a coordinate, which reads no more elements than it needs.
///
/// A sorted coordinate, increasing or decreasing, is searched by bisection, which reads about `log2(len / 1024)`
/// blocks of 1024 elements. Any other coordinate is read completely, 65536 elements at a time.
pub(super) struct Search<R> {
    len: u64,
    is_sorted: bool,
    read: R,
    block: Option<(u64, Numbers)>,
}

/// The ends of a sorted coordinate.
#[derive(Clone, Copy)]
struct Order {
    first: CoordinateNumber,
    last: CoordinateNumber,
    decreases: bool,
}

impl<R: FnMut(Range<u64>) -> Result<Numbers>> Search<R> {
    pub(super) fn new(len: u64, is_sorted: bool, read: R) -> Self {
        Self {
            len,
            is_sorted,
            read,
            block: None,
        }
    }

    /// The indices of the elements in `range`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if they are not next to each other; what `read` reports.
    pub(super) fn indices_of(&mut self, range: &CoordinateRange) -> Result<Range<u64>> {
        range.check()?;
        if range.is_full() || self.len == 0 {
            return Ok(0..self.len);
        }
        if !self.is_sorted {
            return self.scan_for(range);
        }
        let order = self.order()?;
        let start = self.partition(0, order, |x| match order.decreases {
            true => range.is_below(x),
            false => range.is_above(x),
        })?;
        let end = self.partition(start, order, |x| match order.decreases {
            true => !range.is_above(x),
            false => !range.is_below(x),
        })?;
        Ok(start..end)
    }

    /// The index of the element that is nearest to `x`, the lower one of two; `None` if there are no numbers.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `x` is NaN; what `read` reports.
    pub(super) fn nearest(&mut self, x: CoordinateNumber) -> Result<Option<u64>> {
        if x.is_nan() {
            let message = "no position is nearest to NaN; give a number";
            return Err(Error::new(ErrorKind::InvalidArgument, "nearest", message));
        }
        if self.len == 0 {
            return Ok(None);
        }
        if !self.is_sorted {
            return self.scan_for_nearest(x);
        }
        let order = self.order()?;
        let before = match order.decreases {
            true => Ordering::Greater,
            false => Ordering::Less,
        };
        let at = self.partition(0, order, |y| y.compare(x) == Some(before))?;
        let Some(before) = at.checked_sub(1) else {
            return Ok(Some(at));
        };
        let is_after = at < self.len && x.is_nearer(self.get(at)?, self.get(before)?);
        Ok(Some(if is_after { at } else { before }))
    }

    fn order(&mut self) -> Result<Order> {
        let (first, last) = (self.get(0)?, self.get(self.len - 1)?);
        Ok(Order {
            first,
            last,
            decreases: last.compare(first) == Some(Ordering::Less),
        })
    }

    /// The index of the first element from `start` on that is not `before`.
    fn partition(
        &mut self,
        start: u64,
        order: Order,
        before: impl Fn(CoordinateNumber) -> bool,
    ) -> Result<u64> {
        let mut range = start..self.len;
        let (mut low, mut high) = (order.first, order.last);
        while range.start < range.end {
            let middle = range.start + (range.end - range.start) / 2;
            let x = self.get(middle)?;
            // If the elements are not sorted after all, the result of the bisection means nothing.
            let is_between = match (low.compare(x), x.compare(high)) {
                (Some(a), Some(b)) => (a.is_le() && b.is_le()) || (a.is_ge() && b.is_ge()),
                _ => false,
            };
            if !is_between {
                let message = format!(
                    "the group is marked as a timeline, but its coordinate is not sorted at index {middle}; \
                     read the coordinate, and select by index"
                );
                return Err(Error::new(ErrorKind::Corrupt, "search", message));
            }
            match before(x) {
                true => (low, range.start) = (x, middle + 1),
                false => (high, range.end) = (x, middle),
            }
        }
        Ok(range.start)
    }

    fn get(&mut self, index: u64) -> Result<CoordinateNumber> {
        let start = index / BLOCK * BLOCK;
        let block = match self.block.take() {
            Some((of, block)) if of == start => block,
            _ => (self.read)(start..self.len.min(start + BLOCK))?,
        };
        let x = block.get((index - start) as usize);
        self.block = Some((start, block));
        x.ok_or_else(|| {
            let message = "the store returned fewer elements than requested";
            Error::new(ErrorKind::Internal, "search", message)
        })
    }

    /// Calls `visit` with each element and its index.
    fn scan(&mut self, mut visit: impl FnMut(u64, CoordinateNumber)) -> Result<()> {
        let mut start = 0;
        while start < self.len {
            let end = self.len.min(start + PIECE);
            let piece = (self.read)(start..end)?;
            for (index, at) in (start..end).zip(0..) {
                if let Some(x) = piece.get(at) {
                    visit(index, x);
                }
            }
            start = end;
        }
        Ok(())
    }

    fn scan_for(&mut self, range: &CoordinateRange) -> Result<Range<u64>> {
        let mut found = 0..0;
        let mut gap = None;
        self.scan(|index, x| {
            if !range.contains(x) {
                return;
            }
            if found.is_empty() {
                found.start = index;
            } else if found.end < index {
                gap.get_or_insert((found.end - 1, index));
            }
            found.end = index + 1;
        })?;
        match gap {
            None => Ok(found),
            Some((before, after)) => {
                let message = format!(
                    "the coordinate is not sorted: its elements {before} and {after} are in the range, and none \
                     between them; read the coordinate, and select by index"
                );
                Err(Error::new(ErrorKind::InvalidArgument, "select_by", message))
            }
        }
    }

    fn scan_for_nearest(&mut self, x: CoordinateNumber) -> Result<Option<u64>> {
        let mut nearest: Option<(u64, CoordinateNumber)> = None;
        self.scan(|index, y| {
            if !y.is_nan() && nearest.is_none_or(|(_, best)| x.is_nearer(y, best)) {
                nearest = Some((index, y));
            }
        })?;
        Ok(nearest.map(|(index, _)| index))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn search(
        elements: &[f64],
        is_sorted: bool,
    ) -> Search<impl FnMut(Range<u64>) -> Result<Numbers>> {
        Search::new(elements.len() as u64, is_sorted, |range| {
            Ok(Numbers::Real(
                elements[range.start as usize..range.end as usize].to_vec(),
            ))
        })
    }

    fn indices(elements: &[f64], range: &CoordinateRange) -> Vec<u64> {
        let all = (0..).zip(elements);
        all.filter(|(_, x)| range.contains((**x).into()))
            .map(|(index, _)| index)
            .collect()
    }

    /// Strictly increasing or decreasing, in steps of a half.
    fn sorted() -> impl Strategy<Value = Vec<f64>> {
        let elements = prop::collection::btree_set(-4000_i32..4000, 0..3000);
        (elements, any::<bool>()).prop_map(|(elements, decreases): (BTreeSet<i32>, bool)| {
            let elements = elements.into_iter().map(|x| f64::from(x) / 2.0);
            match decreases {
                true => elements.rev().collect(),
                false => elements.collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn bisection_finds_what_a_look_at_every_element_finds(
            elements in sorted(), a in -2100_i32..2100, len in 0_i32..900,
        ) {
            let (a, b) = (f64::from(a), f64::from(a + len));
            let ranges: [CoordinateRange; 5] =
                [(a..b).into(), (a..=b).into(), (a..).into(), (..b).into(), (..=b).into()];
            for range in ranges {
                let expected = indices(&elements, &range);
                let found = search(&elements, true).indices_of(&range).unwrap();
                prop_assert_eq!(found.collect::<Vec<_>>(), expected.clone());
                let scanned = search(&elements, false).indices_of(&range).unwrap();
                prop_assert_eq!(scanned.collect::<Vec<_>>(), expected);
            }
            for x in [a, a + 0.25, f64::INFINITY, f64::NEG_INFINITY] {
                let nearest = search(&elements, true).nearest(x.into()).unwrap();
                if x.is_finite() {
                    let distance = |index: &u64| (elements[*index as usize] - x).abs();
                    let all = 0..elements.len() as u64;
                    let expected = all.min_by(|a, b| distance(a).total_cmp(&distance(b)));
                    prop_assert_eq!(nearest, expected);
                    prop_assert_eq!(search(&elements, false).nearest(x.into()).unwrap(), expected);
                } else {
                    prop_assert_eq!(nearest.is_some(), !elements.is_empty());
                }
            }
        }

        #[test]
        fn what_is_not_sorted_is_found_if_it_is_together_and_refused_else(
            elements in prop::collection::vec(prop_oneof![9 => -5_i32..5, 1 => Just(99)], 0..12), a in -5_i32..5,
        ) {
            let as_real = |x: &i32| if *x == 99 { f64::NAN } else { f64::from(*x) };
            let elements: Vec<_> = elements.iter().map(as_real).collect();
            let range = CoordinateRange::from(a..=a + 2);
            let expected = indices(&elements, &range);
            let is_together = expected.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            match search(&elements, false).indices_of(&range) {
                Ok(found) => prop_assert_eq!(found.collect::<Vec<_>>(), expected),
                Err(error) => {
                    prop_assert!(!is_together);
                    prop_assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                }
            }
            prop_assert_eq!(
                search(&elements, false).nearest(0.into()).unwrap().is_none(),
                elements.iter().all(|x| x.is_nan())
            );
        }
    }

    #[test]
    fn bisection_of_a_coordinate_that_is_not_sorted_is_an_error() {
        let mut elements: Vec<_> = (0..5000).map(f64::from).collect();
        for wrong in [f64::NAN, 9e9, -1.0] {
            elements[2500] = wrong;
            let found = search(&elements, true).indices_of(&(3000.0..4000.0).into());
            assert_eq!(found.unwrap_err().kind(), ErrorKind::Corrupt);
        }
        elements[0] = f64::NAN;
        assert!(search(&elements, true).nearest(3.0.into()).is_err());
    }

    #[test]
    fn a_billion_elements_take_fewer_than_fifty_reads_of_a_thousand() {
        let len = 1_000_000_000;
        let (mut reads, mut largest) = (0, 0);
        let mut search = Search::new(len, true, |range: Range<u64>| {
            reads += 1;
            largest = largest.max(range.end - range.start);
            Ok(Numbers::Unsigned(range.collect()))
        });
        let range = (123_456_789..987_654_321_u64).into();
        assert_eq!(search.indices_of(&range).unwrap(), 123_456_789..987_654_321);
        assert!(reads < 50, "{reads} reads");
        assert_eq!(largest, 1024);
    }
}
