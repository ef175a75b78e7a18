//! Single records for the page: texts, rows, the last value of each scalar.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};
use simrecorder::backend::Node;
use simrecorder::ndarray::SliceInfoElem;
use simrecorder::{ArrayView, DataStoreExt, Key, Kind, NodeKind, Selection, Value, View};

use super::query::Query;
use super::shortened::short_json;
use super::shown::Shown;
use crate::element::to_json;
use crate::exit::{Failure, Result};
use crate::plotting::source::{is_scalar, units};
use crate::record_writer::text_of;
use crate::recording::nodes;

/// The maximum number of records in a response.
const MAX_RECORDS: u64 = 500;
/// The maximum number of records that a search reads, in total and at once.
const MAX_SEARCHED: u64 = 100_000;
const SEARCH_BLOCK: u64 = 256;
/// The maximum number of scalars in a response, and of the keys that are searched for them.
const MAX_SCALARS: usize = 2000;
const MAX_KEYS: usize = 20_000;
/// The maximum number of elements along each axis of a record in a response, for records of one,
/// two, or more axes.
const MAX_LENGTHS: [isize; 3] = [1000, 32, 10];

/// Records of a series: `count` records from `first` on, the last ones, or the last ones that
/// contain a text.
pub(super) fn records(shown: &Shown, query: &Query) -> Result<Json> {
    let store = shown.store(query.recording(shown)?)?;
    let key = Key::new(query.get("key").unwrap_or_default())?;
    let Node::Series(view) = store.require_node(&key, NodeKind::Series)? else {
        return Err(Failure::Refused(format!("'{key}' is not a series")));
    };
    if view.shape().is_empty() {
        return Err(Failure::Refused(format!("'{key}' has no records")));
    }
    let count = query.parsed("count")?.unwrap_or(100).min(MAX_RECORDS);
    let first: Option<u64> = query.parsed("first")?;
    if let Some(text) = query.get("text") {
        return search(
            &view,
            &text.to_lowercase(),
            first.unwrap_or(view.len()),
            count,
        );
    }
    let first = first
        .unwrap_or(view.len().saturating_sub(count))
        .min(view.len());
    let records = read(&view, first, first.saturating_add(count).min(view.len()))?;
    let records = records.into_iter().map(|(_, record)| record);
    Ok(json!({"len": view.len(), "records": records.collect::<Vec<_>>()}))
}

/// The last records before an index that contain a text, and the index at which the search ended.
fn search(view: &View, text: &str, before: u64, count: u64) -> Result<Json> {
    let mut found = Vec::new();
    let mut next = before.min(view.len());
    let least = next.saturating_sub(MAX_SEARCHED);
    let start = next;
    while next > least && (found.len() as u64) < count {
        let block = next.saturating_sub(SEARCH_BLOCK).max(least);
        for (record, json) in read(view, block, next)?.into_iter().rev() {
            let is_found = String::from_utf8_lossy(&text_of(&record))
                .to_lowercase()
                .contains(text);
            if is_found && (found.len() as u64) < count {
                found.push(json);
            }
        }
        next = block;
    }
    found.reverse();
    Ok(json!({
        "len": view.len(), "records": found, "found": found.len(),
        "searched": start - next, "searched_from": next,
    }))
}

/// Some records, and the response for each.
fn read(view: &View, start: u64, end: u64) -> Result<Vec<(Value, Json)>> {
    let coordinate = view.coordinate(0).unwrap_or(None);
    let coordinate = coordinate.filter(|coordinate| coordinate.key() != view.key());
    let coordinate = coordinate.map(|it| it.select(start..end)).transpose()?;
    let (part, is_part) = beginning_of_each(view, start, end)?;
    let mut records = Vec::new();
    for (index, record) in part.iter().enumerate() {
        let record = record?;
        let (value, is_cut) = short_json(&record);
        let mut object = Map::new();
        object.insert(
            "index".to_owned(),
            (view.first_record() + start + index as u64).into(),
        );
        if let Some(coordinate) = &coordinate {
            let at = to_json(&coordinate.get(index as u64)?);
            object.insert(
                "coordinate".to_owned(),
                json!({coordinate.key().name(): at}),
            );
        }
        object.insert("value".to_owned(), value);
        if is_cut || is_part {
            object.insert("truncated".to_owned(), true.into());
        }
        records.push((record, object.into()));
    }
    Ok(records)
}

/// The records in a range. Of large arrays, the first elements along each axis.
fn beginning_of_each(view: &View, start: u64, end: u64) -> Result<(View, bool)> {
    let shape = view.schema().record_shape();
    let most = match shape.len() {
        0 | 1 => MAX_LENGTHS[0],
        2 => MAX_LENGTHS[1],
        _ => MAX_LENGTHS[2],
    };
    let slice = |start: isize, end: isize| SliceInfoElem::Slice {
        start,
        end: Some(end),
        step: 1,
    };
    let mut selection = vec![slice(start as isize, end as isize)];
    let mut is_part = false;
    if view.kind() == Kind::Array {
        for (axis, &len) in shape.iter().enumerate() {
            // Of axes beyond the third, only the first element.
            let most = if axis < 3 { most } else { 1 };
            is_part |= len > most as u64;
            selection.push(slice(0, most.min(len as isize)));
        }
    }
    Ok((view.select(Selection::from(selection))?, is_part))
}

/// The last record of each series of scalars.
pub(super) fn last(shown: &Shown, query: &Query) -> Result<Json> {
    let recording = query.recording(shown)?;
    let store = shown.store(recording)?;
    let keys = shown.keys(recording)?;
    let series = keys.iter().filter(|child| child.kind == NodeKind::Series);
    let mut is_all = series.clone().count() <= MAX_KEYS;
    let series = series.take(MAX_KEYS).cloned().collect();
    let mut coordinates = HashMap::new();
    let mut rows = Vec::new();
    for (_, node) in nodes(&*store, series) {
        let Ok(Node::Series(view)) = node else {
            continue;
        };
        if !is_scalar(&view) {
            continue;
        }
        if rows.len() == MAX_SCALARS {
            is_all = false;
            break;
        }
        rows.push(row(&view, &mut coordinates)?);
    }
    Ok(json!({"total": rows.len(), "is_all": is_all, "rows": rows}))
}

/// The response for a scalar series. The last value of each coordinate is read once.
fn row(view: &View, coordinates: &mut HashMap<Key, Json>) -> Result<Json> {
    let mut row = Map::new();
    row.insert("key".to_owned(), view.key().as_str().into());
    if !units(view).is_empty() {
        row.insert("units".to_owned(), units(view).into());
    }
    row.insert("len".to_owned(), view.len().into());
    row.insert(
        "value".to_owned(),
        view.last()?.as_ref().map_or(Json::Null, to_json),
    );
    if let Ok(Some(coordinate)) = view.coordinate(0)
        && coordinate.key() != view.key()
    {
        let last = match coordinates.get(coordinate.key()) {
            Some(last) => last.clone(),
            None => {
                let last = coordinate.last()?.as_ref().map_or(Json::Null, to_json);
                coordinates.insert(coordinate.key().clone(), last.clone());
                last
            }
        };
        row.insert(
            "coordinate".to_owned(),
            json!({coordinate.key().name(): last}),
        );
    }
    Ok(row.into())
}
