//! What the page asks for: keys, figures, texts and values, as JSON.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use simrecorder::{Child, ErrorKind, Key, NodeKind};

use super::{Recording, Shown, live};
use crate::args::RangeArgs;
use crate::exit::{Failure, Result};
use crate::listing;
use crate::plotting::cells::Room;
use crate::plotting::source::Source;
use crate::plotting::{self, Form, Options};
use crate::recording;

/// How many keys are answered at once; the page asks for those on the screen.
const MAX_KEYS: usize = 500;
/// The most columns and rows that a figure may have.
const MAX_CELLS: usize = 4096;

pub(super) fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/recordings", get(|state: State<Arc<Shown>>, query| answer(state, query, recordings)))
        .route("/children", get(|state: State<Arc<Shown>>, query| answer(state, query, children)))
        .route("/search", get(|state: State<Arc<Shown>>, query| answer(state, query, search)))
        .route("/nodes", get(|state: State<Arc<Shown>>, query| answer(state, query, nodes)))
        .route("/figure", get(|state: State<Arc<Shown>>, query| answer(state, query, figure)))
        .route("/records", get(|state: State<Arc<Shown>>, query| answer(state, query, records)))
        .route("/events", get(live::events))
        .with_state(shown)
}

/// Answers a request on a thread that may wait for a disk.
async fn answer(
    State(shown): State<Arc<Shown>>,
    RawQuery(query): RawQuery,
    of: fn(&Shown, &Query) -> Result<Value>,
) -> Response {
    let Ok(_turn) = shown.readers.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let reading = {
        let shown = Arc::clone(&shown);
        tokio::task::spawn_blocking(move || of(&shown, &Query::parse(&query.unwrap_or_default())))
    };
    match reading.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(failure)) => {
            let status = match &failure {
                Failure::Library(error) if error.kind() == ErrorKind::NotFound => StatusCode::NOT_FOUND,
                Failure::Library(error) if error.kind() == ErrorKind::Io => StatusCode::BAD_GATEWAY,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, Json(json!({"error": failure.to_string()}))).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The parameters of a request, of which some are given several times.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let parsed = text.parse();
        parsed.map(Some).map_err(|_| Failure::Refused(format!("'{text}' is no {name}")))
    }

    fn recordings<'a>(&self, shown: &'a Shown) -> Result<Vec<&'a Recording>> {
        let numbers = self.all("recording").map(|text| text.parse::<usize>().ok());
        let recordings = numbers.map(|number| {
            let recording = number.and_then(|number| shown.recordings.get(number));
            recording.ok_or_else(|| Failure::Refused("there is no such recording".to_owned()))
        });
        recordings.collect()
    }

    fn recording<'a>(&self, shown: &'a Shown) -> Result<&'a Recording> {
        let missing = || Failure::Refused("a recording has to be named".to_owned());
        self.recordings(shown)?.first().copied().ok_or_else(missing)
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
    let found = all.iter().filter(|child| child.key.as_str().to_lowercase().contains(&text));
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
        let child = |kind| Child { key: key.clone(), kind };
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
    let is_by_index = query.get("index").is_some();
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
        form: query.parsed::<Form>("form")?,
        columns,
        room: Room { columns, rows },
        is_log: query.get("log").is_some(),
        bins: query.parsed("bins")?,
    };
    let figure = plotting::figure(&sources, &options)?;
    let figure = figure.with_picture(columns, rows)?;
    serde_json::to_value(figure).map_err(|error| Failure::Refused(error.to_string()))
}
