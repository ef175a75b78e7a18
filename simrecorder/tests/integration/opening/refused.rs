//! Errors name what cannot be opened and what to write instead, and nothing changes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use simrecorder::ErrorKind::*;
use simrecorder::{DataStore, Error, ErrorKind, OpenMode, Recorder, Result, append, create, open};
use simrecorder_testkit::{all_files, assert_success, expect, role, this_test, this_test_by};

use super::{folder, formats, in_mode, link, numbers, record};

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

/// Creates something other than a recording at a path, and returns its name in errors.
type Make = fn(&Path) -> &'static str;

const NO_RECORDINGS: [Make; 7] = [
    |path| {
        fs::write(
            path,
            "neither HDF5 nor anything else of ours, and longer than 512 bytes".repeat(20),
        )
        .unwrap();
        "a file that is neither HDF5 nor LMDB"
    },
    |path| {
        fs::write(path, "\u{89}").unwrap();
        "a file that is neither HDF5 nor LMDB"
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

/// Nothing is waited for, changed or deleted.
#[test]
fn what_is_no_recording_is_named_and_left_alone() {
    for make in NO_RECORDINGS {
        for name in ["run", "run.txt", "run.mdb", "run.zarr", "run.h5"] {
            let folder = folder();
            let path = folder.path().join(name);
            let called = make(&path);
            let is_damaged_hdf5 =
                name == "run.h5" && called == "a file that is neither HDF5 nor LMDB";
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
            if name != "run.h5" || called != "an empty file" {
                let kind = if is_damaged_hdf5 {
                    Corrupt
                } else {
                    InvalidArgument
                };
                let error = in_mode(&path, OpenMode::Truncate).unwrap_err();
                expect(error, kind, &[name, called]);
            }
            let left = fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(left, 1, "{name}: {called}");
            if path.is_dir() {
                assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
            }
        }
    }
}

/// The errors of all modes except `Truncate`, within a minute.
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

/// A URL with `mode=truncate` deletes only recordings.
#[test]
fn truncating_by_url_leaves_other_files_alone() {
    for format in formats() {
        for make in NO_RECORDINGS {
            let folder = folder();
            let path = folder.path().join("run");
            let called = make(&path);
            if format.scheme == "hdf5" && called == "an empty file" {
                continue;
            }
            let url = format!("{}:{}", format.scheme, path.display());
            let error = in_mode(format!("{url}?mode=truncate"), OpenMode::Read).unwrap_err();
            let kind = match error.kind() {
                AlreadyExists if called.contains("link to nothing") => AlreadyExists,
                _ => InvalidArgument,
            };
            expect(error, kind, &["run"]);
            assert_eq!(
                fs::read_dir(folder.path()).unwrap().count(),
                1,
                "{url}: {called}"
            );
            if path.is_dir() {
                assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
            }
        }
    }
}

/// A scheme that does not fit the recording is an error that names the right one.
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
        ("s3://bucket/run.zarr", "the schemes are memory:"),
        ("run-1:30.mdb", "write ./"),
    ] {
        for mode in [OpenMode::Read, OpenMode::CreateNew, OpenMode::OpenOrCreate] {
            expect(
                in_mode(url, mode).unwrap_err(),
                InvalidArgument,
                &["unknown scheme", advice],
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
        // Three slashes begin a URL without a host.
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

/// A URL without its scheme counts as a path, and no error shows its password.
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
        // Root may do everything, unless it drops this right.
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
