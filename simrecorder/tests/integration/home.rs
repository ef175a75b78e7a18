//! `~` at the start of any path is the home folder.
#![cfg(any(feature = "zarr", feature = "hdf5", feature = "redis"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::path::Path;

use simrecorder::{DataStore, Recorder};
use simrecorder_testkit::{assert_success, role, this_test};

/// Runs the test again with the folder of [`role`] as `HOME`, in another current folder, which
/// must stay empty.
fn at_home(name: &str) {
    // Characters with a meaning in URLs.
    let home = tempfile::Builder::new()
        .prefix("a %2f#b")
        .tempdir()
        .unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = this_test(name, home.path());
    assert_success(
        command
            .env("HOME", home.path())
            .current_dir(elsewhere.path()),
    );
    let mut left = std::fs::read_dir(elsewhere.path()).unwrap();
    assert!(left.next().is_none(), "a folder '~' was made");
}

/// Checks that an opened recording is at `file` in the home folder.
fn is_at_home(home: &Path, file: &str, store: impl DataStore + 'static) {
    Recorder::new(store).close().unwrap();
    assert!(home.join(file).exists(), "{file}");
}

/// A recording that is created by URL is found at the same path in full.
#[cfg(any(feature = "zarr", feature = "hdf5"))]
fn url_is_at_home(home: &Path, scheme: &str, file: &str) {
    use simrecorder::{ErrorKind, OpenMode, OpenOptions};
    let options = OpenOptions::new().mode(OpenMode::CreateNew);
    let store = simrecorder::open_with(format!("{scheme}:~/{file}"), &options).unwrap();
    is_at_home(home, file, store);
    let url = format!("{scheme}:{}", home.join(file).display());
    simrecorder::open(&url).unwrap();
    let error = simrecorder::open(format!("{scheme}:~nobody/{file}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[cfg(feature = "zarr")]
#[test]
fn zarr_recordings_are_at_home() {
    use simrecorder::ZarrDataStore;
    let Some(home) = role() else {
        return at_home("zarr_recordings_are_at_home");
    };
    is_at_home(
        &home,
        "created",
        ZarrDataStore::create("~/created").unwrap(),
    );
    is_at_home(
        &home,
        "created",
        ZarrDataStore::append("~/created").unwrap(),
    );
    is_at_home(&home, "created", ZarrDataStore::open("~/created").unwrap());
    is_at_home(&home, "new", ZarrDataStore::new("~/new").unwrap());
    url_is_at_home(&home, "zarr", "run.mdb");
    url_is_at_home(&home, "zarr+dir", "run.zarr");
}

#[cfg(feature = "hdf5")]
#[test]
fn hdf5_files_are_at_home() {
    use simrecorder::Hdf5DataStore;
    let Some(home) = role() else {
        return at_home("hdf5_files_are_at_home");
    };
    is_at_home(
        &home,
        "created",
        Hdf5DataStore::create("~/created").unwrap(),
    );
    is_at_home(
        &home,
        "created",
        Hdf5DataStore::append("~/created").unwrap(),
    );
    is_at_home(&home, "created", Hdf5DataStore::open("~/created").unwrap());
    is_at_home(&home, "new", Hdf5DataStore::new("~/new").unwrap());
    url_is_at_home(&home, "hdf5", "run.h5");
}

#[cfg(feature = "redis")]
#[test]
fn redis_servers_and_sockets_are_at_home() {
    use simrecorder::{RedisDataStore, RedisServer};
    let Some(home) = role() else {
        return at_home("redis_servers_and_sockets_are_at_home");
    };
    is_at_home(
        &home,
        "launched",
        RedisDataStore::launch("~/launched").unwrap(),
    );
    let server = RedisServer::options()
        .unix_socket(home.join("socket"))
        .start("~/started")
        .unwrap();
    assert!(home.join("started").is_dir());
    for place in ["redis+unix:~/socket", "redis+unix:~/socket?db=0"] {
        let separator = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{separator}run=x&mode=open-or-create");
        simrecorder::open_with(&url, &Default::default()).unwrap();
    }
    server.stop().unwrap();
}
