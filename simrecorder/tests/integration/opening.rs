//! Opening by path: a recording is recognised by its contents, and each mistake is named.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use simrecorder::ErrorKind::{
    AlreadyExists, Corrupt, InvalidArgument, NotFound, PermissionDenied, Unsupported,
};
use simrecorder::{
    DataStore, Error, ErrorKind, OpenMode, OpenOptions, Recorder, Result, append, create, open,
    open_with,
};
use simrecorder_testkit::{all_files, assert_success, expect, role, this_test, this_test_by};
use tempfile::TempDir;

/// A format that this build has.
#[derive(Clone, Copy, Debug)]
struct Format {
    extension: &'static str,
    scheme: &'static str,
    /// As errors call it.
    name: &'static str,
}

/// All formats, each with the file that is there after a recording was closed.
const FORMATS: [(bool, Format, &str); 3] = [
    (
        cfg!(feature = "zarr"),
        Format {
            extension: "mdb",
            scheme: "zarr",
            name: "a Zarr recording in LMDB",
        },
        "data.mdb",
    ),
    (
        cfg!(feature = "zarr"),
        Format {
            extension: "zarr",
            scheme: "zarr+dir",
            name: "a Zarr recording in a directory",
        },
        "zarr.json",
    ),
    (
        cfg!(feature = "hdf5"),
        Format {
            extension: "h5",
            scheme: "hdf5",
            name: "an HDF5 file",
        },
        "",
    ),
];

fn formats() -> impl Iterator<Item = Format> + Clone {
    let built = FORMATS.into_iter().filter(|(is_built, ..)| *is_built);
    built.map(|(_, format, _)| format)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Records a number and closes the store.
fn record(store: Arc<dyn DataStore>, number: u64) {
    let recorder = Recorder::new(store);
    recorder.record("n", number).unwrap();
    recorder.close().unwrap();
}

fn numbers(store: Arc<dyn DataStore>) -> Vec<u64> {
    let view = Recorder::new(store).get_all("n").unwrap();
    view.read::<u64>().unwrap().iter().copied().collect()
}

fn in_mode(path: impl AsRef<Path>, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
    open_with(path, &OpenOptions::new().mode(mode))
}

/// A symbolic link at `path` to `target`.
fn link(target: impl AsRef<Path>, path: &Path) {
    std::os::unix::fs::symlink(target, path).unwrap();
}

#[test]
fn the_extension_names_the_format_of_a_new_recording() {
    for (is_built, format, file) in FORMATS {
        let folder = folder();
        for extension in [format.extension.to_owned(), format.extension.to_uppercase()] {
            let path = folder.path().join(format!("run.{extension}"));
            if !is_built {
                expect(
                    create(&path).unwrap_err(),
                    Unsupported,
                    &["feature", format.name],
                );
                continue;
            }
            record(create(&path).unwrap(), 1);
            assert!(path.join(file).is_file() || file.is_empty() && path.is_file());
        }
    }
    #[cfg(feature = "hdf5")]
    {
        let folder = folder();
        let path = folder.path().join("run.hdf5");
        record(create(&path).unwrap(), 1);
        assert!(path.is_file());
    }
}

#[test]
fn a_path_may_have_any_type() {
    for format in formats() {
        let folder = folder();
        let text = format!("{}/run.{}", folder.path().display(), format.extension);
        record(create(&text).unwrap(), 0);
        record(append(text.as_str()).unwrap(), 1);
        record(append(Path::new(&text)).unwrap(), 2);
        record(append(PathBuf::from(&text)).unwrap(), 3);
        record(append(Path::new(&text).as_os_str()).unwrap(), 4);
        assert_eq!(numbers(open(&text).unwrap()), [0, 1, 2, 3, 4]);
        assert!(open(&text).unwrap().is_read_only());
    }
}

#[test]
fn a_recording_is_recognised_by_its_contents() {
    for format in formats() {
        for name in [
            "run", "run.dat", "run.mdb", "run.zarr", "run.h5", "data.mdb", "memory", "a@b",
        ] {
            let folder = folder();
            let new = folder.path().join(format!("new.{}", format.extension));
            record(create(&new).unwrap(), 1);
            let path = folder.path().join(name);
            fs::rename(&new, &path).unwrap();
            record(append(&path).unwrap(), 2);
            record(in_mode(&path, OpenMode::OpenOrCreate).unwrap(), 3);
            assert_eq!(numbers(open(&path).unwrap()), [1, 2, 3]);
            expect(
                create(&path).unwrap_err(),
                AlreadyExists,
                &["create '", name],
            );
            record(in_mode(&path, OpenMode::Truncate).unwrap(), 4);
            assert_eq!(numbers(open(&path).unwrap()), [4]);
            let scheme = format.scheme;
            let url = format!("{scheme}:{}", path.display());
            assert_eq!(numbers(open(url).unwrap()), [4], "{scheme}: {name}");
        }
    }
}

#[test]
fn paths_may_have_characters_that_mean_something_elsewhere() {
    for format in formats() {
        let folder = folder();
        for name in [
            "a:b", "a?b", "100%", "%41", "a#b&c=d", "a b", "a@b", "-x", "é\n", "~", "zarr:x",
        ] {
            let path = folder.path().join(format!("{name}.{}", format.extension));
            record(create(&path).unwrap(), 1);
            assert!(path.exists(), "{path:?}");
            assert_eq!(numbers(open(&path).unwrap()), [1]);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_unicode() {
    use std::os::unix::ffi::OsStringExt;
    for format in formats() {
        let folder = folder();
        let name = [b"\xff.", format.extension.as_bytes()].concat();
        let path = folder.path().join(std::ffi::OsString::from_vec(name));
        record(create(&path).unwrap(), 1);
        assert_eq!(numbers(open(&path).unwrap()), [1]);
    }
    let url = std::ffi::OsString::from_vec(b"redis://:sesame@host/\xff".to_vec());
    let error = open(&url).unwrap_err();
    assert!(!error.to_string().contains("sesame"), "{error}");
    expect(error, InvalidArgument, &["UTF-8", "redis://host"]);
}

/// In a process of its own, for its home and its current folder.
#[test]
fn paths_are_relative_to_the_current_folder_and_the_home() {
    const NAME: &str = "paths_are_relative_to_the_current_folder_and_the_home";
    let Some(home) = role() else {
        let (home, current) = (folder(), folder());
        let mut command = this_test(NAME, home.path());
        command.current_dir(current.path()).env("HOME", home.path());
        return assert_success(&mut command);
    };
    for format in formats() {
        let extension = format.extension;
        let run = format!("run.{extension}");
        record(create(&run).unwrap(), 1);
        for path in [
            &run,
            &format!("./{run}"),
            &format!("./{run}/"),
            &format!("x/../{run}//"),
        ] {
            fs::create_dir_all("x").unwrap();
            assert_eq!(numbers(open(path).unwrap()), [1], "{path}");
        }
        record(create(format!("~/{run}")).unwrap(), 2);
        assert_eq!(numbers(open(home.join(&run)).unwrap()), [2]);
        // A name that reads as a URL is a path once there is something.
        let names = [
            format!("run-12:30.{extension}"),
            format!("lmdb:run.{extension}"),
        ];
        for name in names {
            expect(
                create(&name).unwrap_err(),
                InvalidArgument,
                &["there is no scheme"],
            );
            assert!(!Path::new(&name).exists());
            record(create(format!("./{name}")).unwrap(), 3);
            assert_eq!(numbers(open(&name).unwrap()), [3]);
        }
        // Not a scheme at all.
        for name in ["2026-01-01T12:30", "run_1:2", "C:\\runs\\run", "a b:c"] {
            let name = format!("{name}.{extension}");
            record(create(&name).unwrap(), 4);
            assert!(Path::new(&name).exists(), "{name}");
        }
        // With a known scheme it is a URL all the same.
        let scheme = format.scheme;
        let path = format!("{scheme}:{run}");
        record(create(format!("./{path}")).unwrap(), 5);
        assert_eq!(numbers(open(&path).unwrap()), [1]);
    }
    // From inside a recording.
    #[cfg(feature = "zarr")]
    {
        std::env::set_current_dir("run.zarr").unwrap();
        assert_eq!(numbers(open(".").unwrap()), [1]);
        expect(
            open("zarr.json").unwrap_err(),
            InvalidArgument,
            &["'.': open that"],
        );
        expect(
            open("zarr:.").unwrap_err(),
            InvalidArgument,
            &["zarr+dir:."],
        );
    }
}

#[test]
fn what_is_missing_is_created_or_not_found() {
    let folder = folder();
    for extension in ["mdb", "zarr", "h5", "dat"] {
        let path = folder.path().join(format!("run.{extension}"));
        for error in [open(&path).unwrap_err(), append(&path).unwrap_err()] {
            expect(
                error,
                NotFound,
                &["there is nothing at this path", extension, "create()"],
            );
        }
    }
    let error = append(folder.path().join("x.h5")).unwrap_err();
    assert!(error.to_string().starts_with("append '"), "{error}");
    for format in formats() {
        let path = folder.path().join(format!("new.{}", format.extension));
        record(in_mode(&path, OpenMode::OpenOrCreate).unwrap(), 1);
        assert_eq!(numbers(open(&path).unwrap()), [1]);
        let path = folder.path().join(format!("newer.{}", format.extension));
        record(in_mode(&path, OpenMode::Truncate).unwrap(), 2);
        assert_eq!(numbers(open(&path).unwrap()), [2]);
    }
}

#[test]
fn an_extension_that_names_no_format_is_an_error_that_names_those_that_do() {
    let folder = folder();
    for name in [
        "run",
        "run.dat",
        "run.",
        ".h5",
        "run.h5.bak",
        "mdb",
        "run.nc",
    ] {
        let path = folder.path().join(name);
        for mode in [
            OpenMode::CreateNew,
            OpenMode::OpenOrCreate,
            OpenMode::Truncate,
        ] {
            let parts = [
                name,
                "extension",
                ".mdb",
                ".zarr",
                ".h5",
                ".hdf5",
                "zarr:PATH",
            ];
            expect(in_mode(&path, mode).unwrap_err(), InvalidArgument, &parts);
        }
    }
    expect(
        create(folder.path()).unwrap_err(),
        InvalidArgument,
        &["extension"],
    );
    assert!(all_files(folder.path()).is_empty());
    for (query, kind) in [("mode=append", NotFound), ("compression=small", NotFound)] {
        let path = folder.path().join(format!("run.mdb?{query}"));
        let needed = "options after a ? need a scheme";
        expect(open(&path).unwrap_err(), kind, &[needed]);
        expect(create(&path).unwrap_err(), InvalidArgument, &[needed]);
    }
}

#[test]
fn an_empty_folder_becomes_a_recording_where_that_is_a_folder() {
    for format in formats() {
        let folder = folder();
        let path = folder.path().join(format!("run.{}", format.extension));
        fs::create_dir(&path).unwrap();
        expect(open(&path).unwrap_err(), NotFound, &["an empty folder"]);
        expect(append(&path).unwrap_err(), NotFound, &["an empty folder"]);
        if format.extension == "h5" {
            expect(
                create(&path).unwrap_err(),
                AlreadyExists,
                &["an empty folder"],
            );
            let either = in_mode(&path, OpenMode::OpenOrCreate);
            expect(either.unwrap_err(), InvalidArgument, &["an empty folder"]);
            continue;
        }
        // What an interrupted creation leaves.
        if format.extension == "mdb" {
            fs::write(path.join("writer.lock"), "").unwrap();
            expect(open(&path).unwrap_err(), NotFound, &["an empty folder"]);
        }
        record(create(&path).unwrap(), 1);
        assert_eq!(numbers(open(&path).unwrap()), [1]);
    }
}

/// Makes something that is no recording at a path, and returns what errors call it.
type Make = fn(&Path) -> &'static str;

const NO_RECORDINGS: [Make; 7] = [
    |path| {
        fs::write(
            path,
            "neither HDF5 nor anything else of ours, and longer than 512 bytes".repeat(20),
        )
        .unwrap();
        "a file that is not HDF5"
    },
    |path| {
        fs::write(path, "\u{89}").unwrap();
        "a file that is not HDF5"
    },
    |path| {
        fs::write(path, "").unwrap();
        "an empty file"
    },
    |path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        "a folder without a recording"
    },
    |path| {
        link("nothing", path);
        "a symbolic link to nothing"
    },
    |path| {
        assert_success(Command::new("mkfifo").arg(path));
        "neither a file nor a folder"
    },
    |path| {
        link("/dev/null", path);
        "neither a file nor a folder"
    },
];

/// None is waited for, changed or deleted.
#[test]
fn what_is_no_recording_is_named_and_left_alone() {
    for make in NO_RECORDINGS {
        for name in ["run", "run.txt", "run.mdb", "run.zarr", "run.h5"] {
            let folder = folder();
            let path = folder.path().join(name);
            let called = make(&path);
            let is_damaged_hdf5 = name == "run.h5" && called == "a file that is not HDF5";
            let is_missing = called.contains("link to nothing") || called.contains("folder w");
            for (mode, error) in each_error(&path) {
                let kind = match mode {
                    OpenMode::CreateNew => AlreadyExists,
                    OpenMode::Read | OpenMode::Append if is_missing => NotFound,
                    _ if is_damaged_hdf5 => Corrupt,
                    _ => InvalidArgument,
                };
                expect(error, kind, &[name, "there is", called]);
            }
            if name != "run.h5" || !path.is_file() {
                let error = in_mode(&path, OpenMode::Truncate).unwrap_err();
                expect(error, InvalidArgument, &[name, called]);
            }
            let left = fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(left, 1, "{name}: {called}");
            if path.is_dir() {
                assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
            }
        }
    }
}

/// The error of each mode but `Truncate`, which come within a minute.
fn each_error(path: &Path) -> Vec<(OpenMode, Error)> {
    let (done, wait) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let opened = [
            (OpenMode::Read, open(&path)),
            (OpenMode::Append, append(&path)),
            (OpenMode::CreateNew, create(&path)),
            (
                OpenMode::OpenOrCreate,
                in_mode(&path, OpenMode::OpenOrCreate),
            ),
        ];
        done.send(
            opened
                .map(|(mode, opened)| (mode, opened.unwrap_err()))
                .into(),
        )
    });
    wait.recv_timeout(Duration::from_secs(60))
        .expect("nothing is waited for")
}

/// A damaged file may be replaced where its extension says that it was a recording.
#[cfg(feature = "hdf5")]
#[test]
fn a_damaged_hdf5_file_can_be_truncated() {
    for damaged in ["", "not HDF5"] {
        let folder = folder();
        let path = folder.path().join("run.h5");
        fs::write(&path, damaged).unwrap();
        record(in_mode(&path, OpenMode::Truncate).unwrap(), 1);
        assert_eq!(numbers(open(&path).unwrap()), [1]);
    }
}

#[test]
fn a_file_of_a_recording_leads_to_the_recording() {
    for format in formats() {
        let folder = folder();
        let path = folder.path().join(format!("run.{}", format.extension));
        let store = create(&path).unwrap();
        Recorder::new(Arc::clone(&store)).record("n", 1).unwrap();
        let parts: &[&str] = match format.extension {
            "mdb" => &["data.mdb", "lock.mdb", "writer.lock"],
            "zarr" => &["zarr.json", ".journal"],
            _ => &[".journal"],
        };
        for part in parts {
            let part = match part.strip_prefix('.') {
                Some(_) => format!("{}{part}", path.display()),
                None => format!("{}/{part}", path.display()),
            };
            if Path::new(&part).exists() {
                let whole = format!("recording '{}': open that", path.display());
                expect(open(&part).unwrap_err(), InvalidArgument, &[&whole]);
            }
        }
    }
}

/// A scheme that does not fit what is there is an error that names the one that does.
#[test]
fn a_scheme_of_another_format_is_refused() {
    for format in formats() {
        let folder = folder();
        let path = folder.path().join(format!("run.{}", format.extension));
        record(create(&path).unwrap(), 1);
        let before = all_files(folder.path());
        for other in ["zarr", "zarr+dir", "hdf5"] {
            if other == format.scheme {
                continue;
            }
            let url = format!("{other}:{}", path.display());
            let right = format!("'{}:{}'", format.scheme, path.display());
            for mode in [
                OpenMode::Read,
                OpenMode::Append,
                OpenMode::OpenOrCreate,
                OpenMode::Truncate,
            ] {
                let error = in_mode(&url, mode).unwrap_err();
                expect(error, InvalidArgument, &[&url, format.name, &right]);
            }
            expect(
                create(&url).unwrap_err(),
                AlreadyExists,
                &[&url, format.name],
            );
        }
        let after = all_files(folder.path());
        assert_eq!(before.len(), after.len());
    }
    #[cfg(feature = "hdf5")]
    {
        let folder = folder();
        let url = format!("hdf5:{}", folder.path().display());
        expect(open(url).unwrap_err(), InvalidArgument, &["not a file"]);
    }
}

#[test]
fn schemes_that_there_are_not_name_those_to_write() {
    for (url, advice) in [
        (
            "lmdb:run.mdb",
            "write zarr: in its place, or the path alone",
        ),
        ("LMDB:run.mdb", "write zarr:"),
        ("h5:run.h5", "write hdf5:"),
        ("file:run.h5", "write the path alone"),
        ("file:///tmp/run.h5", "write the path alone"),
        ("dir:run.zarr", "write zarr+dir:"),
        ("zarr-dir:run.zarr", "write zarr+dir:"),
        ("ZARR:run.mdb", "write zarr:"),
        ("Redis://host", "write redis: in its place;"),
        ("valkey://host", "write redis:"),
        ("s3://bucket/run.zarr", "there are memory:"),
        ("run-1:30.mdb", "write ./"),
    ] {
        for mode in [OpenMode::Read, OpenMode::CreateNew, OpenMode::OpenOrCreate] {
            expect(
                in_mode(url, mode).unwrap_err(),
                InvalidArgument,
                &["there is no scheme", advice],
            );
        }
    }
    for scheme in ["zarr", "zarr+dir", "hdf5"] {
        let error = open(format!("{scheme}://runs/run")).unwrap_err();
        let right = [
            &*format!("'{scheme}:runs/run'"),
            &format!("'{scheme}:/runs/run'"),
        ];
        expect(error, InvalidArgument, &right);
        expect(
            create(format!("{scheme}://")).unwrap_err(),
            InvalidArgument,
            &[scheme],
        );
    }
    for format in formats() {
        // Three slashes are a URL without a host.
        let folder = folder();
        let url = format!(
            "{}://{}",
            format.scheme,
            folder.path().join("run").display()
        );
        record(create(&url).unwrap(), 1);
        assert_eq!(numbers(open(&url).unwrap()), [1]);
    }
}

#[test]
fn an_operation_allows_no_other_mode_in_a_url() {
    assert!(!create("memory:?mode=create-new").unwrap().is_read_only());
    assert!(!append("memory:?mode=append").unwrap().is_read_only());
    let refused = |opened: Result<_>, call, mode| {
        expect(
            opened.map(drop).unwrap_err(),
            InvalidArgument,
            &[call, "open_with()", mode],
        );
    };
    refused(create("memory:?mode=append"), "create()", "mode=append");
    refused(create("memory:?mode=read"), "create()", "mode=read");
    refused(append("memory:?mode=truncate"), "append()", "mode=truncate");
    refused(open("memory:?mode=append"), "open()", "mode=append");
}

/// A URL without its scheme is taken for a path, and no error shows its password.
#[test]
fn no_error_shows_a_piece_of_a_password_of_a_url_without_a_scheme() {
    for place in [
        "sesame@host.invalid",
        "a.sesame@host.invalid",
        "sesame/tahini@host.invalid",
        "//:sesame@host.invalid:6379",
        "//user:sesame@host.invalid?run=x",
        "//host.invalid:6379?password=sesame",
        "//host.invalid:6379?mode=sesame",
        "://user:sesame@host.invalid",
        ":sesame@host.invalid",
    ] {
        for mode in [OpenMode::Read, OpenMode::CreateNew, OpenMode::Truncate] {
            let error = in_mode(place, mode).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("sesame") && !shown.contains("tahini"),
                "{place}: {shown}"
            );
        }
    }
}

/// What a writer leaves that is killed: copies of its files, made while it has them open.
#[test]
fn recordings_of_killed_writers_are_recognised() {
    for format in formats() {
        let folder = folder();
        let place = |name: &str| folder.path().join(format!("{name}.{}", format.extension));
        let store = create(place("run")).unwrap();
        let recorder = Recorder::new(Arc::clone(&store));
        recorder.record("n", 1_u64).unwrap();
        recorder.flush().unwrap();
        let left = folder.path().join("left");
        fs::create_dir(&left).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name();
            if name != "left" {
                let from = folder.path().join(&name);
                assert_success(Command::new("cp").arg("-r").arg(from).arg(left.join(&name)));
            }
        }
        let path = left.join(place("run").file_name().unwrap());
        assert!(format.extension != "zarr" || !path.join("zarr.json").exists());
        let by_link = folder.path().join("link.txt");
        link(&path, &by_link);
        expect(create(&path).unwrap_err(), AlreadyExists, &[]);
        assert_eq!(numbers(open(&path).unwrap()), [1]);
        assert_eq!(numbers(open(&by_link).unwrap()), [1]);
        record(append(&by_link).unwrap(), 2);
        assert_eq!(numbers(open(&path).unwrap()), [1, 2]);
    }
}

#[cfg(feature = "hdf5")]
#[test]
fn an_hdf5_file_may_begin_with_something_else() {
    let folder = folder();
    let path = folder.path().join("run.h5");
    record(create(&path).unwrap(), 1);
    let bytes = fs::read(&path).unwrap();
    for before in [512, 1024, 4096] {
        let path = folder.path().join(before.to_string());
        fs::write(&path, [&vec![b'#'; before], &bytes[..]].concat()).unwrap();
        assert_eq!(numbers(open(&path).unwrap()), [1], "{before}");
    }
    // No superblock may be there.
    let path = folder.path().join("768");
    fs::write(&path, [&vec![b'#'; 768], &bytes[..]].concat()).unwrap();
    expect(open(&path).unwrap_err(), InvalidArgument, &["not HDF5"]);
}

#[cfg(feature = "zarr")]
#[test]
fn zarr_of_other_software_is_recognised() {
    let group = r#"{"zarr_format": 3, "node_type": "group", "attributes": {}}"#;
    let folder = folder();
    let path = folder.path().join("data");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("zarr.json"), group).unwrap();
    assert_eq!(Recorder::new(open(&path).unwrap()).keys().unwrap(), []);
    record(append(&path).unwrap(), 1);
    assert_eq!(numbers(open(&path).unwrap()), [1]);
    // A journal of other software means nothing.
    let other = folder.path().join("notes");
    fs::create_dir(&other).unwrap();
    fs::write(folder.path().join("notes.journal"), "a diary").unwrap();
    expect(open(&other).unwrap_err(), NotFound, &["an empty folder"]);

    let old = folder.path().join("old.zarr");
    fs::create_dir(&old).unwrap();
    fs::write(old.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
    expect(open(&old).unwrap_err(), Unsupported, &["Zarr V2"]);
}

/// What is damaged is for its store to tell.
#[cfg(feature = "zarr")]
#[test]
fn damaged_recordings_are_recognised() {
    let folder = folder();
    let path = folder.path().join("run");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("data.mdb"), "damaged").unwrap();
    expect(open(&path).unwrap_err(), Corrupt, &["LMDB"]);
    let path = folder.path().join("run.dat");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("zarr.json"), "damaged").unwrap();
    expect(open(&path).unwrap_err(), Corrupt, &["zarr.json"]);
}

/// Without a feature, what needs it is recognised all the same.
#[test]
fn a_recording_whose_feature_is_off_names_the_feature() {
    let folder = folder();
    for (is_built, format, _) in FORMATS {
        if is_built {
            continue;
        }
        let path = folder.path().join(format.scheme);
        match format.scheme {
            "zarr" => {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("data.mdb"), [0; 64]).unwrap();
            }
            "zarr+dir" => {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("zarr.json"), "{}").unwrap();
            }
            _ => fs::write(&path, b"\x89HDF\r\n\x1a\n and more").unwrap(),
        }
        let feature = format!("'{}'", format.scheme.trim_end_matches("+dir"));
        for opened in [open(&path), append(&path)] {
            let parts = [&*format!("this is {}", format.name), "feature", &feature];
            expect(opened.unwrap_err(), Unsupported, &parts);
        }
        let new = folder.path().join(format!("new.{}", format.extension));
        expect(
            create(&new).unwrap_err(),
            Unsupported,
            &["feature", &feature],
        );
    }
}

/// As a user without the rights of root.
#[cfg(target_os = "linux")]
#[test]
fn what_may_not_be_looked_at_says_so() {
    use std::os::unix::fs::PermissionsExt;
    const NAME: &str = "what_may_not_be_looked_at_says_so";
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    if let Some(folder) = role() {
        for place in ["file.h5", "folder", "folder/run.mdb"] {
            for opened in [open(folder.join(place)), append(folder.join(place))] {
                expect(opened.unwrap_err(), PermissionDenied, &[place]);
            }
        }
        return;
    }
    let folder = folder();
    fs::write(folder.path().join("file.h5"), "secret").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    allow(&folder.path().join("file.h5"), 0o000);
    allow(&folder.path().join("folder"), 0o000);
    allow(folder.path(), 0o755);
    let mut child = match fs::File::open(folder.path().join("file.h5")) {
        Err(_) => this_test(NAME, folder.path()),
        // Root may do everything, unless it gives that up.
        Ok(_) => {
            let less = ["--bounding-set=-dac_override,-dac_read_search"];
            this_test_by("setpriv", &less, NAME, folder.path())
        }
    };
    assert_success(&mut child);
    allow(&folder.path().join("folder"), 0o755);
}

#[test]
fn paths_that_cannot_be_are_errors() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.join("run.mdb"), file.join("run.h5")] {
        for opened in [open(&path), create(&path), append(&path)] {
            expect(
                opened.unwrap_err(),
                InvalidArgument,
                &["a part of this path is a file"],
            );
        }
    }
    for opened in [open("a\0b.mdb"), create("a\0b.mdb")] {
        expect(
            opened.unwrap_err(),
            InvalidArgument,
            &["no file can have this name"],
        );
    }
    let long = format!("{}.mdb", "x".repeat(300));
    for opened in [open(&long), create(&long)] {
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Io);
    }
    expect(
        create("").unwrap_err(),
        InvalidArgument,
        &["create ''", "the path is empty", "memory:"],
    );
    expect(
        open("C:\\runs\\run.mdb").unwrap_err(),
        NotFound,
        &["there is nothing"],
    );
}
