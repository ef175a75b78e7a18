//! Opening stores by URL: errors name each mistake.

use simrecorder::{DataStore, Error, ErrorKind, OpenMode, OpenOptions, open, open_with};

fn expect(error: Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(
            error.to_string().contains(part),
            "the error does not name '{part}': {error}"
        );
    }
}

#[test]
fn an_unknown_scheme_names_the_ones_there_are() {
    let known = if cfg!(feature = "zarr") {
        "zarr+dir:"
    } else {
        "memory:"
    };
    for url in ["zar:run.mdb", "", ":", "ZARR:x", "memory"] {
        expect(
            open(url).unwrap_err(),
            ErrorKind::InvalidArgument,
            &["memory:", known],
        );
    }
}

#[test]
fn an_unknown_option_or_value_is_an_error() {
    for url in [
        "memory:?mod=read",
        "memory:?mode=red",
        "memory:?compression=best",
        "memory:?compression=lossy",
        "memory:?compression=lossy:0",
        "memory:?x",
    ] {
        expect(open(url).unwrap_err(), ErrorKind::InvalidArgument, &[url]);
    }
    expect(
        open("memory:run").unwrap_err(),
        ErrorKind::InvalidArgument,
        &["memory:run"],
    );
}

#[test]
fn the_options_of_a_url_take_precedence() {
    let append = OpenOptions::new().mode(OpenMode::Append);
    assert!(open("memory:").unwrap().is_read_only());
    assert!(!open_with("memory:", &append).unwrap().is_read_only());
    assert!(
        open_with("memory:?mode=read", &append)
            .unwrap()
            .is_read_only()
    );
    let url = "memory:?mode=append&compression=small";
    let store = open_with(url, &OpenOptions::new()).unwrap();
    assert!(!store.is_read_only());
}

#[test]
fn opening_for_reading_refuses_urls_that_would_write() {
    for mode in ["append", "open-or-create", "create-new", "truncate"] {
        expect(
            open(format!("memory:?mode={mode}")).unwrap_err(),
            ErrorKind::InvalidArgument,
            &["open_with()", mode],
        );
    }
    assert!(open("memory:?mode=read").unwrap().is_read_only());
}

#[cfg(feature = "redis")]
#[test]
fn a_durability_that_a_server_would_not_keep_is_refused() {
    let options = OpenOptions::new().durability(simrecorder::Durability::Power);
    expect(
        open_with("redis://127.0.0.1:1?run=a", &options).unwrap_err(),
        ErrorKind::InvalidArgument,
        &["RedisServerOptions::sync"],
    );
}

/// In each of these, the words are meant to be a password.
#[test]
fn no_error_shows_a_piece_of_a_password() {
    for url in [
        "redis://:sesame?tahini@host.invalid",
        "redis://:sesame?run=tahini@host.invalid",
        "redis://:sesame&tahini@host.invalid?rum=1",
        "redis://:sesame/tahini@host.invalid",
        "redis://:sesame#tahini@host.invalid",
        "redis://user:1?mode=tahini@host.invalid",
        "redis://user:1?compression=tahini@host.invalid",
        "redis://host.invalid?password=sesame",
        "redis://host.invalid?password=sesame&tahini",
        "redis+unix:/none?pass=sesame&tahini",
        "redis+unix:/none?pass=sesame&tahini=1",
        "redis+unix://:sesame@/none",
        "redis:/:sesame@host.invalid",
        "redis:sesame@host.invalid",
        "redis://:sesame",
        "redis://user:sesame",
        "rediss://:sesame@host.invalid:port",
        "Redis://:sesame@host.invalid",
        "valkey://:sesame@host.invalid/tahini",
        "http://:sesame?tahini@host.invalid",
        "sesame@host.invalid:6379",
        "user:sesame@host.invalid",
        "sesame@host.invalid",
    ] {
        let error = open(url).unwrap_err();
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(next) = source {
            shown += &format!(" {next} {next:?}");
            source = next.source();
        }
        for piece in ["sesame", "tahini"] {
            assert!(!shown.contains(piece), "{url}: {shown}");
        }
    }
    // The error shows the other parts.
    for (url, part) in [
        (
            "redis://:sesame@host.invalid:1?rum=x",
            "redis://host.invalid:1",
        ),
        ("redis:/:sesame@host.invalid", "'redis:'"),
        ("valkey://:sesame@host.invalid", "'valkey'"),
        ("redis://host.invalid?password=sesame", "'password'"),
    ] {
        let error = open(url).unwrap_err().to_string();
        if cfg!(feature = "redis") || url.starts_with("valkey") {
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}

#[cfg(not(feature = "zarr"))]
#[test]
fn a_scheme_whose_feature_is_off_names_the_feature() {
    for url in ["zarr:run.mdb", "zarr+dir:run.zarr"] {
        expect(
            open(url).unwrap_err(),
            ErrorKind::Unsupported,
            &["feature", "zarr"],
        );
    }
}

#[cfg(not(feature = "redis"))]
#[test]
fn redis_needs_its_feature() {
    for url in ["redis://h?run=x", "rediss://h", "redis+unix:/s?db=1"] {
        expect(
            open(url).unwrap_err(),
            ErrorKind::Unsupported,
            &["feature", "redis"],
        );
    }
}

#[cfg(feature = "redis")]
#[test]
fn redis_urls_open_recordings_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let server = simrecorder::RedisServer::options()
        .password("p@ss/word")
        .unix_socket(&socket)
        .start(folder.path().join("data"))
        .unwrap();
    let create = OpenOptions::new().mode(OpenMode::CreateNew);
    let url = format!("{}/0?run=a", server.url());
    expect(open(&url).unwrap_err(), ErrorKind::NotFound, &["'a'"]);
    open_with(&url, &create).unwrap().close().unwrap();
    assert!(open(&url).unwrap().is_read_only());
    expect(
        open_with(&url, &create).unwrap_err(),
        ErrorKind::AlreadyExists,
        &["'a'"],
    );
    let other = format!("{}?mode=create-new&run=b&compression=small", server.url());
    let store = open_with(&other, &OpenOptions::new()).unwrap();
    store.close().unwrap();
    let at_socket = format!("redis+unix:{}?pass=p%40ss%2fword&run=b", socket.display());
    open(&at_socket).unwrap();

    let host = format!("127.0.0.1:{}", server.port());
    for (url, kind, part) in [
        (
            format!("{}?rum=a", server.url()),
            ErrorKind::InvalidArgument,
            "'rum'",
        ),
        (
            format!("{}?mode=red", server.url()),
            ErrorKind::InvalidArgument,
            "unknown mode 'red'",
        ),
        (
            format!("redis://:wrong@{host}?run=a"),
            ErrorKind::PermissionDenied,
            &*host,
        ),
        (
            format!("redis://{host}?run=a"),
            ErrorKind::PermissionDenied,
            "password",
        ),
        (
            format!("{at_socket}&x=1"),
            ErrorKind::InvalidArgument,
            "in a password, write & as %26",
        ),
    ] {
        let error = open(&url).unwrap_err();
        for secret in ["p%40ss", "p@ss", "wrong"] {
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
        expect(error, kind, &[part]);
    }
    server.stop().unwrap();
}

#[cfg(not(feature = "hdf5"))]
#[test]
fn the_scheme_of_hdf5_names_both_of_its_features() {
    expect(
        open("hdf5:run.h5").unwrap_err(),
        ErrorKind::Unsupported,
        &["feature", "'hdf5'", "'hdf5-static'"],
    );
}

#[test]
fn urls_open_every_backend_that_this_build_has() {
    let folder = tempfile::tempdir().unwrap();
    let schemes = [
        (cfg!(feature = "zarr"), "zarr"),
        (cfg!(feature = "zarr"), "zarr+dir"),
        (cfg!(feature = "hdf5"), "hdf5"),
    ];
    for (_, scheme) in schemes.into_iter().filter(|(is_on, _)| *is_on) {
        let url = format!("{scheme}:{}", folder.path().join(scheme).display());
        expect(open(&url).unwrap_err(), ErrorKind::NotFound, &[scheme]);
        let create = format!("{url}?mode=create-new");
        let store = open_with(&create, &OpenOptions::new()).unwrap();
        store.close().unwrap();
        drop(store);
        assert!(open(&url).unwrap().is_read_only());
        let create = OpenOptions::new().mode(OpenMode::CreateNew);
        expect(
            open_with(&url, &create).unwrap_err(),
            ErrorKind::AlreadyExists,
            &[scheme],
        );
        expect(
            open(format!("{scheme}:")).unwrap_err(),
            ErrorKind::InvalidArgument,
            &["empty"],
        );
    }
}

#[cfg(feature = "zarr")]
#[test]
fn a_url_can_ask_for_lossy_compression() {
    use simrecorder::{Compression, Recorder, prelude::*};

    let folder = tempfile::tempdir().unwrap();
    let url = format!("zarr:{}", folder.path().join("run.mdb").display());
    let create = format!("{url}?mode=create-new&compression=lossy:0.25");
    let store = open_with(&create, &OpenOptions::new()).unwrap();
    let recorder = Recorder::new(store);
    recorder.record("v", 0.6).unwrap();
    let view = recorder.get_all("v").unwrap();
    let compression = view.schema().compression();
    assert_eq!(compression, Some(Compression::lossy(0.25).unwrap()));
    assert_eq!(view.read::<f64>().unwrap()[0], 0.5);
    recorder.close().unwrap();
}
