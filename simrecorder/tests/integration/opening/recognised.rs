//! An existing recording is recognised by its contents; the path of a new one names its format.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use simrecorder::ErrorKind::*;
use simrecorder::{DataStore, OpenMode, Recorder, append, create, open};
use simrecorder_testkit::{assert_success, expect, python_with_zarr2, role, this_test};

use super::{FORMATS, folder, formats, in_mode, link, numbers, record};

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

/// In another process with its own home and current folder.
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
        // A name that looks like a URL is a path if it exists.
        let names = [
            format!("run-12:30.{extension}"),
            format!("lmdb:run.{extension}"),
        ];
        for name in names {
            expect(
                create(&name).unwrap_err(),
                InvalidArgument,
                &["unknown scheme"],
            );
            assert!(!Path::new(&name).exists());
            record(create(format!("./{name}")).unwrap(), 3);
            assert_eq!(numbers(open(&name).unwrap()), [3]);
        }
        // This is not a scheme.
        for name in ["2026-01-01T12:30", "run_1:2", "C:\\runs\\run", "a b:c"] {
            let name = format!("{name}.{extension}");
            record(create(&name).unwrap(), 4);
            assert!(Path::new(&name).exists(), "{name}");
        }
        // With a known scheme it is still a URL.
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
        // As an interrupted creation leaves it.
        if format.extension == "mdb" {
            fs::write(path.join("writer.lock"), "").unwrap();
            expect(open(&path).unwrap_err(), NotFound, &["an empty folder"]);
        }
        record(create(&path).unwrap(), 1);
        assert_eq!(numbers(open(&path).unwrap()), [1]);
    }
}

/// An empty file may be replaced if its extension names a format of files.
#[cfg(feature = "hdf5")]
#[test]
fn an_empty_hdf5_file_can_be_truncated() {
    let folder = folder();
    let path = folder.path().join("run.h5");
    fs::write(&path, "").unwrap();
    record(in_mode(&path, OpenMode::Truncate).unwrap(), 1);
    assert_eq!(numbers(open(&path).unwrap()), [1]);
}

/// Copies of the files of an open writer, as a kill leaves them.
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
    // No superblock may be at this offset.
    let path = folder.path().join("768");
    fs::write(&path, [&vec![b'#'; 768], &bytes[..]].concat()).unwrap();
    expect(open(&path).unwrap_err(), InvalidArgument, &["neither HDF5"]);
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
    // A journal of other software does not count.
    let other = folder.path().join("notes");
    fs::create_dir(&other).unwrap();
    fs::write(folder.path().join("notes.journal"), "a diary").unwrap();
    expect(open(&other).unwrap_err(), NotFound, &["an empty folder"]);

    let old = folder.path().join("old.zarr");
    fs::create_dir(&old).unwrap();
    fs::write(old.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
    assert_eq!(Recorder::new(open(&old).unwrap()).keys().unwrap(), []);
    expect(append(&old).unwrap_err(), Unsupported, &["Zarr V2", "copy"]);
}

#[cfg(feature = "zarr")]
#[test]
fn zarr_v2_of_zarr_python_is_recognised_in_a_directory_in_lmdb_and_in_a_single_file() {
    let folder = folder();
    for kind in ["directory", "lmdb", "file"] {
        // Without an extension that names the format.
        let path = folder.path().join(kind);
        let writer = python_with_zarr2("simrecorder-zarr/tests/python/write_zarr_v2.py");
        assert_success({ writer }.arg(kind).arg(&path));
        let recorder = Recorder::new(open(&path).unwrap());
        let view = recorder.get_all("layouts/one_axis").unwrap();
        assert_eq!(view.read::<f64>().unwrap().sum(), 45.0);
        for error in [append(&path).unwrap_err(), create(&path).unwrap_err()] {
            assert!(
                matches!(error.kind(), Unsupported | AlreadyExists),
                "{error}"
            );
        }
        let url = match kind {
            "directory" => format!("zarr+dir:{}", path.display()),
            _ => format!("zarr:{}", path.display()),
        };
        assert!(open(url).is_ok());
    }
    // The data file of a folder is not a recording by itself.
    let data = folder.path().join("lmdb/data.mdb");
    expect(open(&data).unwrap_err(), InvalidArgument, &["open that"]);
    let error = open(format!("zarr:{}", data.display())).unwrap_err();
    expect(error, InvalidArgument, &["this is a file"]);
}

/// The store reports the damage.
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

/// A build without the feature still recognises its recordings.
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
