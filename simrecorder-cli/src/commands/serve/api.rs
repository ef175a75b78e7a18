//! What the page asks for: keys, figures, texts and values, as JSON.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::ValueEnum;
use serde_json::{Value, json};
use simrecorder::backend::Node;
use simrecorder::{ArrayView, Child, DataStoreExt, ErrorKind, Key, NodeKind};

use super::live;
use super::query::Query;
use super::shown::Shown;
use crate::args::RangeArgs;
use crate::exit::{Failure, Result};
use crate::listing;
use crate::plotting::cells::Room;
use crate::plotting::source::Source;
use crate::plotting::{self, Options};
use crate::record_writer::{Form, Style};
use crate::recording;

/// How many keys are answered at once; the page asks for those on the screen.
const MAX_KEYS: usize = 500;
/// The most columns and rows that a figure may have.
const MAX_CELLS: usize = 4096;
/// The most records that are answered at once.
const MAX_RECORDS: u64 = 1000;

pub(super) fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route(
            "/recordings",
            get(|state: State<Arc<Shown>>, query| answer(state, query, recordings)),
        )
        .route(
            "/children",
            get(|state: State<Arc<Shown>>, query| answer(state, query, children)),
        )
        .route(
            "/search",
            get(|state: State<Arc<Shown>>, query| answer(state, query, search)),
        )
        .route(
            "/nodes",
            get(|state: State<Arc<Shown>>, query| answer(state, query, nodes)),
        )
        .route(
            "/figure",
            get(|state: State<Arc<Shown>>, query| answer(state, query, figure)),
        )
        .route(
            "/records",
            get(|state: State<Arc<Shown>>, query| answer(state, query, records)),
        )
        .route("/events", get(live::events))
        .with_state(shown)
}

/// Answers a request on a thread that may wait for a disk.
async fn answer(
    State(shown): State<Arc<Shown>>,
    RawQuery(query): RawQuery,
    of: fn(&Shown, &Query) -> Result<Value>,
) -> Response {
    let Ok(turn) = Arc::clone(&shown.readers).acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let reading = tokio::task::spawn_blocking(move || {
        // Reading takes its turn to the end, even if the client goes away meanwhile.
        let _turn = turn;
        let answer = of(&shown, &Query::parse(&query.unwrap_or_default()));
        match answer {
            Ok(answer) => (StatusCode::OK, answer.to_string()),
            Err(failure) => (
                status(&failure),
                json!({"error": failure.to_string()}).to_string(),
            ),
        }
    });
    match reading.await {
        Ok((status, json)) => (status, [(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The status of an answer that is an error.
fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Library(error) => match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Io => StatusCode::BAD_GATEWAY,
            _ => StatusCode::BAD_REQUEST,
        },
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The recordings, in the order of the command line.
fn recordings(shown: &Shown, _: &Query) -> Result<Value> {
    let described = shown.recordings.iter().map(|recording| {
        json!({
            "name": recording.name,
            "location": recording.location,
            "state": live::state(recording),
        })
    });
    Ok(described.collect())
}

/// The keys in a group, in natural order: all their names, which are short.
fn children(shown: &Shown, query: &Query) -> Result<Value> {
    let group = Key::new_or_root(query.get("group").unwrap_or_default())?;
    let mut children = query.recording(shown)?.store.children(&group)?;
    children.sort_by(|a, b| a.key.natural_cmp(&b.key));
    Ok(children.iter().map(child_to_json).collect())
}

/// The keys that contain a text, upper and lower case alike.
fn search(shown: &Shown, query: &Query) -> Result<Value> {
    let store = &query.recording(shown)?.store;
    let text = query.get("text").unwrap_or_default().to_lowercase();
    let all = recording::select(&**store, &[])?;
    let found = all
        .iter()
        .filter(|child| child.key.as_str().to_lowercase().contains(&text));
    let found = found.filter(|child| child.kind != NodeKind::Group);
    Ok(found.take(MAX_KEYS).map(child_to_json).collect())
}

fn child_to_json(child: &Child) -> Value {
    json!([child.key.as_str(), child.kind.to_string()])
}

/// What `simrec ls -l --json` says about some keys.
fn nodes(shown: &Shown, query: &Query) -> Result<Value> {
    let store = &query.recording(shown)?.store;
    let mut keys = Vec::new();
    for key in query.all("key").take(MAX_KEYS) {
        keys.push(Key::new(key)?);
    }
    let found = keys.iter().zip(store.each_node(&keys));
    let described = found.filter_map(|(key, node)| {
        let child = |kind| Child::new(key.clone(), kind);
        match node {
            Ok(Some(node)) => Some(listing::describe(&child(node.kind()), Ok(node))),
            Ok(None) => None,
            Err(error) => Some(listing::describe(&child(NodeKind::Series), Err(error))),
        }
    });
    Ok(described.collect())
}

/// The figure of some series, of each of some recordings.
fn figure(shown: &Shown, query: &Query) -> Result<Value> {
    let range = RangeArgs::new(query.parsed("from")?, query.parsed("to")?);
    let is_by_index = query.has("index");
    let recordings = query.recordings(shown)?;
    let mut sources = Vec::new();
    for recording in &recordings {
        for key in query.all("key").take(MAX_KEYS) {
            let mut of_key = Source::all(&*recording.store, key, &range, is_by_index)?;
            if recordings.len() > 1 {
                let labels = of_key.iter_mut().map(|source| &mut source.label);
                labels.for_each(|label| *label = format!("{}: {label}", recording.name));
            }
            sources.extend(of_key);
        }
    }
    if sources.is_empty() {
        return Err(plotting::refuse("the keys name no series of numbers").into());
    }
    let side = |name: &str, default: usize| -> Result<usize> {
        Ok(query.parsed(name)?.unwrap_or(default).clamp(1, MAX_CELLS))
    };
    let (columns, rows) = (side("columns", 1000)?, side("rows", 500)?);
    let options = Options {
        form: query.get("form").map(form).transpose()?,
        columns,
        room: Room { columns, rows },
        is_log: query.has("log"),
        bins: query.parsed("bins")?,
    };
    let figure = plotting::figure(&sources, &options)?;
    Ok(figure.to_json(columns, rows)?)
}

/// What a plot looks like, by its name on the command line.
fn form(name: &str) -> Result<plotting::Form> {
    plotting::Form::from_str(name, false).map_err(Failure::Refused)
}

/// The records of a series in a range of indices, as JSON.
fn records(shown: &Shown, query: &Query) -> Result<Value> {
    let store = &query.recording(shown)?.store;
    let key = Key::new(query.get("key").unwrap_or_default())?;
    let Node::Series(view) = store.require_node(&key, NodeKind::Series)? else {
        return Err(Failure::Refused(format!("'{key}' is no series")));
    };
    let count = query.parsed("count")?.unwrap_or(100).min(MAX_RECORDS);
    let last = view.len().saturating_sub(count);
    let first = query.parsed("first")?.unwrap_or(last).min(view.len());
    let part = view.select(first..view.len().min(first.saturating_add(count)))?;
    let form = Form {
        style: Style::JsonObjects,
        coordinates: false,
        format: None,
    };
    let mut lines = Vec::new();
    form.write_view_from(first, &part, &mut lines)?;
    let records: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&lines)
        .into_iter()
        .collect();
    let records = records.map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(json!({"first": first, "len": view.len(), "records": records}))
}
