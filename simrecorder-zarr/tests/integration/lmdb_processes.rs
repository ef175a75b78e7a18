//! The LMDB storage in several processes, on full and read-only disks.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test helpers may panic"
)]

use std::fs::{self};
use std::path::Path;
use std::process::Command;

use simrecorder_core::{Durability, ErrorKind, OpenMode};
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use zarrs_storage::{ListableStorageTraits, ReadableStorageTraits, WritableStorageTraits};

use crate::support;

use support::lmdb::*;
use support::*;

#[test]
fn a_second_writer_in_another_process_is_refused() {
    const NAME: &str = "a_second_writer_in_another_process_is_refused";
    if let Some(path) = role() {
        let writer = open(&path, OpenMode::OpenOrCreate);
        set(&writer, "a", "1");
        wait_for_parent();
        std::process::exit(0);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let partner = Partner::start(&mut this_test(NAME, &path));
    let pid = partner.0.id();
    for mode in [OpenMode::Append, OpenMode::OpenOrCreate, OpenMode::Truncate] {
        let error = refused(&path, mode);
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(
            error.to_string().contains(&format!("process {pid} ")),
            "{error}"
        );
    }
    let reader = open(&path, OpenMode::Read);
    assert_eq!(get(&reader, "a").unwrap(), "1");
    partner.finish();

    // A killed process leaves no lock.
    let mut partner = Partner::start(&mut this_test(NAME, &path));
    assert_eq!(refused(&path, OpenMode::Append).kind(), ErrorKind::Locked);
    partner.0.kill().unwrap();
    partner.0.wait().unwrap();
    set(&open(&path, OpenMode::Append), "a", "2");
    assert_eq!(get(&reader, "a").unwrap(), "2");
}

#[test]
fn a_reader_in_another_process_sees_later_commits() {
    if let Some(path) = role() {
        let reader = open(&path, OpenMode::Read);
        assert_eq!(get(&reader, "a").unwrap(), "1");
        wait_for_parent();
        assert_eq!(get(&reader, "a").unwrap(), "2");
        assert_eq!(get(&reader, "big").unwrap().len(), 3_000_000);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    set(&writer, "a", "1");
    let name = "a_reader_in_another_process_sees_later_commits";
    let partner = Partner::start(&mut this_test(name, folder.path()));
    set(&writer, "big", &"x".repeat(3_000_000));
    set(&writer, "a", "2");
    partner.finish();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_reading_continues() {
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return unshare(
            "a_full_disk_is_an_error_and_reading_continues",
            folder.path(),
        );
    };
    mount(&["-t", "tmpfs", "-o", "size=8m", "none"], &folder);
    let path = folder.join("run.mdb");
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    for durability in [Durability::Power, Durability::Process] {
        let options = LmdbOptions::default()
            .mode(OpenMode::Truncate)
            .durability(durability);
        let storage = LmdbStorage::open(&path, &options).unwrap();
        let value = |i: u32| i.to_string().repeat(300_000);
        let mut written = 0;
        let error = loop {
            match storage.set(&key(&format!("c/{written}")), value(written).into()) {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(kind(&error), std::io::ErrorKind::StorageFull, "{error}");
        assert!(written > 5);
        let check = |storage: &LmdbStorage| {
            for i in 0..written {
                assert_eq!(get(storage, &format!("c/{i}")).unwrap(), value(i));
            }
            assert_eq!(get(storage, &format!("c/{written}")), None);
        };
        check(&storage);
        let again = storage.set(&key("again"), value(1).into()).unwrap_err();
        assert_eq!(kind(&again), std::io::ErrorKind::StorageFull, "{again}");
        fill(&folder.join("rest"));
        check(&open(&path, OpenMode::Read));
        check(&storage);
        fs::remove_file(folder.join("rest")).unwrap();

        fs::remove_file(&ballast).unwrap();
        set(&storage, "now there is", "room");
        drop(storage);
        let storage = open(&path, OpenMode::Append);
        check(&storage);
        assert_eq!(get(&storage, "now there is").unwrap(), "room");
        drop(storage);

        // A reader that cannot create a lock file works without one.
        fill(&folder.join("rest"));
        fs::remove_file(path.join("lock.mdb")).unwrap();
        fill(&folder.join("rest2"));
        check(&open(&path, OpenMode::Read));
        let other = folder.join("other.mdb");
        assert_eq!(
            refused(&other, OpenMode::CreateNew).kind(),
            ErrorKind::StorageFull
        );
        fs::remove_file(folder.join("rest")).unwrap();
        fs::remove_file(folder.join("rest2")).unwrap();
        open(&other, OpenMode::CreateNew).close().unwrap();
        fs::remove_dir_all(&other).unwrap();
        let storage = open(&path, OpenMode::Truncate);
        drop(storage);
        fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_file_system_can_be_read() {
    const NAME: &str = "a_read_only_file_system_can_be_read";
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return unshare(NAME, folder.path());
    };
    let seen = folder.join("seen");
    if seen.join("run.mdb").is_dir() {
        // A separate reader, which sees the files on a read-only mount.
        let path = seen.join("run.mdb");
        let while_writing = LmdbStorage::open(&path, &LmdbOptions::default()).unwrap();
        let error = while_writing.get(&key("a")).unwrap_err();
        assert!(error.to_string().contains("is writing it"), "{error}");
        assert_eq!(
            refused(&path, OpenMode::Append).kind(),
            ErrorKind::PermissionDenied
        );
        wait_for_parent();
        assert_eq!(get(&while_writing, "a").unwrap(), "2");
        return;
    }
    mount(&["-t", "tmpfs", "-o", "size=8m", "none"], &folder);
    let real = folder.join("real");
    let path = real.join("run.mdb");
    recording(&path);
    fs::create_dir(&seen).unwrap();
    mount(&["--bind", real.to_str().unwrap()], &seen);
    mount(&["-o", "remount,bind,ro"], &seen);
    let writer = open(&path, OpenMode::Append);
    set(&writer, "a", "2");
    let partner = Partner::start(&mut this_test(NAME, &folder));
    writer.close().unwrap();
    partner.finish();
    drop(writer);

    fs::remove_file(path.join("lock.mdb")).unwrap();
    mount(&["-o", "remount,ro"], &folder);
    let reader = open(&path, OpenMode::Read);
    store(&reader);
    for mode in [OpenMode::Append, OpenMode::OpenOrCreate, OpenMode::Truncate] {
        assert_eq!(refused(&path, mode).kind(), ErrorKind::PermissionDenied);
    }
    let new = folder.join("new.mdb");
    assert_eq!(
        refused(&new, OpenMode::CreateNew).kind(),
        ErrorKind::PermissionDenied
    );
    store(&reader);

    fn store(reader: &LmdbStorage) {
        assert_eq!(get(reader, "a").unwrap(), "2");
        assert_eq!(reader.list().unwrap(), [key("a")]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn reading_needs_no_permission_to_write() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NAME: &str = "reading_needs_no_permission_to_write";
    if let Some(path) = role() {
        let reader = open(&path, OpenMode::Read);
        let read = reader.get(&key("a"));
        if path.join("expect-locked").exists() {
            let error = read.unwrap_err().to_string();
            assert!(
                error.contains("is writing it") && error.contains("lock.mdb"),
                "{error}"
            );
        } else {
            assert_eq!(read.unwrap().unwrap(), "1");
        }
        assert_eq!(
            refused(&path, OpenMode::Append).kind(),
            ErrorKind::PermissionDenied
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    recording(&path);
    let writer = open(&path, OpenMode::Append);
    let mark = path.join("expect-locked");
    fs::write(&mark, "").unwrap();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(folder.path(), 0o755);
    let read = || {
        for (name, mode) in [("data.mdb", 0o444), ("writer.lock", 0o444), ("", 0o555)] {
            set_mode(&path.join(name), mode);
        }
        let mut test = this_test(NAME, &path);
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            test.uid(65534).gid(65534);
        }
        assert_success(&mut test);
        set_mode(&path, 0o755);
    };
    set_mode(&path.join("lock.mdb"), 0o444);
    read();
    fs::remove_file(&mark).unwrap();
    // Registered in the lock file, a reader can read while the writer is running.
    set_mode(&path.join("lock.mdb"), 0o666);
    read();
    drop(writer);
    set_mode(&path.join("lock.mdb"), 0o444);
    read();
    fs::remove_file(path.join("lock.mdb")).unwrap();
    read();
}

#[cfg(target_os = "linux")]
#[test]
fn limited_address_space_gets_a_smaller_map() {
    const NAME: &str = "limited_address_space_gets_a_smaller_map";
    if let Some(path) = role() {
        let storage = open(&path, OpenMode::CreateNew);
        set(&storage, "a", &"x".repeat(1 << 20));
        let reader = open(&path, OpenMode::Read);
        assert_eq!(get(&reader, "a").unwrap().len(), 1 << 20);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = this_test(NAME, &folder.path().join("run.mdb"));
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -v 1500000 && exec \"$0\" \"$@\""])
        .arg(test.get_program());
    command
        .args(test.get_args())
        .env("SIMRECORDER_TEST_ROLE", folder.path().join("run.mdb"));
    assert_success(&mut command);
}
