//! What is plotted: a view, and where its records lie on the axis.

use std::ops::{Range, RangeInclusive};

use simrecorder::backend::{Node, Records};
use simrecorder::{ArrayView, DType, DataStore, Error, Kind, View};

use super::figure::range_of;
use crate::args::RangeArgs;
use crate::blocks::for_each_block;
use crate::element::{Element, scalar};
use crate::exit::{Failure, Result};
use crate::recording;

/// The coordinates of so many records are looked at one by one, so that they need not be sorted.
pub(crate) const SCANNED: u64 = 1 << 16;

/// A view under the name that the plot shows.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) label: String,
    pub(crate) view: View,
    /// Whether the first axis is of records, not one within a record.
    pub(crate) has_records: bool,
    /// The coordinate of the first axis, unless it is plotted by index.
    pub(crate) coordinate: Option<View>,
}

impl Source {
    /// What a text names: a selection of one series, or all series of numbers in groups and under globs except
    /// coordinates.
    pub(crate) fn all(
        store: &dyn DataStore,
        text: &str,
        range: &RangeArgs,
        by_index: bool,
    ) -> Result<Vec<Self>> {
        let of = |label: String, view: View, has_records: bool| {
            let view = range.select(view)?;
            // Without a coordinate that can be read, by index.
            let coordinate = match by_index || view.shape().is_empty() {
                true => None,
                false => view.coordinate(0).unwrap_or(None),
            };
            Ok::<_, Failure>(Self {
                label: printable(&label),
                view,
                has_records,
                coordinate,
            })
        };
        if let Ok((Node::Series(view), selection)) = recording::find(store, text) {
            let Some(selection) = selection else {
                return Ok(vec![of(text.to_owned(), view, true)?]);
            };
            let has_records = !selection.is_one_record() || view.kind() != Kind::Array;
            let view = view.select(selection.resolve(&view)?)?;
            return Ok(vec![of(text.to_owned(), view, has_records)?]);
        }
        let mut sources = Vec::new();
        let selected = recording::select(store, &[text.to_owned()])?;
        for (child, node) in recording::nodes(store, selected) {
            if let Node::Series(view) = node? {
                let coordinate = view.coordinate(0).unwrap_or(None);
                if is_real(&view) && coordinate.is_none_or(|it| it.key() != view.key()) {
                    sources.push(of(child.key.to_string(), view, true)?);
                }
            }
        }
        // What is a plot of its own is left out of one with lines.
        let is_line =
            |source: &Self| source.view.kind() == Kind::Array && source.view.shape().len() == 1;
        if sources.len() > 1 && sources.iter().any(is_line) {
            sources.retain(is_line);
        }
        Ok(sources)
    }

    /// The smallest and the largest coordinate, or the first and the last index.
    pub(crate) fn x_range(&self) -> Result<Option<RangeInclusive<f64>>, Error> {
        let len = self.view.len();
        let Some(last) = len.checked_sub(1) else {
            return Ok(None);
        };
        let Some(coordinate) = &self.coordinate else {
            return Ok(Some(0.0..=last as f64));
        };
        if len <= SCANNED {
            return Ok(range_of(self.positions(0..len)?));
        }
        // It is sorted, or refused where it is read.
        Ok(range_of([x_at(coordinate, 0)?, x_at(coordinate, last)?]))
    }

    /// The coordinates of some records, or their indices.
    pub(crate) fn positions(&self, records: Range<u64>) -> Result<Vec<f64>, Error> {
        Ok(match &self.coordinate {
            None => records.map(|index| index as f64).collect(),
            Some(coordinate) => {
                let part = coordinate.select(records.start..records.end)?;
                part.cast::<f64>()?.into_raw_vec_and_offset().0
            }
        })
    }

    /// Where the axis of the first coordinate is divided into equally wide parts: the bounds of the records
    /// in each.
    pub(crate) fn bounds(&self, range: RangeInclusive<f64>, parts: usize) -> Result<Vec<u64>> {
        if let Some(coordinate) = &self.coordinate {
            return Ok(coordinate.bounds_of_parts(range, parts)?);
        }
        let (start, width) = (*range.start(), range.end() - range.start());
        let bound = |part: usize| {
            let x = start + width * part as f64 / parts as f64;
            (x.ceil().max(0.0) as u64).min(self.view.len())
        };
        let bounds = (0..parts).map(bound);
        Ok(bounds.chain([self.view.len()]).collect())
    }

    /// What the axis shows.
    pub(crate) fn x_label(&self) -> String {
        match &self.coordinate {
            Some(coordinate) => with_units(coordinate.key().name(), coordinate),
            None => axis_name(&self.view, 0),
        }
    }

    /// The smallest and the largest finite number, and how many elements there are.
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

/// A text whose control characters, and others that change the order of a line, are escaped.
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

/// A name with the units of a view, if it has some.
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
    // The units of what other software packs are those of the unpacked numbers.
    let units = attributes.get("units").filter(|_| !is_packed);
    units.and_then(|units| units.as_str()).unwrap_or_default()
}

/// The names of the series, or of the first ones.
pub(crate) fn title(sources: &[Source]) -> String {
    const MAX_LABELS: usize = 3;
    let labels = sources.iter().map(|source| source.label.as_str());
    let mut title = labels.take(MAX_LABELS).collect::<Vec<_>>().join(", ");
    if sources.len() > MAX_LABELS {
        title.push_str(&format!(" and {} more", sources.len() - MAX_LABELS));
    }
    title
}
