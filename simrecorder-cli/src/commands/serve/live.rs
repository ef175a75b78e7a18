//! Live updates: the states of the recordings and the lengths of the series on the screen, as
//! server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream::unfold;
use serde_json::{Value as Json, json};
use simrecorder::backend::Node;
use simrecorder::{ArrayView, DataStoreExt, Key};

use super::query::Query;
use super::shown::Shown;

/// The interval between two checks of the recordings while a page follows them.
const INTERVAL: Duration = Duration::from_millis(400);
/// The maximum number of series that a page follows.
const MAX_WATCHED: usize = 500;

/// Sends the states of all recordings and the lengths of the watched series
/// (`watch=RECORDING:KEY`): at once, and whenever some of them have changed. So a page that
/// reconnects misses nothing.
pub(super) async fn events(State(shown): State<Arc<Shown>>, RawQuery(query): RawQuery) -> Response {
    let Ok(turn) = Arc::clone(&shown.followers).try_acquire_owned() else {
        let message = "too many pages follow the recordings; close some";
        return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    };
    let query = Query::parse(&query.unwrap_or_default());
    let watched = query.all("watch").take(MAX_WATCHED).filter_map(|text| {
        let (number, key) = text.split_once(':')?;
        Some((number.parse().ok()?, Key::new(key).ok()?))
    });
    let watched: Arc<Vec<(usize, Key)>> = Arc::new(watched.collect());
    let start = (shown, watched, Json::Null, turn);
    let events = unfold(start, |(shown, watched, before, turn)| async move {
        loop {
            let now = look(Arc::clone(&shown), Arc::clone(&watched)).await?;
            if now != before {
                let event = Event::default().data(now.to_string());
                return Some((Ok::<_, Infallible>(event), (shown, watched, now, turn)));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// The states of all recordings, and the lengths of the watched series. Those of one recording are
/// as of one commit.
async fn look(shown: Arc<Shown>, watched: Arc<Vec<(usize, Key)>>) -> Option<Json> {
    let turn = Arc::clone(&shown.key_readers).acquire_owned().await.ok()?;
    let looking = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let looks = shown.recordings.iter().map(|recording| {
            let (state, version) = shown.state(recording);
            let of_this = watched.iter().filter(|(of, _)| *of == recording.number);
            let keys: Vec<Key> = of_this.map(|(_, key)| key.clone()).collect();
            let nodes = match shown.store(recording) {
                Ok(store) => store.each_node(&keys),
                Err(_) => Vec::new(),
            };
            let mut nodes = nodes.into_iter();
            let lengths = keys.iter().map(|key| {
                let len = match nodes.next() {
                    Some(Ok(Some(Node::Series(view)))) => json!(view.len()),
                    _ => Json::Null,
                };
                (key.to_string(), len)
            });
            let lengths: serde_json::Map<_, _> = lengths.collect();
            json!({"state": state, "version": version, "lengths": lengths})
        });
        looks.collect()
    });
    looking.await.ok()
}
