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
use hdf5_metno_sys::h5p::{
    H5P_CLS_DATASET_CREATE, H5P_CLS_FILE_ACCESS, H5Pclose, H5Pcreate, H5Pset_chunk,
    H5Pset_libver_bounds,
};
use hdf5_metno_sys::h5s::{
    H5S_ALL, H5S_UNLIMITED, H5Sclose, H5Screate_simple, H5Sget_simple_extent_dims,
};
use hdf5_metno_sys::h5t::{H5T_NATIVE_INT64, H5T_STD_I64LE};
use simrecorder_core::{Durability, Result};

use super::LoggedFile;

/// H5P_DEFAULT.
const DEFAULT: hid_t = 0;
const ID: [u8; 16] = *b"an id for a test";
const CHUNK: u64 = 500;

fn sync<T>(body: impl FnOnce() -> T) -> T {
    hdf5_metno::sync::sync(body)
}

/// Makes an empty file as the store does, or one of another version.
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

/// Writes what belongs to one commit: a group with a value, and a chunk of a series. Returns
/// whether all calls succeeded.
fn write_commit(file: hid_t, number: u64) -> bool {
    let text = |name: &str| CString::new(name).unwrap();
    sync(|| {
        // SAFETY: plain calls; those on identifiers that are not valid fail.
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

/// How many commits a file holds, each of which must be whole; `None` if libhdf5 fails.
fn commits(file: hid_t) -> Option<u64> {
    let text = |name: &str| CString::new(name).unwrap();
    sync(|| {
        // SAFETY: plain calls; those on identifiers that are not valid fail.
        unsafe {
            let series = H5Dopen2(file, c"series".as_ptr(), DEFAULT);
            let mut length = 0;
            if series >= 0 {
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

/// What a plain open of the main file alone finds.
fn plain_commits(path: &Path) -> Option<u64> {
    let file = open_plain(path);
    assert!(file >= 0, "other software cannot open the file");
    let found = commits(file);
    assert!(close(file));
    found
}

fn read_commits(path: &Path) -> u64 {
    let reader = LoggedFile::read(path, &mut |_, _| Ok(())).unwrap();
    let file = reader.open_hdf5().unwrap();
    let found = commits(file).unwrap();
    assert!(close(file));
    found
}

fn append_commits(path: &Path) -> u64 {
    let writer = LoggedFile::append(path, Durability::Power, &mut |_, _| Ok(())).unwrap();
    let file = writer.open_hdf5().unwrap();
    let found = commits(file).unwrap();
    assert!(close(file));
    found
}

#[test]
fn commits_are_seen_and_checkpoints_bring_them_home() {
    let (_folder, path) = in_folder();
    let log = create(&path);
    let file = log.open_hdf5().unwrap();
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
