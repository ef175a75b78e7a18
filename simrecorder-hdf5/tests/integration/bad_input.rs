//! Bad input: each case gets an error that names operation, key and cause, and every earlier record
//! remains readable.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use simrecorder_core::ndarray::ArrayD;
use simrecorder_core::{ChunkPolicy, Error, ErrorKind, OpenMode, Recorder, Schema, prelude::*};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::*;

fn open(path: &Path, mode: OpenMode) -> Result<Hdf5DataStore, Error> {
    Hdf5DataStore::options().mode(mode).open(path)
}

fn reader(path: &Path) -> Recorder {
    Recorder::new(open(path, OpenMode::Read).unwrap())
}

fn record(recorder: &Recorder) {
    let n = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(100));
    recorder.declare("net/n", n).unwrap();
    recorder.set("meta/seed", 42_u64).unwrap();
    for i in 0..1000_u64 {
        recorder.record("net/n", i).unwrap();
        recorder.record("log", format!("step {i}")).unwrap();
        recorder
            .record("spikes", Ragged(&vec![i; (i % 3) as usize]))
            .unwrap();
    }
}

/// Creates and closes a recording with several chunks and kinds.
fn recording(path: &Path) {
    let recorder = Recorder::new(open(path, OpenMode::CreateNew).unwrap());
    record(&recorder);
    recorder.close().unwrap();
}

fn check_others(recorder: &Recorder) {
    assert_eq!(recorder.get_as::<u64>("meta/seed").unwrap(), Some(42));
    let log = recorder.get_all("log").unwrap();
    assert_eq!(log.get(999).unwrap().as_str().unwrap(), "step 999");
    let spikes = recorder.get_all("spikes").unwrap();
    assert_eq!(spikes.get(998).unwrap().array::<u64>().unwrap().len(), 2);
}

fn check(recorder: &Recorder) {
    check_others(recorder);
    let n = recorder.get_all("net/n").unwrap().read::<u64>().unwrap();
    assert!(n.iter().copied().eq(0..1000));
}

#[track_caller]
fn refused(path: &Path, mode: OpenMode, kind: ErrorKind, parts: &[&str]) {
    expect(open(path, mode).map(drop).unwrap_err(), kind, parts);
}

fn edit(arguments: &[&str], path: &Path) {
    let mut command = python("edit.py");
    command.arg(arguments[0]).arg(path).args(&arguments[1..]);
    assert_success(&mut command);
}

#[test]
fn wrong_paths_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.h5");
    for mode in [OpenMode::Read, OpenMode::Append] {
        refused(&missing, mode, ErrorKind::NotFound, &["missing.h5"]);
        let below = missing.join("x.h5");
        refused(&below, mode, ErrorKind::NotFound, &["missing.h5"]);
    }
    let below = missing.join("x.h5");
    refused(
        &below,
        OpenMode::CreateNew,
        ErrorKind::NotFound,
        &["missing.h5"],
    );
    refused(
        Path::new(""),
        OpenMode::CreateNew,
        ErrorKind::InvalidArgument,
        &[],
    );
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "text").unwrap();
    for mode in [OpenMode::Read, OpenMode::Append, OpenMode::OpenOrCreate] {
        refused(&other, mode, ErrorKind::InvalidArgument, &["other"]);
    }
    refused(
        &other,
        OpenMode::CreateNew,
        ErrorKind::AlreadyExists,
        &["other"],
    );
    assert!(open(&other, OpenMode::Truncate).is_err());
    assert!(other.join("thesis.tex").exists());
    let path = folder.path().join("run.h5");
    recording(&path);
    refused(
        &path,
        OpenMode::CreateNew,
        ErrorKind::AlreadyExists,
        &["run.h5"],
    );
    check(&reader(&path));
}

#[test]
fn a_file_that_is_not_hdf5_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let text = b"a text, and a long one".repeat(1000);
    for content in [&b""[..], b"x", &text, b"\x89HDF\r\n\x1a\n", &[0x89; 4096]] {
        fs::write(&path, content).unwrap();
        for mode in [OpenMode::Read, OpenMode::Append, OpenMode::OpenOrCreate] {
            refused(&path, mode, ErrorKind::Corrupt, &["file"]);
        }
        assert_eq!(fs::read(&path).unwrap(), content);
        assert!(!folder.path().join("file.journal").exists());
    }
}

#[test]
fn a_file_that_was_cut_short_is_refused_at_any_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    recording(&path);
    let whole = fs::read(&path).unwrap();
    let step = whole.len() / 60;
    for length in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        let cut = folder.path().join("cut.h5");
        fs::write(&cut, &whole[..length]).unwrap();
        for mode in [OpenMode::Read, OpenMode::Append] {
            refused(&cut, mode, ErrorKind::Corrupt, &["cut.h5"]);
        }
        assert_eq!(fs::read(&cut).unwrap(), whole[..length], "{length}");
    }
}

#[test]
fn a_recording_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (update, part) in [
        (r#"{"format": 99}"#, "format 99"),
        (r#"{"requires": ["sharding"]}"#, "sharding"),
    ] {
        let path = folder.path().join("run.h5");
        recording(&path);
        edit(&["note", "/", update], &path);
        for mode in [OpenMode::Read, OpenMode::Append] {
            refused(&path, mode, ErrorKind::Unsupported, &["run.h5", part]);
        }
        fs::remove_file(&path).unwrap();
        recording(&path);
        edit(&["note", "/net/n", update], &path);
        let recorder = reader(&path);
        let error = recorder.get_all("net/n").map(drop).unwrap_err();
        expect(error, ErrorKind::Unsupported, &["net/n", part]);
        check_others(&recorder);
        assert_eq!(recorder.keys().unwrap().len(), 4);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn malformed_notes_are_an_error_for_their_key_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for update in [
        r#"{"kind": "sound"}"#,
        r#"{"kind": 7}"#,
        r#"{"kind": "ragged"}"#,
        r#"{"kind": "text"}"#,
        r#"{"node": "value"}"#,
        r#"{"format": -1}"#,
        r#"{"requires": 1}"#,
    ] {
        let path = folder.path().join("run.h5");
        recording(&path);
        edit(&["note", "/net/n", update], &path);
        let recorder = reader(&path);
        let read = recorder
            .get_all("net/n")
            .and_then(|view| view.read::<u64>());
        let error = read.map(drop).unwrap_err();
        assert!(error.to_string().contains("net/n"), "{update}: {error}");
        assert_ne!(error.kind(), ErrorKind::Internal, "{update}: {error}");
        check_others(&recorder);
        let printed = recorder.to_string();
        // A series marked as a value is read as a value.
        let is_value = update.contains("value");
        let has_error = printed.contains("cannot be read: ");
        assert_ne!(has_error, is_value, "{update}: {printed}");
        assert_eq!(printed.lines().count(), 7, "{update}: {printed}");
        drop(recorder);
        let recorder = Recorder::new(open(&path, OpenMode::Append).unwrap());
        assert!(recorder.record("net/n", 1_u64).is_err(), "{update}");
        recorder.record("log", "continues").unwrap();
        recorder.close().unwrap();
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_chunk_that_does_not_decode_is_an_error_for_the_reads_that_touch_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    recording(&path);
    edit(&["damage", "/net/n", "3"], &path);
    let recorder = reader(&path);
    let view = recorder.get_all("net/n").unwrap();
    let error = view.read::<u64>().unwrap_err();
    expect(error, ErrorKind::Corrupt, &["net/n", "chunk [3]"]);
    let before = view.select(..300).unwrap().read::<u64>().unwrap();
    assert!(before.iter().copied().eq(0..300));
    let after = view.select(400..).unwrap().read::<u64>().unwrap();
    assert!(after.iter().copied().eq(400..1000));
    check_others(&recorder);
}

#[test]
fn a_checkpoint_does_not_lose_records_after_a_chunk_that_cannot_be_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew).unwrap());
    let n = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(100));
    recorder.declare("n", n).unwrap();
    (0..150_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.close().unwrap();
    edit(&["damage", "/n", "1"], &path);
    let recorder = Recorder::new(open(&path, OpenMode::Append).unwrap());
    (150..160_u64).for_each(|i| recorder.record("n", i).unwrap());
    (0..10_u64).for_each(|i| recorder.record("other", i).unwrap());
    recorder.flush().unwrap();
    for result in [
        recorder.checkpoint(),
        recorder.checkpoint(),
        recorder.close(),
    ] {
        expect(result.unwrap_err(), ErrorKind::Corrupt, &["n", "chunk [1]"]);
    }
    for mode in [OpenMode::Read, OpenMode::Append] {
        let recorder = Recorder::new(open(&path, mode).unwrap());
        let n = recorder.get_all("n").unwrap();
        assert_eq!(n.len(), 160);
        let after = n.select(150..).unwrap().read::<u64>().unwrap();
        assert!(after.iter().copied().eq(150..160));
        let other = recorder.get_all("other").unwrap().read::<u64>().unwrap();
        assert!(other.iter().copied().eq(0..10));
    }
}

/// What a kill leaves: the files of a recording that was flushed and is still open.
fn killed(folder: &Path, name: &str, record_more: impl Fn(&Recorder)) -> PathBuf {
    let path = folder.join(format!("{name}.open.h5"));
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew).unwrap());
    record(&recorder);
    recorder.checkpoint().unwrap();
    record_more(&recorder);
    recorder.flush().unwrap();
    let copy = folder.join(format!("{name}.h5"));
    for suffix in ["", ".journal"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(with(&path), with(&copy)).unwrap();
    }
    copy
}

fn journal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.journal", path.display()))
}

#[test]
fn a_journal_of_another_file_is_refused_and_nothing_is_changed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let more = |recorder: &Recorder| recorder.record("more", 1.0).unwrap();
    let path = killed(folder.path(), "a", more);
    let other = killed(folder.path(), "b", more);
    let before = fs::read(&path).unwrap();
    fs::copy(journal(&other), journal(&path)).unwrap();
    for mode in [OpenMode::Read, OpenMode::Append] {
        refused(&path, mode, ErrorKind::Corrupt, &["a.h5", "journal"]);
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    // Without the journal, the file is as of its last checkpoint.
    fs::remove_file(journal(&path)).unwrap();
    check(&reader(&path));
    assert_eq!(reader(&path).kind_of("more").unwrap(), None);
}

#[test]
fn a_checkpoint_that_was_interrupted_is_not_ended_in_a_file_that_took_the_place_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = killed(folder.path(), "a", |recorder| {
        recorder.record("more", 1.0).unwrap();
        // A new series is not in the file, but its group is.
        recorder.record("new/more", 1.0).unwrap();
    });
    let mut left = fs::read(journal(&path)).unwrap();
    assert_eq!(left[64] % 2, 0);
    left[64] += 1;
    let whole = fs::read(&path).unwrap();
    // Longer than the journal says, changed by this library and by h5py.
    let other = folder.path().join("other.h5");
    let recorder = Recorder::new(open(&other, OpenMode::CreateNew).unwrap());
    record(&recorder);
    let long = vec![1.5; whole.len()];
    recorder.record("long", &long[..]).unwrap();
    recorder.close().unwrap();
    let by_h5py = folder.path().join("h5py.h5");
    edit(&["long", &whole.len().to_string()], &by_h5py);
    for other in [other, by_h5py] {
        let other = fs::read(other).unwrap();
        assert!(other.len() > whole.len());
        fs::write(&path, &other).unwrap();
        fs::write(journal(&path), &left).unwrap();
        for mode in [OpenMode::Read, OpenMode::Append] {
            refused(
                &path,
                mode,
                ErrorKind::Corrupt,
                &["a.h5", "move the journal"],
            );
        }
        assert!(fs::read(&path).unwrap() == other);
    }
    // In its own file it fits.
    fs::write(&path, &whole).unwrap();
    check(&reader(&path));
    assert_eq!(reader(&path).get_all("more").unwrap().len(), 1);
    assert!(fs::read(&path).unwrap() != whole);
}

#[test]
fn a_damaged_journal_gives_an_error_or_a_prefix_and_what_was_checkpointed_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = killed(folder.path(), "a", |recorder| {
        for i in 1000..1500_u64 {
            recorder.record("net/n", i).unwrap();
            if i % 50 == 0 {
                recorder.record(format!("more/{i}"), i).unwrap();
                recorder.flush().unwrap();
            }
        }
    });
    let whole = fs::read(journal(&path)).unwrap();
    let check_prefix = |what: &str| match open(&path, OpenMode::Read) {
        Err(error) => {
            let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported];
            assert!(kinds.contains(&error.kind()), "{what}: {error}");
            assert!(error.to_string().contains("a.h5"), "{what}: {error}");
            false
        }
        Ok(store) => {
            let recorder = Recorder::new(store);
            check_others(&recorder);
            let n = recorder.get_all("net/n").unwrap();
            assert!(n.len() >= 1000, "{what}");
            let n = n.read::<u64>().unwrap();
            assert!(n.iter().copied().eq(0..n.len() as u64), "{what}");
            true
        }
    };
    assert!(check_prefix("whole"));
    let mut opened = 0;
    for length in (0..whole.len()).step_by(whole.len() / 100) {
        fs::write(journal(&path), &whole[..length]).unwrap();
        opened += u32::from(check_prefix(&format!("cut to {length}")));
    }
    assert!(opened > 90, "{opened}");
    for at in (0..whole.len()).step_by(whole.len() / 150).chain(0..72) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        fs::write(journal(&path), &damaged).unwrap();
        check_prefix(&format!("byte {at}"));
    }
    fs::remove_file(journal(&path)).unwrap();
    fs::create_dir(journal(&path)).unwrap();
    assert!(open(&path, OpenMode::Read).is_err());
    assert!(open(&path, OpenMode::Append).is_err());
    fs::remove_dir(journal(&path)).unwrap();
    // If the damage looked like an interrupted checkpoint, that checkpoint was completed.
    assert!(check_prefix("without a journal"));
}

#[test]
fn a_second_writer_is_refused_in_this_process_and_another() {
    const NAME: &str = "a_second_writer_is_refused_in_this_process_and_another";
    if let Some(path) = role() {
        let writer = Recorder::new(open(&path, OpenMode::Append).unwrap());
        writer.record("log", "from there").unwrap();
        wait_for_parent();
        return writer.close().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    recording(&path);
    let first = Recorder::new(open(&path, OpenMode::Append).unwrap());
    let modes = [OpenMode::Append, OpenMode::OpenOrCreate, OpenMode::Truncate];
    for mode in modes {
        refused(&path, mode, ErrorKind::Locked, &["run.h5"]);
    }
    first.record("log", "continues").unwrap();
    first.close().unwrap();
    let other = Partner::start(&mut this_test(NAME, &path));
    let process = format!("process {} ", other.0.id());
    for mode in modes {
        refused(&path, mode, ErrorKind::Locked, &["run.h5", &process]);
    }
    check(&reader(&path));
    other.finish();
    drop(open(&path, OpenMode::Append).unwrap());
    let log = reader(&path).get_all("log").unwrap();
    assert_eq!(log.get(1001).unwrap().as_str().unwrap(), "from there");
}

#[test]
fn a_file_that_h5py_has_open_is_read_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    recording(&path);
    for mode in ["r", "r+"] {
        let other = Partner::start(python("edit.py").arg("hold").arg(&path).arg(mode));
        for mode in [OpenMode::Append, OpenMode::OpenOrCreate, OpenMode::Truncate] {
            refused(&path, mode, ErrorKind::Locked, &["run.h5", "h5py"]);
        }
        check(&reader(&path));
        other.finish();
    }
    let recorder = Recorder::new(open(&path, OpenMode::Append).unwrap());
    recorder.record("log", "continues").unwrap();
    recorder.flush().unwrap();
    for mode in ["r+", "a"] {
        edit(&["refused", mode], &path);
    }
    let other = Partner::start(python("edit.py").arg("hold").arg(&path).arg("r"));
    recorder.record("log", "and on").unwrap();
    recorder.flush().unwrap();
    expect(
        recorder.checkpoint().unwrap_err(),
        ErrorKind::Locked,
        &["run.h5"],
    );
    other.finish();
    drop(recorder);
    let recorder = Recorder::new(open(&path, OpenMode::Append).unwrap());
    recorder.close().unwrap();
    let log = reader(&path).get_all("log").unwrap();
    assert_eq!(log.get(1001).unwrap().as_str().unwrap(), "and on");
    assert!(!journal(&path).exists());
}

#[test]
fn names_of_dimensions_may_be_anything_and_may_be_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew).unwrap());
    let names = [
        "text",
        "group",
        "table",
        "object",
        "",
        "a/b",
        ".",
        "..",
        "größe 🧠",
        "a\0b",
    ];
    let schema = Schema::array::<f32>([1; 9]).with_dimension_names(names);
    let long = Schema::scalar::<f32>().with_dimension_names(["x".repeat(70_000)]);
    recorder.declare("long", long).unwrap();
    for key in ["net/v", "net/w"] {
        recorder.declare(key, schema.clone()).unwrap();
        recorder
            .record(key, ArrayD::<f32>::zeros(vec![1; 9]))
            .unwrap();
    }
    let twice = Schema::array::<f32>([2]).with_dimension_names(["twice", "twice"]);
    let error = recorder.declare("net/twice", twice).unwrap_err();
    expect(error, ErrorKind::InvalidArgument, &["net/twice"]);
    let own = Schema::array::<f32>([2]).with_dimension_names(["own", "x"]);
    recorder.declare("net/own", own).unwrap();
    recorder.flush().unwrap();
    recorder.record("net/text", "a text").unwrap();
    recorder.record("net/group/x", 1.0).unwrap();
    recorder.record("net/table", [1.0, 2.0]).unwrap();
    recorder.set("net/object", Object((1, 2))).unwrap();
    recorder.close().unwrap();
    let recorder = reader(&path);
    let view = recorder.get_all("net/v").unwrap();
    let stored = view.schema().dimension_names().unwrap().to_vec();
    assert!(stored.iter().map(|name| name.as_deref().unwrap()).eq(names));
    assert_eq!(view.read::<f32>().unwrap().len(), 1);
    let text = recorder.get_all("net/text").unwrap();
    assert_eq!(text.read_text().unwrap(), ["a text"]);
    assert_eq!(recorder.keys().unwrap().len(), 8);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_recorder_and_loses_nothing_that_was_flushed() {
    const NAME: &str = "a_full_disk_stops_the_recorder_and_loses_nothing_that_was_flushed";
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return unshare(NAME, folder.path());
    };
    full_disk::loses_nothing_that_was_flushed(&folder, "hdf5", open);
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_file_system_can_be_read_and_says_why_it_is_not_written() {
    const NAME: &str = "a_read_only_file_system_can_be_read_and_says_why_it_is_not_written";
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return unshare(NAME, folder.path());
    };
    mount(&["-t", "tmpfs", "-o", "size=16m", "none"], &folder);
    let path = folder.join("run.h5");
    recording(&path);
    let flushed = killed(&folder, "flushed", |recorder| {
        recorder.record("more", 1.0).unwrap();
    });
    mount(&["-o", "remount,ro"], &folder);
    check(&reader(&path));
    check(&reader(&flushed));
    assert_eq!(reader(&flushed).get_all("more").unwrap().len(), 1);
    for mode in [OpenMode::Append, OpenMode::OpenOrCreate, OpenMode::Truncate] {
        refused(&path, mode, ErrorKind::PermissionDenied, &["run.h5"]);
    }
    let new = folder.join("new.h5");
    refused(
        &new,
        OpenMode::CreateNew,
        ErrorKind::PermissionDenied,
        &["new.h5"],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn without_permission_to_write_a_file_is_read_and_says_why_it_is_not_written() {
    use std::os::unix::fs::PermissionsExt;
    const NAME: &str = "without_permission_to_write_a_file_is_read_and_says_why_it_is_not_written";
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    if let Some(path) = role() {
        check(&reader(&path));
        let denied = ErrorKind::PermissionDenied;
        for mode in [OpenMode::Append, OpenMode::OpenOrCreate] {
            refused(&path, mode, denied, &["run.h5"]);
        }
        let new = path.with_file_name("new.h5");
        refused(&new, OpenMode::CreateNew, denied, &["new.h5"]);
        let secret = path.with_file_name("secret.h5");
        return refused(&secret, OpenMode::Read, denied, &["secret.h5"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    recording(&path);
    let secret = folder.path().join("secret.h5");
    recording(&secret);
    allow(&path, 0o444);
    allow(&secret, 0o000);
    allow(folder.path(), 0o555);
    let mut child = match fs::File::open(&secret) {
        Err(_) => this_test(NAME, &path),
        // Root has all permissions, unless it drops them.
        Ok(_) => this_test_by(
            "setpriv",
            &["--bounding-set=-dac_override,-dac_read_search"],
            NAME,
            &path,
        ),
    };
    assert_success(&mut child);
    allow(folder.path(), 0o755);
}
