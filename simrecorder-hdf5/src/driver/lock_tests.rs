//! Which processes can open a file at the same time.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use rustix::fs::{FlockOperation, flock};
use simrecorder_core::{Durability, Error, ErrorKind, Result};

use super::fault::{self, Fault};
use super::logged_file::LoggedFile;
use super::session_tests::{ID, is_being_copied, make_empty};

fn create(path: &Path) -> Arc<LoggedFile> {
    LoggedFile::create(path, ID, Durability::Process, &mut make_empty).unwrap()
}

fn append(path: &Path) -> Result<Arc<LoggedFile>> {
    LoggedFile::append(path, Durability::Process, &mut |_, _| Ok(()))
}

fn recreate(path: &Path) -> Result<Arc<LoggedFile>> {
    let old = File::open(path).unwrap();
    LoggedFile::recreate(path, &old, [9; 16], Durability::Process, &mut make_empty)
}

fn read(path: &Path) -> Arc<LoggedFile> {
    LoggedFile::read(path, &mut |_, _| Ok(())).unwrap()
}

fn overwrite(log: &LoggedFile, value: u8) {
    log.write_at(100, &[value; 50]).unwrap();
    log.commit(b"").unwrap();
}

fn found(log: &LoggedFile) -> Result<u8> {
    let mut bytes = [0; 50];
    log.read_at(100, &mut bytes)?;
    assert_eq!(bytes, [bytes[0]; 50]);
    Ok(bytes[0])
}

fn assert_locked(result: Result<Arc<LoggedFile>>, message: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    assert!(error.to_string().contains(message), "{error}");
}

/// Holds the lock on a file that libhdf5 in another program would take.
fn other_program(path: &Path, operation: FlockOperation) -> File {
    let file = File::open(path).unwrap();
    flock(&file, operation).unwrap();
    file
}

#[test]
fn there_is_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let log = create(&path);
    let message = "this process";
    assert_locked(append(&path), message);
    assert_locked(recreate(&path), message);
    let exists = LoggedFile::create(&path, ID, Durability::Process, &mut make_empty);
    assert_eq!(exists.unwrap_err().kind(), ErrorKind::AlreadyExists);
    overwrite(&log, 5);
    // A file that was deleted while it was being written is not created again next to its journal.
    fs::remove_file(&path).unwrap();
    assert_locked(
        LoggedFile::create(&path, ID, Durability::Process, &mut make_empty),
        message,
    );
    drop(log);
    drop(create(&path));
    let log = append(&path).unwrap();
    assert_eq!(found(&log).unwrap(), 1);
    log.close().unwrap();
    assert_eq!(log.commit(b"").unwrap_err().kind(), ErrorKind::Closed);
    let log = append(&path).unwrap();
    let journal = log.journal().unwrap();
    drop(log);
    drop(append(&path).unwrap());
    drop(journal);
    let nothing = LoggedFile::create("..".as_ref(), ID, Durability::Process, &mut make_empty);
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn other_programs_may_read_while_a_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let log = create(&path);
    overwrite(&log, 5);
    let other = File::open(&path).unwrap();
    assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
    flock(&other, FlockOperation::NonBlockingLockShared).unwrap();
    let main = fs::read(&path).unwrap();
    overwrite(&log, 6);
    for _ in 0..2 {
        for error in [
            log.checkpoint(b"note").unwrap_err(),
            log.close().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Locked);
            assert!(error.to_string().contains("safe in the journal"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), main, "nothing was changed");
        overwrite(&log, 7);
    }
    // It is still locked against others.
    drop(other);
    let other = File::open(&path).unwrap();
    assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
    log.checkpoint(b"note").unwrap();
    assert_eq!(found(&log).unwrap(), 7);
    // A file that contains everything can be closed while it is read.
    flock(&other, FlockOperation::NonBlockingLockShared).unwrap();
    log.close().unwrap();
    assert_eq!(found(&read(&path)).unwrap(), 7);
}

#[test]
fn a_file_that_other_programs_have_open_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let log = create(&path);
    overwrite(&log, 5);
    drop(log);
    for operation in [
        FlockOperation::NonBlockingLockShared,
        FlockOperation::NonBlockingLockExclusive,
    ] {
        let _other = other_program(&path, operation);
        let message = "another program has this file open";
        assert_locked(append(&path), message);
        assert_locked(recreate(&path), message);
        assert_eq!(found(&read(&path)).unwrap(), 5);
    }
    append(&path).unwrap().close().unwrap();
    let _other = other_program(&path, FlockOperation::NonBlockingLockShared);
    assert_locked(append(&path), "another program has this file open");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_reader_keeps_its_commit_until_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let log = create(&path);
    overwrite(&log, 5);
    let reader = read(&path);
    assert!(!reader.has_news().unwrap());
    overwrite(&log, 6);
    assert!(reader.has_news().unwrap());
    assert_eq!(found(&reader).unwrap(), 5);
    assert!(!reader.is_stale());
    assert_eq!(reader.commit(b"").unwrap_err().kind(), ErrorKind::ReadOnly);
    log.checkpoint(b"").unwrap();
    found(&reader).unwrap_err();
    assert!(reader.is_stale() && reader.has_news().unwrap());
    let reader = read(&path);
    assert_eq!(found(&reader).unwrap(), 6);
    log.close().unwrap();
    found(&reader).unwrap_err();

    // Without a journal, too.
    let reader = read(&path);
    assert_eq!(reader.file_id(), None);
    assert_eq!(found(&reader).unwrap(), 6);
    let log = append(&path).unwrap();
    log.set_file_id(ID).unwrap();
    overwrite(&log, 7);
    log.close().unwrap();
    found(&reader).unwrap_err();
    assert!(reader.is_stale());
}

#[test]
fn a_file_that_is_replaced_makes_its_readers_stale() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let log = create(&path);
    overwrite(&log, 5);
    drop(log);
    let reader = read(&path);
    let log = recreate(&path).unwrap();
    assert_eq!(log.file_id(), Some([9; 16]));
    assert_eq!(found(&log).unwrap(), 1);
    found(&reader).unwrap_err();
    assert!(reader.is_stale());
    let reader = read(&path);
    assert_eq!(found(&reader).unwrap(), 1);
    log.close().unwrap();
    let reader = read(&path);
    drop(recreate(&path).unwrap());
    found(&reader).unwrap_err();
    assert!(reader.is_stale());
}

#[test]
fn a_file_that_could_not_be_replaced_leaves_no_journal_to_one_that_comes_later() {
    for step in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.h5");
        let log = create(&path);
        overwrite(&log, 5);
        drop(log);
        fault::plan(step, Fault::Fail);
        let replaced = recreate(&path);
        if !fault::clear() {
            break;
        }
        if replaced.is_err() && !path.exists() {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{step}");
        }
        drop(replaced);
        if path.exists() {
            found(&append(&path).unwrap()).unwrap();
        }
    }
}

#[test]
fn a_writer_is_not_locked_out_by_readers_that_end_a_checkpoint() {
    for _ in 0..100 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.h5");
        let log = create(&path);
        overwrite(&log, 5);
        fault::plan(1, Fault::Kill);
        log.checkpoint(b"").unwrap_err();
        fault::clear();
        drop(log);
        assert!(is_being_copied(&path));
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    start.wait();
                    let reader = read(&path);
                    assert!(found(&reader).map_or(reader.is_stale(), |value| value == 5));
                });
            }
            start.wait();
            drop(append(&path).unwrap());
        });
    }
}

#[test]
fn a_journal_that_is_locked_for_a_moment_does_not_keep_a_writer_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    for open in [append, recreate] {
        drop(create(&path));
        // Like a reader that finds the checkpoint completed.
        let journal = path.with_extension("h5.journal");
        let mut reader = Some(other_program(
            &journal,
            FlockOperation::NonBlockingLockExclusive,
        ));
        fault::watch(Some(Box::new(move || drop(reader.take()))));
        open(&path).unwrap();
        fault::watch(None);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn readers_need_no_permission_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let log = create(&path);
    overwrite(&log, 5);
    let set = |mode| {
        for path in [&path, &path.with_extension("h5.journal")] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o444);
    assert_eq!(found(&read(&path)).unwrap(), 5);
    set(0o644);
    log.close().unwrap();
}

#[test]
fn links_lead_to_the_same_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let link = folder.path().join("link.h5");
    let log = create(&path);
    overwrite(&log, 5);
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_locked(append(&link), "this process");
    assert_eq!(found(&read(&link)).unwrap(), 5);
    let exists = LoggedFile::create(&link, ID, Durability::Process, &mut make_empty);
    assert_eq!(exists.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn paths_that_are_not_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        append(folder.path()).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let missing = folder.path().join("missing").join("run.h5");
    assert_eq!(append(&missing).unwrap_err().kind(), ErrorKind::NotFound);
    let created = LoggedFile::create(&missing, ID, Durability::Process, &mut make_empty);
    assert_eq!(created.unwrap_err().kind(), ErrorKind::NotFound);
}
