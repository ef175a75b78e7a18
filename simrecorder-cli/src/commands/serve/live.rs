//! What changes while somebody looks: the lengths of the series on the screen, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::{Value, json};
use simrecorder::backend::Node;
use simrecorder::{ArrayView, DataStoreExt, Key};

use super::query::Query;
use super::shown::{Recording, Shown};

/// How often a recording is looked at while somebody watches it.
const INTERVAL: Duration = Duration::from_millis(500);
/// How many series a page watches at most.
const MAX_WATCHED: usize = 500;

/// Sends the lengths of the watched series (`watch=RECORDING:KEY`) and the states of the recordings, whenever
/// some of them change.
pub(super) async fn events(
    State(shown): State<Arc<Shown>>,
    RawQuery(query): RawQuery,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let query = Query::parse(&query.unwrap_or_default());
    let watched = query.all("watch").take(MAX_WATCHED).filter_map(|text| {
        let (number, key) = text.split_once(':')?;
        Some((number.parse().ok()?, Key::new(key).ok()?))
    });
    let watched: Arc<Vec<(usize, Key)>> = Arc::new(watched.collect());
    let start = (shown, watched, Value::Null);
    let events = unfold(start, |(shown, watched, before)| async move {
        loop {
            let now = {
                let (shown, watched) = (Arc::clone(&shown), Arc::clone(&watched));
                let turn = Arc::clone(&shown.readers).acquire_owned().await.ok()?;
                let look = move || {
                    let _turn = turn;
                    look(&shown, &watched)
                };
                tokio::task::spawn_blocking(look).await.ok()?
            };
            if now != before {
                let event = Event::default().data(now.to_string());
                return Some((Ok(event), (shown, watched, now)));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// The states of all recordings, and the lengths of the watched series, as of one commit of each recording.
fn look(shown: &Shown, watched: &[(usize, Key)]) -> Value {
    let recordings = shown.recordings.iter().enumerate().map(|(number, recording)| {
        let of_this = watched.iter().filter(|(of, _)| *of == number).map(|(_, key)| key.clone());
        let keys: Vec<Key> = of_this.collect();
        let nodes = recording.store.each_node(&keys);
        let lengths = keys.iter().zip(nodes).map(|(key, node)| {
            let length = match node {
                Ok(Some(Node::Series(view))) => json!(view.len()),
                _ => Value::Null,
            };
            (key.to_string(), length)
        });
        json!({"state": state(recording), "lengths": lengths.collect::<serde_json::Map<_, _>>()})
    });
    recordings.collect()
}

/// Whether a simulation records, has ended, or was killed.
pub(super) fn state(recording: &Recording) -> Value {
    match recording.store.info() {
        Ok(info) => match info.is_checkpointed {
            Some(true) => json!("ended"),
            _ => json!("recording"),
        },
        Err(error) => json!({"error": error.to_string()}),
    }
}
