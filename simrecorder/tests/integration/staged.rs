//! Recordings that appear at their path only when they are complete.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::path::Path;

use simrecorder::{ErrorKind, OpenOptions, Recorder, StagedRecording};
use simrecorder_testkit::names_in;

/// Paths and URLs of the file formats of this build.
fn places(folder: &Path) -> Vec<(String, String)> {
    let extensions = [
        (cfg!(feature = "zarr"), "", "mdb"),
        (cfg!(feature = "zarr"), "", "zarr"),
        (cfg!(feature = "hdf5"), "", "h5"),
        (cfg!(feature = "zarr"), "zarr:", "any"),
    ];
    let there = extensions.into_iter().filter(|(is_on, ..)| *is_on);
    let place = |(_, scheme, extension)| {
        let name = format!("run.{extension}");
        let path = folder.join(&name);
        (name, format!("{scheme}{}", path.display()))
    };
    there.map(place).collect()
}

fn stage(place: &str) -> simrecorder::Result<StagedRecording> {
    let staged = StagedRecording::create(place, &OpenOptions::new())?;
    let recorder = Recorder::new(staged.store().clone());
    recorder.record("x", 1.5)?;
    recorder.flush()?;
    Ok(staged)
}

#[test]
fn a_staged_recording_appears_when_it_is_published_and_leaves_nothing_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let mut published = Vec::new();
    for (name, place) in places(folder.path()) {
        let staged = stage(&place).unwrap();
        assert!(!folder.path().join(&name).exists(), "{place}");
        drop(staged);
        assert_eq!(names_in(folder.path()), published, "{place}");
        stage(&place).unwrap().publish().unwrap();
        published.push(name);
        published.sort();
        assert_eq!(names_in(folder.path()), published);
        let reader = Recorder::new(simrecorder::open(&place).unwrap());
        assert_eq!(reader.get_all("x").unwrap().len(), 1);
    }
}

#[test]
fn what_is_at_the_path_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for (name, place) in places(folder.path()) {
        let staged = stage(&place).unwrap();
        stage(&place).unwrap().publish().unwrap();
        let late = staged.publish().unwrap_err();
        let early = stage(&place).unwrap_err();
        for error in [late, early] {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
            assert!(error.to_string().contains(&name), "{error}");
        }
        assert!(simrecorder::open(&place).is_ok());
    }
    assert_eq!(names_in(folder.path()).len(), places(folder.path()).len());
}

#[test]
fn a_place_where_nothing_can_be_created_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["run.txt", "no/such/run.mdb"] {
        let path = folder.path().join(name);
        let error = StagedRecording::create(&path, &OpenOptions::new()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert!(names_in(folder.path()).is_empty());
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_recording_on_a_server_is_deleted_unless_it_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let server = simrecorder::RedisServer::start(folder.path()).unwrap();
    let runs = || simrecorder::RedisDataStore::runs(server.url()).unwrap();
    let place = format!("{}?run=copy", server.url());
    drop(stage(&place).unwrap());
    assert!(runs().is_empty());
    stage(&place).unwrap().publish().unwrap();
    assert_eq!(runs(), ["copy"]);
    assert_eq!(stage(&place).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(runs(), ["copy"]);
}
