//! The data of a plot: a view, and the positions of its records on the axis.

use std::ops::{Range, RangeInclusive};

use simrecorder::backend::{Node, Records};
use simrecorder::{ArrayView, DType, DataStore, Error, ErrorKind, Extent, Kind, View};

#[cfg(feature = "serve")]
use super::Window;
use super::figure::range_of;
use super::pyramid::Summary;
use crate::args::RangeArgs;
use crate::blocks::for_each_block;
use crate::element::{Element, scalar};
use crate::exit::{Failure, Result};
use crate::recording;

/// Up to this many coordinates are read one by one, so that they need not be sorted.
pub(crate) const SCANNED: u64 = 1 << 16;

/// A plot uses a summary if each column contains at least this many of its blocks.
const BLOCKS_PER_PART: u64 = 4;

/// A view with the name that the plot shows.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) label: String,
    pub(crate) view: View,
    /// Whether the first axis is the axis of records, not one within a record.
    pub(crate) has_records: bool,
    /// The coordinate of the first axis, unless it is plotted by index.
    pub(crate) coordinate: Option<View>,
    /// The index of the first record in its series.
    pub(crate) first: u64,
    /// Whether it has all records of its series.
    #[cfg_attr(
        not(feature = "serve"),
        allow(dead_code, reason = "only the server keeps summaries")
    )]
    pub(crate) is_complete: bool,
    /// Summaries of the whole series and of its coordinate, if they are kept.
    pub(crate) summary: Option<Summary>,
    pub(crate) coordinate_summary: Option<Summary>,
}

impl Source {
    /// The sources of a text: a selection of one series, or all series of numbers in groups and
    /// under globs, except coordinates.
    pub(crate) fn all(
        store: &dyn DataStore,
        text: &str,
        range: &RangeArgs,
        by_index: bool,
    ) -> Result<Vec<Self>> {
        let of = |label: String, view: View, has_records: bool, is_complete: bool| {
            let len = view.len();
            let view = range.select(view)?;
            // Without a readable coordinate, plot by index.
            let coordinate = match by_index || view.shape().is_empty() {
                true => None,
                false => view.coordinate(0).unwrap_or(None),
            };
            Ok::<_, Failure>(Self {
                label: printable(&label),
                has_records,
                coordinate,
                first: 0,
                is_complete: is_complete && view.len() == len,
                summary: None,
                coordinate_summary: None,
                view,
            })
        };
        if let Ok((Node::Series(view), selection)) = recording::find(store, text) {
            let Some(selection) = selection else {
                return Ok(vec![of(text.to_owned(), view, true, true)?]);
            };
            let is_complete = selection.has_all_records();
            let has_records = !selection.is_one_record() || view.kind() != Kind::Array;
            let view = view.select(selection.resolve(&view)?)?;
            return Ok(vec![of(text.to_owned(), view, has_records, is_complete)?]);
        }
        let mut sources = Vec::new();
        let selected = recording::select(store, &[text.to_owned()])?;
        for (child, node) in recording::nodes(store, selected) {
            if let Node::Series(view) = node? {
                let coordinate = view.coordinate(0).unwrap_or(None);
                if is_real(&view) && coordinate.is_none_or(|it| it.key() != view.key()) {
                    sources.push(of(child.key.to_string(), view, true, true)?);
                }
            }
        }
        // A plot of lines leaves out series that need a plot of their own.
        let is_line = |source: &Self| is_scalar(&source.view);
        if sources.len() > 1 && sources.iter().any(is_line) {
            sources.retain(is_line);
        }
        Ok(sources)
    }

    /// A whole series, by index.
    #[cfg(feature = "serve")]
    pub(crate) fn of_series(view: View) -> Self {
        Self {
            label: printable(view.key().as_str()),
            has_records: true,
            coordinate: None,
            first: 0,
            is_complete: true,
            summary: None,
            coordinate_summary: None,
            view,
        }
    }

    /// The smallest and the largest coordinate, or the first and the last index.
    pub(crate) fn x_range(&self) -> Result<Option<RangeInclusive<f64>>, Error> {
        let len = self.view.len();
        let Some(last) = len.checked_sub(1) else {
            return Ok(None);
        };
        let Some(coordinate) = &self.coordinate else {
            return Ok(Some(self.first as f64..=(self.first + last) as f64));
        };
        if len <= SCANNED {
            return Ok(range_of(self.positions(0..len)?));
        }
        // It is sorted; otherwise reading it fails.
        Ok(range_of([x_at(coordinate, 0)?, x_at(coordinate, last)?]))
    }

    /// The coordinates of some records, or their indices.
    pub(crate) fn positions(&self, records: Range<u64>) -> Result<Vec<f64>, Error> {
        Ok(match &self.coordinate {
            None => records.map(|index| (self.first + index) as f64).collect(),
            Some(coordinate) => {
                let part = coordinate.select(records.start..records.end)?;
                part.cast::<f64>()?.into_raw_vec_and_offset().0
            }
        })
    }

    /// The bounds of the records in each of `parts` equally wide parts of the axis.
    pub(crate) fn bounds(&self, range: RangeInclusive<f64>, parts: usize) -> Result<Vec<u64>> {
        if let Some(coordinate) = &self.coordinate {
            return Ok(coordinate.bounds_of_parts(range, parts)?);
        }
        let (start, width) = (*range.start(), range.end() - range.start());
        let bound = |part: usize| {
            let x = start + width * part as f64 / parts as f64;
            (x.ceil().max(0.0) as u64)
                .saturating_sub(self.first)
                .min(self.view.len())
        };
        let bounds = (0..parts).map(bound);
        Ok(bounds.chain([self.view.len()]).collect())
    }

    /// The extents of the records in each of several equally wide parts of the first axis.
    pub(crate) fn columns(
        &self,
        range: RangeInclusive<f64>,
        parts: usize,
    ) -> Result<Vec<Extent>, Failure> {
        if let Some(summary) = &self.summary
            && let Some(bounds) = self.block_bounds(summary, &range, parts)?
        {
            return Ok(summary.pyramid.extents_between(&summary.view, &bounds)?);
        }
        let bounds = self.bounds(range, parts)?;
        Ok(self.view.envelope(&[bounds])?.into_raw_vec_and_offset().0)
    }

    /// The block boundaries of a summary that are nearest to the bounds of the parts, as indices in
    /// the series; `None` if the blocks are not much smaller than the parts.
    fn block_bounds(
        &self,
        summary: &Summary,
        range: &RangeInclusive<f64>,
        parts: usize,
    ) -> Result<Option<Vec<u64>>, Error> {
        let block = summary.pyramid.block();
        let end = self.first + self.view.len();
        if self.view.len() < BLOCKS_PER_PART * block * parts as u64 || end > summary.view.len() {
            return Ok(None);
        }
        let blocks = self.first.div_ceil(block)..end.min(summary.pyramid.len()) / block;
        let positions: Vec<f64> = match (&self.coordinate, &self.coordinate_summary) {
            (None, _) => blocks.clone().map(|index| (index * block) as f64).collect(),
            (Some(coordinate), Some(of_coordinate)) => {
                let extents = of_coordinate.pyramid.extents();
                let extents = extents.get(blocks.start as usize..blocks.end as usize);
                let Some(extents) = extents.filter(|_| of_coordinate.pyramid.block() == block)
                else {
                    return Ok(None);
                };
                let is_sorted = |pair: &[Extent]| pair[0].max <= pair[1].min;
                if extents.iter().any(|extent| extent.nan_count > 0)
                    || !extents.windows(2).all(is_sorted)
                {
                    let message = "the coordinate is not sorted; plot by index instead";
                    let error = Error::new(ErrorKind::InvalidArgument, "plot", message);
                    return Err(error.with_key(coordinate.key().as_str()));
                }
                extents.iter().map(|extent| extent.first).collect()
            }
            _ => return Ok(None),
        };
        let (start, width) = (*range.start(), range.end() - range.start());
        let bound = |part: usize| {
            let x = start + width * part as f64 / parts as f64;
            let index = positions.partition_point(|&position| position < x) as u64;
            ((blocks.start + index) * block).clamp(self.first, end)
        };
        let inner = (1..parts).map(bound);
        Ok(Some(
            [self.first].into_iter().chain(inner).chain([end]).collect(),
        ))
    }

    /// The part in a window of its first axis, with some records next to it on each side.
    #[cfg(feature = "serve")]
    pub(crate) fn within(self, window: Window, next_to_it: u64) -> Result<Self> {
        if self.view.shape().is_empty() || !self.has_records {
            return Ok(self);
        }
        let len = self.view.len();
        let start = window.start.map(|x| self.index_of(x)).transpose()?;
        let end = window.end.map(|x| self.index_of(x)).transpose()?;
        let start = start.unwrap_or(0).saturating_sub(next_to_it);
        let end = end
            .map_or(len, |end| (end + next_to_it).min(len))
            .max(start);
        Ok(Self {
            coordinate: match &self.coordinate {
                Some(coordinate) => Some(coordinate.select(start..end)?),
                None => None,
            },
            first: self.first + start,
            is_complete: false,
            view: self.view.select(start..end)?,
            ..self
        })
    }

    /// The index of the first record that is not before a position on the first axis.
    #[cfg(feature = "serve")]
    fn index_of(&self, x: f64) -> Result<u64> {
        let len = self.view.len();
        let Some(coordinate) = &self.coordinate else {
            return Ok((x.ceil().max(0.0) as u64)
                .saturating_sub(self.first)
                .min(len));
        };
        let records = match &self.coordinate_summary {
            Some(summary) => {
                let block = summary.pyramid.block();
                let extents = summary.pyramid.extents();
                let index = extents.partition_point(|extent| extent.last < x) as u64;
                index * block..if index < extents.len() as u64 {
                    (index + 1) * block
                } else {
                    len
                }
            }
            None if len > SCANNED => {
                let before = simrecorder::CoordinateRange::from(..x);
                return Ok(coordinate.select_by(coordinate.key().name(), before)?.len());
            }
            None => 0..len,
        };
        let start = records.start;
        let positions = self.positions(records.start..records.end.min(len))?;
        let index = positions.iter().position(|&position| position >= x);
        Ok(start + index.unwrap_or(positions.len()) as u64)
    }

    /// The label of the axis.
    pub(crate) fn x_label(&self) -> String {
        match &self.coordinate {
            Some(coordinate) => with_units(coordinate.key().name(), coordinate),
            None => axis_name(&self.view, 0),
        }
    }

    /// The smallest and the largest finite number, and the number of elements.
    pub(crate) fn number_range(&self) -> Result<(Option<RangeInclusive<f64>>, u64), Error> {
        let found = self.view.statistics()?;
        let ends = [found.min, found.max].into_iter().flatten();
        let ends: Vec<f64> = ends.filter_map(scalar).collect();
        if ends.iter().all(|x| x.is_finite()) {
            return Ok((range_of(ends), found.count));
        }
        let mut ends = Vec::new();
        for_each_block(&self.view, |_, records| {
            let range = range_of(ends.drain(..).chain(self.numbers(records)));
            ends.extend(
                range
                    .into_iter()
                    .flat_map(|range| [*range.start(), *range.end()]),
            );
            Ok(())
        })?;
        Ok((range_of(ends), found.count))
    }

    /// Whether the elements are whole numbers.
    pub(crate) fn is_whole(&self) -> bool {
        self.view.dtype().is_some_and(|dtype| !dtype.is_floating())
    }

    /// The numbers of some records, in order.
    pub(crate) fn numbers<'a>(&self, records: &'a Records) -> impl Iterator<Item = f64> + 'a {
        let dtype = self.view.dtype();
        let bytes = records
            .data()
            .chunks_exact(dtype.map_or(1, |dtype| dtype.size()));
        bytes.map(move |bytes| {
            dtype.map_or(f64::NAN, |dtype| Element::from_bytes(dtype, bytes).to_f64())
        })
    }
}

/// Whether the elements are real numbers.
pub(crate) fn is_real(view: &View) -> bool {
    let is_complex = matches!(view.dtype(), Some(DType::Complex64 | DType::Complex128));
    view.dtype().is_some() && !is_complex
}

/// Whether the records are single real numbers.
pub(crate) fn is_scalar(view: &View) -> bool {
    view.kind() == Kind::Array && view.shape().len() == 1 && is_real(view)
}

/// A text in which control characters, and others that change the order of a line, are escaped.
fn printable(text: &str) -> String {
    let changes_order = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let characters = text
        .chars()
        .map(|c| match c.is_control() || changes_order(c) {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        });
    characters.collect()
}

fn x_at(coordinate: &View, index: u64) -> Result<f64, Error> {
    let one = coordinate.select(index..index + 1)?;
    Ok(one.cast::<f64>()?.first().copied().unwrap_or(f64::NAN))
}

/// The name of an axis without a coordinate.
pub(crate) fn axis_name(view: &View, axis: usize) -> String {
    let names = view.schema().dimension_names();
    let name = names.and_then(|names| names.get(axis)?.clone());
    name.unwrap_or_else(|| "index".to_owned())
}

/// A name with the units of a view, if it has any.
pub(crate) fn with_units(name: &str, view: &View) -> String {
    printable(&match units(view) {
        "" => name.to_owned(),
        units => format!("{name} [{units}]"),
    })
}

/// The units of a view, or nothing.
pub(crate) fn units(view: &View) -> &str {
    let attributes = view.attributes();
    let is_packed = ["scale_factor", "add_offset"]
        .iter()
        .any(|name| attributes.contains_key(*name));
    // The units of data that other software packs are those of the unpacked numbers.
    let units = attributes.get("units").filter(|_| !is_packed);
    units.and_then(|units| units.as_str()).unwrap_or_default()
}

/// The names of the series, or of the first of them.
pub(crate) fn title(sources: &[Source]) -> String {
    const MAX_LABELS: usize = 3;
    let labels = sources.iter().map(|source| source.label.as_str());
    let mut title = labels.take(MAX_LABELS).collect::<Vec<_>>().join(", ");
    if sources.len() > MAX_LABELS {
        title.push_str(&format!(" and {} more", sources.len() - MAX_LABELS));
    }
    title
}
