//! The log of a recorder: each failure of a store that the next call does not return.

mod support;

use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use simrecorder_core::{InMemoryDataStore, OnStoreError, Recorder, Result};
use support::{FaultStore, Op, StallStore, no_hang, no_timer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Collects all events of this process, each as a line.
struct Log;

static LINES: Mutex<String> = Mutex::new(String::new());

fn lines() -> MutexGuard<'static, String> {
    LINES.lock().unwrap_or_else(|poison| poison.into_inner())
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").expect("text takes text");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        writeln!(lines(), "{}", line.0).expect("text takes text");
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn listen() {
    static SET: OnceLock<()> = OnceLock::new();
    SET.get_or_init(|| {
        tracing::subscriber::set_global_default(Log).expect("the first one of this process");
    });
}

/// The logged errors that contain all of `parts`.
fn errors_with(parts: &[&str]) -> Vec<String> {
    let lines = lines();
    let errors = lines.lines().filter(|line| line.starts_with("ERROR"));
    let with = errors.filter(|line| parts.iter().all(|part| line.contains(part)));
    with.map(str::to_owned).collect()
}

#[test]
fn a_store_that_is_detached_is_logged_once_with_its_error() -> Result<()> {
    listen();
    for (name, inline) in [("detached", false), ("detached inline", true)] {
        let stores = (
            FaultStore::from(Op::Commit, 2).named(name),
            InMemoryDataStore::new(),
        );
        let options = no_timer()
            .inline(inline)
            .on_store_error(OnStoreError::Detach);
        let recorder = Recorder::with_options(stores, options);
        let store = format!("store={name:?}");
        for number in 0..4_u64 {
            recorder.record("n", number)?;
            recorder.flush()?;
            let logged = errors_with(&[&store, ": detached", "fault at Commit number 2"]);
            assert_eq!(logged.len(), usize::from(number > 0), "{logged:?}");
        }
        assert!(recorder.close().is_err());
        assert_eq!(errors_with(&[&store]).len(), 1);
    }
    Ok(())
}

#[test]
fn a_store_that_stops_the_recorder_is_logged_with_its_error() -> Result<()> {
    listen();
    let store = FaultStore::from(Op::Commit, 1).named("stopping");
    let recorder = Recorder::with_options(store, no_timer());
    recorder.record("n", 1_u64)?;
    assert!(recorder.flush().is_err());
    let logged = errors_with(&["store=\"stopping\"", "recording stops", "fault at Commit"]);
    assert_eq!(logged.len(), 1);
    Ok(())
}

#[test]
fn dropping_logs_that_records_may_be_lost_and_why() -> Result<()> {
    listen();
    for (name, op) in [("lost", Op::Commit), ("not closed", Op::Close)] {
        let store = FaultStore::from(op, 1).named(name);
        let recorder = Recorder::with_options(store, no_timer());
        recorder.record("n", 1_u64)?;
        let named = format!("store '{name}'");
        let parts = ["records may be lost", &*named, "fault at"];
        assert!(errors_with(&parts).is_empty());
        drop(recorder);
        assert_eq!(errors_with(&parts).len(), 1);
    }
    Ok(())
}

#[test]
fn dropping_logs_that_a_store_did_not_finish_in_time() -> Result<()> {
    listen();
    let stalling = StallStore::stalled();
    let options = no_timer().drop_timeout(Duration::from_millis(57));
    let recorder = Recorder::with_options(stalling.clone(), options);
    recorder.record("n", 1_u64)?;
    no_hang("the drop ends", move || drop(recorder));
    let logged = errors_with(&["did not finish in time", "57ms"]);
    assert_eq!(logged.len(), 1);
    stalling.release();
    Ok(())
}
