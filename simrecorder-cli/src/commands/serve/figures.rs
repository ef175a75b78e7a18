//! The drawings of the page: figures, and sparklines next to the keys.

use clap::ValueEnum;
use serde_json::{Value as Json, json};
use simrecorder::{ArrayView, DataStoreExt, Key};

use super::query::Query;
use super::shown::Shown;
use crate::args::RangeArgs;
use crate::element::to_json;
use crate::exit::{Failure, Result};
use crate::plotting::cells::Room;
use crate::plotting::source::{Source, is_scalar};
use crate::plotting::{self, Form, Options, Window};

/// The maximum number of series in a figure.
const MAX_SOURCES: usize = 64;
/// The maximum number of columns of all lines of a figure together.
const MAX_COLUMNS: usize = 1 << 16;
/// The maximum number of columns or rows of a figure.
const MAX_SIDE: usize = 4096;
/// The maximum number of cells of a figure.
const MAX_CELLS: usize = 1 << 19;
const MAX_BINS: usize = 4096;
/// The maximum number of sparklines in a response, and their width.
const MAX_SPARKLINES: usize = 60;
const MAX_SPARKLINE_COLUMNS: usize = 200;

/// The figure of some series in some recordings.
pub(super) fn figure(shown: &Shown, query: &Query) -> Result<Json> {
    let window = Window {
        start: finite(query, "from")?,
        end: finite(query, "to")?,
    };
    let given = query.get("form").map(form).transpose()?;
    let mut sources = sources(shown, query, given, window)?;
    if sources.is_empty() {
        return Err(plotting::refuse("the keys name no series of numbers").into());
    }
    let has_lines = given.unwrap_or_else(|| plotting::form_of(&sources[0])) == Form::Lines;
    // Other forms show one series.
    sources.truncate(MAX_SOURCES);
    let side = |name: &str, default: usize| -> Result<usize> {
        Ok(query.parsed(name)?.unwrap_or(default).clamp(1, MAX_SIDE))
    };
    let most = match has_lines {
        true => MAX_COLUMNS / sources.len(),
        false => MAX_SIDE,
    };
    let columns = side("columns", 1000)?.min(most);
    let rows = side("rows", 500)?.min((MAX_CELLS / columns).max(1));
    let options = Options {
        form: given,
        columns,
        room: Room { columns, rows },
        is_log: query.has("log"),
        bins: query
            .parsed("bins")?
            .map(|bins: usize| bins.clamp(1, MAX_BINS)),
        window,
        scale: finite(query, "low")?.zip(finite(query, "high")?),
    };
    Ok(plotting::figure(&sources, &options)?.to_json(columns, rows)?)
}

/// The parts of the series that a figure shows.
fn sources(
    shown: &Shown,
    query: &Query,
    form: Option<Form>,
    window: Window,
) -> Result<Vec<Source>> {
    let recordings = query.recordings(shown)?;
    let by_index = query.has("index");
    let mut sources: Vec<Source> = Vec::new();
    for recording in &recordings {
        let store = shown.store(recording)?;
        for key in query.all("key").take(MAX_SOURCES) {
            for mut source in Source::all(&*store, key, &RangeArgs::default(), by_index)? {
                if sources.len() >= MAX_SOURCES {
                    break;
                }
                let has_lines = form.unwrap_or_else(|| plotting::form_of(&source)) == Form::Lines;
                if has_lines {
                    let text = source.label.clone();
                    shown
                        .pyramids
                        .add_to(&mut source, recording.number, &text)?;
                }
                if recordings.len() > 1 {
                    source.label = format!("{}: {}", recording.name, source.label);
                }
                // A line extends to the records next to the window.
                sources.push(source.within(window, u64::from(has_lines))?);
            }
        }
    }
    Ok(sources)
}

/// The smallest and the largest number of some scalar series in each column. Omits series that are
/// not scalar, and long ones that no figure has shown yet.
pub(super) fn sparklines(shown: &Shown, query: &Query) -> Result<Json> {
    let recording = query.recording(shown)?;
    let store = shown.store(recording)?;
    let columns = query.parsed("columns")?.unwrap_or(48);
    let columns = columns.clamp(1, MAX_SPARKLINE_COLUMNS as u64);
    let mut lines = Vec::new();
    for key in query.all("key").take(MAX_SPARKLINES) {
        let key = Key::new(key)?;
        let Ok(Some(view)) = store.view(&key) else {
            continue;
        };
        let is_at_hand = || shown.pyramids.is_at_hand(recording.number, &view);
        if !is_scalar(&view) || view.is_empty() || !is_at_hand() {
            continue;
        }
        let mut source = Source::of_series(view.clone());
        shown
            .pyramids
            .add_to(&mut source, recording.number, key.as_str())?;
        let extents = source.columns(0.0..=view.len() as f64, view.len().min(columns) as usize)?;
        lines.push(json!({
            "key": key.as_str(),
            "min": extents.iter().map(|extent| extent.min).collect::<Vec<_>>(),
            "max": extents.iter().map(|extent| extent.max).collect::<Vec<_>>(),
            "last": view.last()?.as_ref().map(to_json),
            "nan": extents.iter().map(|extent| extent.nan_count).sum::<u64>(),
        }));
    }
    Ok(lines.into())
}

/// The form of a plot, by its name on the command line.
fn form(name: &str) -> Result<Form> {
    Form::from_str(name, false).map_err(Failure::Refused)
}

/// A finite number, if the parameter is given.
fn finite(query: &Query, name: &str) -> Result<Option<f64>> {
    match query.parsed::<f64>(name)? {
        Some(number) if !number.is_finite() => Err(Failure::Refused(format!(
            "the parameter {name} is not finite"
        ))),
        number => Ok(number),
    }
}
