//! The addresses of the API, and the status of failed reads.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value as Json, json};
use simrecorder::ErrorKind;
use tokio::sync::Semaphore;

use super::query::Query;
use super::shown::Shown;
use super::{figures, keys, live, records};
use crate::exit::{Failure, Result};

type Read = fn(&Shown, &Query) -> Result<Json>;

/// Requests that need only keys and metadata, and requests that read records. The latter wait for
/// their turn; the former do not wait for them.
const OF_KEYS: [(&str, Read); 5] = [
    ("/recordings", keys::recordings),
    ("/children", keys::children),
    ("/search", keys::search),
    ("/nodes", keys::nodes),
    ("/node", keys::node),
];
const OF_RECORDS: [(&str, Read); 4] = [
    ("/figure", figures::figure),
    ("/sparklines", figures::sparklines),
    ("/last", records::last),
    ("/records", records::records),
];

pub(super) fn router(shown: Arc<Shown>) -> Router {
    let mut router = Router::new().route("/events", get(live::events));
    for (readers, paths) in [
        (&shown.key_readers, &OF_KEYS[..]),
        (&shown.series_readers, &OF_RECORDS[..]),
    ] {
        for &(path, read) in paths {
            let readers = Arc::clone(readers);
            let answer = move |State(shown): State<Arc<Shown>>, RawQuery(query): RawQuery| {
                answer(shown, readers, query.unwrap_or_default(), read)
            };
            router = router.route(path, get(answer));
        }
    }
    router.with_state(shown)
}

/// Answers a request on a thread that may wait for a disk.
async fn answer(shown: Arc<Shown>, readers: Arc<Semaphore>, query: String, read: Read) -> Response {
    let Ok(turn) = readers.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let reading = tokio::task::spawn_blocking(move || {
        // A read keeps its turn until it has finished, even if the client disconnects meanwhile.
        let _turn = turn;
        match read(&shown, &Query::parse(&query)) {
            Ok(answer) => (StatusCode::OK, answer.to_string()),
            Err(failure) => {
                let error = json!({"error": failure.to_string()});
                (status(&failure), error.to_string())
            }
        }
    });
    match reading.await {
        Ok((status, json)) => (status, [(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The status of an error response.
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
