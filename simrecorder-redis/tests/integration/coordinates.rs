//! Coordinates of series whose first records were freed.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::{ErrorKind, Key, Recorder, Schema, View, prelude::*};
use simrecorder_redis::RedisDataStore;

use crate::support::server;

#[track_caller]
fn check(view: &View, first: u64) {
    let ticks = view.coordinate(0).unwrap().unwrap();
    let expected = (first..100).map(|tick| tick as f64 * 0.5);
    assert!(ticks.read::<f64>().unwrap().into_iter().eq(expected));
    let part = view.select_by("time", 40.0..=41.0).unwrap();
    assert!(part.read::<u64>().unwrap().into_iter().eq(80..83));
}

#[test]
fn records_keep_their_coordinates_when_others_are_freed() {
    let server = server();
    let store = RedisDataStore::create(server.url()).unwrap();
    let recorder = Recorder::new(store.clone());
    let n = Schema::scalar::<u64>().with_dimension_names(["time"]);
    recorder.declare("net/n", n).unwrap();
    for tick in 0..100_u64 {
        recorder.record("net/time", tick as f64 * 0.5).unwrap();
        recorder.record("net/n", tick).unwrap();
        if tick % 10 == 9 {
            recorder.flush().unwrap();
        }
    }
    let before = recorder.get_all("net/n").unwrap();
    check(&before, 0);
    store.free(&[(Key::new("net/n").unwrap(), 30)]).unwrap();
    let error = before.coordinate(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let after = recorder.get_all("net/n").unwrap();
    check(&after, after.first_record());
    assert_eq!(after.first_record(), 30);

    store.free(&[(Key::new("net/time").unwrap(), 20)]).unwrap();
    check(&after, 30);
    store.free(&[(Key::new("net/time").unwrap(), 50)]).unwrap();
    let error = after.coordinate(0).unwrap_err();
    assert!(
        error.to_string().contains("'net/time' were freed"),
        "{error}"
    );
    store.free(&[(Key::new("net/n").unwrap(), 50)]).unwrap();
    check(
        &recorder.group("net").unwrap().view("n").unwrap().clone(),
        50,
    );
    recorder.close().unwrap();
}
