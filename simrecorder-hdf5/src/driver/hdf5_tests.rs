//! Tests with libhdf5 on top of the driver.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use hdf5_metno_sys::h5d::{
    H5Dclose, H5Dcreate2, H5Dget_space, H5Dopen2, H5Dread, H5Dset_extent, H5Dwrite, H5Dwrite_chunk,
};
use hdf5_metno_sys::h5f::{
    H5F_ACC_EXCL, H5F_ACC_RDONLY, H5F_libver_t, H5F_scope_t, H5Fclose, H5Fcreate, H5Fflush, H5Fopen,
};
use hdf5_metno_sys::h5g::{H5Gclose, H5Gcreate2};
use hdf5_metno_sys::h5i::hid_t;
use hdf5_metno_sys::h5l::{H5Lcreate_external, H5Lexists};
use hdf5_metno_sys::h5p::{
    H5P_CLS_DATASET_CREATE, H5P_CLS_FILE_ACCESS, H5Pclose, H5Pcreate, H5Pset_chunk,
    H5Pset_libver_bounds,
};
use hdf5_metno_sys::h5s::{
    H5S_ALL, H5S_UNLIMITED, H5Sclose, H5Screate_simple, H5Sget_simple_extent_dims,
};
use hdf5_metno_sys::h5t::{H5T_NATIVE_INT64, H5T_STD_I64LE};
use simrecorder_core::{Durability, ErrorKind, Result};

use super::fault::{self, Fault};
use super::logged_file::LoggedFile;
use super::session_tests::is_being_copied;
use super::vfd::open_hdf5;

/// H5P_DEFAULT.
const DEFAULT: hid_t = 0;
const ID: [u8; 16] = *b"an id for a test";
const CHUNK: u64 = 500;

fn sync<T>(body: impl FnOnce() -> T) -> T {
    hdf5_metno::sync::sync(body)
}

/// Creates an empty file as the store does, or one of another version.
fn make_empty_with(path: &Path, low: H5F_libver_t) {
    let name = CString::new(path.to_str().unwrap()).unwrap();
    sync(|| {
        // SAFETY: plain calls with valid arguments.
        unsafe {
            let list = H5Pcreate(*H5P_CLS_FILE_ACCESS);
            H5Pset_libver_bounds(list, low, H5F_libver_t::H5F_LIBVER_V110);
            let file = H5Fcreate(name.as_ptr(), H5F_ACC_EXCL, DEFAULT, list);
            assert!(file > 0);
            assert!(H5Fclose(file) >= 0);
            H5Pclose(list);
        }
    });
}

pub(super) fn make_empty(path: &Path) -> Result<()> {
    make_empty_with(path, H5F_libver_t::H5F_LIBVER_V18);
    Ok(())
}

/// Opens a file as other software does.
fn open_plain(path: &Path) -> hid_t {
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a plain call with valid arguments.
    sync(|| unsafe { H5Fopen(name.as_ptr(), H5F_ACC_RDONLY, DEFAULT) })
}

fn close(file: hid_t) -> bool {
    // SAFETY: a plain call with valid arguments.
    sync(|| unsafe { H5Fclose(file) >= 0 })
}

fn flush(file: hid_t) -> bool {
    // SAFETY: a plain call with valid arguments.
    sync(|| unsafe { H5Fflush(file, H5F_scope_t::H5F_SCOPE_LOCAL) >= 0 })
}

/// Writes the changes of one commit: a group with a value, and a chunk of a series. Returns whether
/// all calls succeeded.
fn write_commit(file: hid_t, number: u64) -> bool {
    let text = |name: &str| CString::new(name).unwrap();
    sync(|| {
        // SAFETY: plain calls; those with invalid identifiers fail.
        unsafe {
            let mut good = true;
            let group = H5Gcreate2(
                file,
                text(&format!("g{number}")).as_ptr(),
                DEFAULT,
                DEFAULT,
                DEFAULT,
            );
            let one = 1;
            let space = H5Screate_simple(1, &raw const one, ptr::null());
            let value = H5Dcreate2(
                group,
                text("value").as_ptr(),
                *H5T_STD_I64LE,
                space,
                DEFAULT,
                DEFAULT,
                DEFAULT,
            );
            good &= H5Dwrite(
                value,
                *H5T_NATIVE_INT64,
                H5S_ALL,
                H5S_ALL,
                DEFAULT,
                (&raw const number).cast(),
            ) >= 0;
            good &= H5Dclose(value) >= 0 && H5Sclose(space) >= 0 && H5Gclose(group) >= 0;

            let series = if number == 0 {
                let unlimited = H5S_UNLIMITED;
                let zero = 0;
                let space = H5Screate_simple(1, &raw const zero, &raw const unlimited);
                let list = H5Pcreate(*H5P_CLS_DATASET_CREATE);
                H5Pset_chunk(list, 1, &CHUNK);
                let series = H5Dcreate2(
                    file,
                    text("series").as_ptr(),
                    *H5T_STD_I64LE,
                    space,
                    DEFAULT,
                    list,
                    DEFAULT,
                );
                H5Pclose(list);
                H5Sclose(space);
                series
            } else {
                H5Dopen2(file, text("series").as_ptr(), DEFAULT)
            };
            let length = (number + 1) * CHUNK;
            let start = number * CHUNK;
            let chunk: Vec<u64> = (start..length).collect();
            good &= H5Dset_extent(series, &raw const length) >= 0;
            good &= H5Dwrite_chunk(
                series,
                DEFAULT,
                0,
                &raw const start,
                8 * chunk.len(),
                chunk.as_ptr().cast(),
            ) >= 0;
            good & (H5Dclose(series) >= 0)
        }
    })
}

/// The number of commits in a file, each of which must be complete; `None` if libhdf5 fails.
fn commits(file: hid_t) -> Option<u64> {
    let text = |name: &str| CString::new(name).unwrap();
    sync(|| {
        // SAFETY: plain calls; those with invalid identifiers fail.
        unsafe {
            let mut length = 0;
            let exists = H5Lexists(file, c"series".as_ptr(), DEFAULT);
            if exists < 0 {
                return None;
            }
            if exists > 0 {
                let series = H5Dopen2(file, c"series".as_ptr(), DEFAULT);
                let space = H5Dget_space(series);
                if H5Sget_simple_extent_dims(space, &raw mut length, ptr::null_mut()) < 0 {
                    return None;
                }
                H5Sclose(space);
                let mut values = vec![0_u64; usize::try_from(length).unwrap()];
                let read = H5Dread(
                    series,
                    *H5T_NATIVE_INT64,
                    H5S_ALL,
                    H5S_ALL,
                    DEFAULT,
                    values.as_mut_ptr().cast(),
                );
                H5Dclose(series);
                if read < 0 {
                    return None;
                }
                assert!(values.iter().copied().eq(0..length));
            }
            assert_eq!(length % CHUNK, 0);
            let count = length / CHUNK;
            for number in 0..=count {
                let name = text(&format!("g{number}/value"));
                let value = H5Dopen2(file, name.as_ptr(), DEFAULT);
                if value < 0 {
                    return (number == count).then_some(count);
                }
                assert!(number < count, "a part of a commit that is not there");
                let mut found = u64::MAX;
                let read = H5Dread(
                    value,
                    *H5T_NATIVE_INT64,
                    H5S_ALL,
                    H5S_ALL,
                    DEFAULT,
                    (&raw mut found).cast(),
                );
                H5Dclose(value);
                if read < 0 {
                    return None;
                }
                assert_eq!(found, number);
            }
            None
        }
    })
}

fn in_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    (folder, path)
}

fn create(path: &Path) -> Arc<LoggedFile> {
    LoggedFile::create(path, ID, Durability::Power, &mut make_empty).unwrap()
}

/// The commits that are visible when only the main file is opened.
fn plain_commits(path: &Path) -> Option<u64> {
    let file = open_plain(path);
    assert!(file >= 0, "other software cannot open the file");
    let found = commits(file);
    assert!(close(file));
    found
}

fn read_commits(path: &Path) -> u64 {
    let reader = LoggedFile::read(path, &mut |_, _| Ok(())).unwrap();
    let file = open_hdf5(&reader).unwrap();
    let found = commits(file).unwrap();
    assert!(close(file));
    found
}

fn append_commits(path: &Path) -> u64 {
    let writer = LoggedFile::append(path, Durability::Power, &mut |_, _| Ok(())).unwrap();
    let file = open_hdf5(&writer).unwrap();
    let found = commits(file).unwrap();
    assert!(close(file));
    found
}

#[test]
fn commits_are_seen_and_checkpoints_bring_them_home() {
    let (_folder, path) = in_folder();
    let log = create(&path);
    let file = open_hdf5(&log).unwrap();
    for number in 0..20 {
        assert!(write_commit(file, number) && flush(file));
        log.commit(b"note").unwrap();
        assert_eq!(read_commits(&path), number + 1);
        assert_eq!(plain_commits(&path), Some(number / 7 * 7));
        if number % 7 == 6 {
            log.checkpoint(b"kept").unwrap();
            assert_eq!(plain_commits(&path), Some(number + 1));
            assert_eq!(read_commits(&path), number + 1);
        }
    }
    assert!(close(file));
    log.close().unwrap();
    assert_eq!(plain_commits(&path), Some(20));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

/// The progress of a run.
#[derive(Default)]
struct Progress {
    log: Option<Arc<LoggedFile>>,
    file: Option<hid_t>,
    committed: u64,
    home: u64,
    in_checkpoint: bool,
}

impl Progress {
    /// Records ten commits, with a checkpoint after every third, and closes the file.
    fn run(&mut self, path: &Path) -> Option<()> {
        let log = LoggedFile::create(path, ID, Durability::Power, &mut make_empty).ok()?;
        self.log = Some(Arc::clone(&log));
        let file = open_hdf5(&log).ok()?;
        self.file = Some(file);
        for number in 0..10 {
            assert!(write_commit(file, number) && flush(file));
            if let Err(error) = log.commit(b"note") {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                return None;
            }
            self.committed = number + 1;
            if number % 3 == 2 {
                self.in_checkpoint = true;
                log.checkpoint(b"kept").ok()?;
                self.in_checkpoint = false;
                self.home = self.committed;
            }
        }
        self.file = None;
        assert!(close(file));
        self.in_checkpoint = true;
        log.close().ok()
    }

    /// Releases libhdf5, as the end of a process would.
    fn end(&mut self) {
        if let (Some(log), Some(file)) = (&self.log, self.file.take()) {
            log.abandon();
            assert!(close(file));
        }
        self.log = None;
    }
}

#[test]
fn a_kill_at_any_step_leaves_a_file_that_libhdf5_reads() {
    for fault in [Fault::Kill, Fault::KillWithin] {
        for step in 0.. {
            let (_folder, path) = in_folder();
            fault::plan(step, fault);
            let mut progress = Progress::default();
            let done = progress.run(&path);
            let met = fault::clear();
            progress.end();
            assert_eq!(done.is_some(), !met, "after {step} steps");
            if !path.exists() {
                assert!(progress.log.is_none() && progress.committed == 0);
                continue;
            }
            let committed = progress.committed;
            if !is_being_copied(&path) {
                let found = plain_commits(&path).unwrap();
                assert!(
                    found == progress.home || progress.in_checkpoint && found == committed,
                    "{found} in the main file alone, after {step} steps"
                );
            }
            let found = if step % 2 == 0 {
                read_commits(&path)
            } else {
                append_commits(&path)
            };
            assert!(
                (committed..=committed + 1).contains(&found),
                "{found} of {committed} after {step} steps"
            );
            assert_eq!(resume(&path), found);
            assert_eq!(plain_commits(&path), Some(found + 1));
            if !met {
                assert!(step > 70, "{step}");
                break;
            }
        }
    }
}

/// Opens a file, adds a commit and closes it. Returns the previous number of commits.
fn resume(path: &Path) -> u64 {
    let log = LoggedFile::append(path, Durability::Process, &mut |_, _| Ok(())).unwrap();
    if log.file_id().is_none() {
        log.set_file_id(ID).unwrap();
    }
    let file = open_hdf5(&log).unwrap();
    let found = commits(file).unwrap();
    assert!(write_commit(file, found) && close(file));
    // The writes of closing are a part of it.
    log.commit(b"").unwrap();
    log.close().unwrap();
    found
}

#[test]
fn recording_continues_after_a_full_disk() {
    for fault in [Fault::Fail, Fault::FailWithin] {
        for step in 0.. {
            let (_folder, path) = in_folder();
            fault::plan(step, fault);
            let created = LoggedFile::create(&path, ID, Durability::Power, &mut make_empty);
            let log = created.unwrap_or_else(|_| create(&path));
            let mut file = open_hdf5(&log).unwrap();
            let mut number = 0;
            while number < 7 {
                assert!(write_commit(file, number) && flush(file));
                if log.commit(b"note").is_ok() {
                    number += 1;
                    if number % 3 == 0 && log.checkpoint(b"").is_err() {
                        log.checkpoint(b"").unwrap();
                    }
                    continue;
                }
                log.abandon();
                assert!(close(file), "after {step} steps");
                assert!(log.commit(b"").is_err());
                file = open_hdf5(&log).unwrap();
                assert_eq!(commits(file), Some(number), "after {step} steps");
            }
            assert!(close(file));
            if log.close().is_err() {
                log.close().unwrap();
            }
            let met = fault::clear();
            assert_eq!(plain_commits(&path), Some(7), "after {step} steps");
            if !met {
                assert!(step > 60, "{step}");
                break;
            }
        }
    }
}

#[test]
fn files_of_other_software_are_appended_to() {
    use H5F_libver_t::{H5F_LIBVER_EARLIEST, H5F_LIBVER_V18, H5F_LIBVER_V110};
    for low in [H5F_LIBVER_EARLIEST, H5F_LIBVER_V18, H5F_LIBVER_V110] {
        let (_folder, path) = in_folder();
        make_empty_with(&path, low);
        assert_eq!(resume(&path), 0);
        let log = LoggedFile::append(&path, Durability::Power, &mut |_, _| Ok(())).unwrap();
        assert_eq!(log.file_id(), None);
        log.set_file_id(ID).unwrap();
        let file = open_hdf5(&log).unwrap();
        assert!(write_commit(file, 1) && flush(file));
        log.commit(b"").unwrap();
        assert_eq!(read_commits(&path), 2);
        log.checkpoint(b"").unwrap();
        assert_eq!(plain_commits(&path), Some(2));
        assert!(write_commit(file, 2) && flush(file));
        log.commit(b"").unwrap();
        log.abandon();
        assert!(close(file));
        drop(log);
        // The writer was killed.
        assert_eq!(plain_commits(&path), Some(2));
        assert_eq!(resume(&path), 3);
        assert_eq!(plain_commits(&path), Some(4));
    }
}

#[test]
fn a_file_of_a_writer_that_was_killed_without_a_journal_is_opened() {
    let (_folder, path) = in_folder();
    make_empty_with(&path, H5F_libver_t::H5F_LIBVER_V110);
    // As libhdf5 leaves a file of the newest form if it is killed while the file is open.
    let mut bytes = fs::read(&path).unwrap();
    bytes[11] |= 1;
    let end = bytes.len().min(1024);
    super::superblock::tests::set_checksum(&mut bytes[..end]);
    fs::write(&path, &bytes).unwrap();
    assert!(open_plain(&path) < 0, "the flag counts");
    let log = LoggedFile::append(&path, Durability::Process, &mut |_, _| Ok(())).unwrap();
    log.set_file_id(ID).unwrap();
    assert!(close(open_hdf5(&log).unwrap()));
    log.commit(b"").unwrap();
    log.close().unwrap();
    assert_eq!(plain_commits(&path), Some(0));
    assert_eq!(resume(&path), 0);
    assert_eq!(plain_commits(&path), Some(1));
}

#[test]
fn a_superblock_after_a_user_block_is_found() {
    let (_folder, path) = in_folder();
    let plain = path.with_extension("plain");
    make_empty(&plain).unwrap();
    // Addresses are relative to the superblock. The superblock of version 2 contains its own
    // address, the base.
    let mut bytes = vec![7; 512];
    bytes.extend(fs::read(&plain).unwrap());
    bytes[512 + 12..512 + 20].copy_from_slice(&512_u64.to_le_bytes());
    let end = bytes.len() as u64;
    bytes[512 + 28..512 + 36].copy_from_slice(&end.to_le_bytes());
    super::superblock::tests::set_checksum(&mut bytes[512..]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(resume(&path), 0);
    assert_eq!(resume(&path), 1);
    assert_eq!(plain_commits(&path), Some(2));
    assert_eq!(fs::read(&path).unwrap()[..512], [7; 512]);
}

#[test]
fn a_stale_reader_reports_it() {
    let (_folder, path) = in_folder();
    let log = create(&path);
    let file = open_hdf5(&log).unwrap();
    assert!(write_commit(file, 0) && flush(file));
    log.commit(b"note").unwrap();
    let reader = LoggedFile::read(&path, &mut |note, range| {
        assert_eq!((note, range.len), (&b"note"[..], 4));
        Ok(())
    })
    .unwrap();
    let old = open_hdf5(&reader).unwrap();
    assert_eq!(open_hdf5(&reader).unwrap_err().kind(), ErrorKind::Internal);
    log.checkpoint(b"").unwrap();
    assert_eq!(commits(old), None);
    assert!(reader.is_stale());
    assert!(reader.take_error().is_some());
    assert!(close(old));
    assert_eq!(read_commits(&path), 1);
    assert!(close(file));
}

#[test]
fn what_libhdf5_cannot_open_is_an_error() {
    let (_folder, path) = in_folder();
    make_empty(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let log = LoggedFile::read(&path, &mut |_, _| Ok(())).unwrap();
    let error = open_hdf5(&log).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let log = LoggedFile::append(&path, Durability::Power, &mut |_, _| Ok(())).unwrap();
    open_hdf5(&log).unwrap_err();
    log.close().unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole[..whole.len() - 1]);
}

#[test]
fn links_to_other_files_are_not_followed() {
    let (_folder, path) = in_folder();
    let other = path.with_extension("other");
    make_empty(&other).unwrap();
    assert_eq!(resume(&other), 0);
    let other_name = CString::new(other.to_str().unwrap()).unwrap();
    let log = create(&path);
    let file = open_hdf5(&log).unwrap();
    let linked = sync(|| {
        // SAFETY: plain calls with valid arguments.
        unsafe {
            let made = H5Lcreate_external(
                other_name.as_ptr(),
                c"/series".as_ptr(),
                file,
                c"linked".as_ptr(),
                DEFAULT,
                DEFAULT,
            );
            assert!(made >= 0);
            H5Dopen2(file, c"linked".as_ptr(), DEFAULT)
        }
    });
    assert!(linked < 0);
    assert!(write_commit(file, 0) && flush(file));
    log.commit(b"").unwrap();
    assert!(close(file));
    log.close().unwrap();
    assert_eq!(plain_commits(&other), Some(1));
}

#[test]
fn two_files_in_one_process_are_two_files() {
    let (_folder, path) = in_folder();
    let other = path.with_extension("other");
    let (one, two) = (create(&path), create(&other));
    let (first, second) = (open_hdf5(&one).unwrap(), open_hdf5(&two).unwrap());
    assert!(write_commit(first, 0) && flush(first));
    one.commit(b"").unwrap();
    assert_eq!((commits(first), commits(second)), (Some(1), Some(0)));
    let (reader, another) = (
        LoggedFile::read(&path, &mut |_, _| Ok(())).unwrap(),
        LoggedFile::read(&path, &mut |_, _| Ok(())).unwrap(),
    );
    let files = [open_hdf5(&reader).unwrap(), open_hdf5(&another).unwrap()];
    assert!(write_commit(first, 1) && flush(first));
    one.commit(b"").unwrap();
    for file in files {
        assert_eq!(commits(file), Some(1));
        assert!(close(file));
    }
    assert_eq!(read_commits(&path), 2);
    assert!(close(first) && close(second));
    one.close().unwrap();
    two.close().unwrap();
}
