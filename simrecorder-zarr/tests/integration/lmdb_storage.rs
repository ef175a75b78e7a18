//! The LMDB storage through its public interface: zarrs' own tests, open modes, damaged files,
//! other processes, full and read-only disks.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test helpers may panic"
)]

use std::fs::{self};
use std::path::Path;
use std::sync::Arc;

use simrecorder_core::{Durability, ErrorKind, OpenMode};
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use zarrs_storage::byte_range::ByteRange;
use zarrs_storage::{
    ListableStorageTraits, ReadableStorageTraits, ReadableWritableListableStorageTraits,
    StorageError, StoreKey, StorePrefix, WritableStorageTraits, store_test,
};

use crate::support;

use support::lmdb::*;

#[test]
fn passes_the_tests_of_zarrs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let storage = open(&path, OpenMode::CreateNew);
    store_test::store_write(&storage).unwrap();
    store_test::store_read(&storage).unwrap();
    store_test::store_list(&storage).unwrap();
    store_test::store_list_size(&storage).unwrap();
    storage.close().unwrap();
    store_test::store_read(&storage).unwrap();
    drop(storage);

    let storage = open(&path, OpenMode::Read);
    store_test::store_read(&storage).unwrap();
    store_test::store_list(&storage).unwrap();
    store_test::store_list_size(&storage).unwrap();
    drop(storage);

    let storage: Arc<dyn ReadableWritableListableStorageTraits> =
        Arc::new(open(&path, OpenMode::Append));
    store_test::store_write(&storage.clone().writable()).unwrap();
    store_test::store_read(&storage.clone().readable()).unwrap();
    store_test::store_list(&storage.clone().listable()).unwrap();
}

#[test]
fn passes_the_tests_of_zarrs_without_syncs_and_in_a_small_map() {
    let folder = tempfile::tempdir().unwrap();
    let options = LmdbOptions::default()
        .mode(OpenMode::OpenOrCreate)
        .durability(Durability::Process)
        .map_size(1);
    let storage = LmdbStorage::open(folder.path(), &options).unwrap();
    store_test::store_write(&storage).unwrap();
    storage.close().unwrap();
    drop(storage);
    let storage = LmdbStorage::open(folder.path(), &options).unwrap();
    store_test::store_read(&storage).unwrap();
    store_test::store_list(&storage).unwrap();
    store_test::store_list_size(&storage).unwrap();
}

#[test]
fn reads_parts_and_refuses_what_is_outside() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), OpenMode::CreateNew);
    set(&storage, "a", "0123456789");
    let part = |range| storage.get_partial(&key("a"), range);
    assert_eq!(
        part(ByteRange::FromStart(3, Some(2))).unwrap().unwrap(),
        "34"
    );
    assert_eq!(part(ByteRange::FromStart(10, None)).unwrap().unwrap(), "");
    assert_eq!(part(ByteRange::Suffix(10)).unwrap().unwrap(), "0123456789");
    for range in [
        ByteRange::FromStart(0, Some(11)),
        ByteRange::FromStart(11, None),
        ByteRange::FromStart(u64::MAX, Some(2)),
        ByteRange::FromStart(2, Some(u64::MAX)),
        ByteRange::Suffix(11),
    ] {
        let error = part(range).unwrap_err();
        assert!(error.to_string().contains("invalid byte range"), "{error}");
    }
    let far = storage.set_partial(&key("a"), u64::MAX, "x".into());
    assert!(far.unwrap_err().to_string().contains("4 GiB"));
    assert_eq!(get(&storage, "a").unwrap(), "0123456789");
}

#[test]
fn keys_have_511_bytes_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), OpenMode::CreateNew);
    let longest = "k".repeat(511);
    let longer = "k".repeat(512);
    set(&storage, &longest, "1");
    assert_eq!(get(&storage, &longest).unwrap(), "1");
    let error = storage.set(&key(&longer), "1".into()).unwrap_err();
    assert_eq!(kind(&error), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("512"), "{error}");
    assert!(storage.set(&StoreKey::root(), "1".into()).is_err());
    assert!(storage.set(&key("\0t"), "1".into()).is_err());
    assert_eq!(get(&storage, &longer), None);
    assert_eq!(get(&storage, ""), None);
    assert_eq!(storage.size_key(&key(&longer)).unwrap(), None);
    assert_eq!(storage.list().unwrap(), [key(&longest)]);
    let prefix = StorePrefix::new(format!("{longer}/")).unwrap();
    assert!(storage.list_prefix(&prefix).unwrap().is_empty());
    assert!(storage.list_dir(&prefix).unwrap().prefixes().is_empty());
    storage.erase_prefix(&prefix).unwrap();
}

#[test]
fn each_mode_works_as_documented() {
    use OpenMode::{Append, CreateNew, OpenOrCreate, Read, Truncate};
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("parent/run.mdb");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for path in [&missing, &empty] {
        for mode in [Read, Append] {
            assert_eq!(refused(path, mode).kind(), ErrorKind::NotFound);
        }
    }
    assert!(!missing.exists() && fs::read_dir(&empty).unwrap().next().is_none());

    for mode in [CreateNew, OpenOrCreate, Truncate] {
        let path = folder
            .path()
            .join(format!("parents/{}/run.mdb", mode.as_str()));
        set(&open(&path, mode), "a", "1");
        assert_eq!(get(&open(&path, Read), "a").unwrap(), "1");
        let path = folder.path().join(format!("empty-{}", mode.as_str()));
        fs::create_dir(&path).unwrap();
        set(&open(&path, mode), "a", "1");
        assert_eq!(get(&open(&path, Append), "a").unwrap(), "1");
    }

    let path = folder.path().join("run.mdb");
    recording(&path);
    assert_eq!(refused(&path, CreateNew).kind(), ErrorKind::AlreadyExists);
    for mode in [Append, OpenOrCreate] {
        assert_eq!(get(&open(&path, mode), "a").unwrap(), "1");
    }
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let storage = open(&path, Truncate);
    assert_eq!(storage.list().unwrap(), []);
    set(&storage, "b", "2");
    drop(storage);
    assert_eq!(open(&path, Read).list().unwrap(), [key("b")]);
    assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
}

#[test]
fn files_that_are_not_recordings_are_left_alone() {
    use OpenMode::{Append, CreateNew, OpenOrCreate, Read, Truncate};
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.tex"), "text").unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    assert_eq!(refused(&foreign, Read).kind(), ErrorKind::NotFound);
    for mode in [Append, CreateNew, OpenOrCreate, Truncate] {
        let error = refused(&foreign, mode);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("thesis.tex"), "{error}");
    }
    for mode in [Read, Append, CreateNew, OpenOrCreate, Truncate] {
        assert_eq!(refused(&file, mode).kind(), ErrorKind::InvalidArgument);
        assert_eq!(
            refused(Path::new(""), mode).kind(),
            ErrorKind::InvalidArgument
        );
        assert_eq!(
            refused(Path::new("a\0b"), mode).kind(),
            ErrorKind::InvalidArgument
        );
    }
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
}

#[test]
fn damaged_files_are_refused_before_lmdb_maps_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    recording(&path);
    let data = path.join("data.mdb");
    let sound = fs::read(&data).unwrap();
    let expect = |bytes: &[u8], kind: ErrorKind, text: &str| {
        fs::write(&data, bytes).unwrap();
        for mode in [OpenMode::Read, OpenMode::Append, OpenMode::OpenOrCreate] {
            let error = refused(&path, mode);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(
            refused(&path, OpenMode::CreateNew).kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(
            fs::read(&data).unwrap(),
            bytes,
            "the file is left as it was"
        );
    };
    let patched = |patches: &[(usize, &[u8])]| {
        let mut bytes = sound.clone();
        for (offset, patch) in patches {
            bytes[*offset..offset + patch.len()].copy_from_slice(patch);
        }
        bytes
    };
    use ErrorKind::{Corrupt, Unsupported};
    let header = size_of::<usize>() + 8;
    expect(b"garbage", Corrupt, "not an LMDB");
    expect(&[0xA5; 20_000], Corrupt, "not an LMDB");
    expect(&[0; 200_000], Corrupt, "not an LMDB");
    expect(&sound[..sound.len() - 1], Corrupt, "truncated");
    expect(&sound[..2 * 4096], Corrupt, "truncated");
    expect(&sound[..4096 + 200], Corrupt, "truncated");
    expect(&sound[..4096], Corrupt, "truncated");
    expect(&sound[..100], Corrupt, "not an LMDB");
    expect(
        &patched(&[(header + 4, &9u32.to_ne_bytes())]),
        Unsupported,
        "format 9",
    );
    expect(
        &patched(&[(4096 + header + 4, &9u32.to_ne_bytes())]),
        Unsupported,
        "format 9",
    );
    expect(
        &patched(&[(4096 + header, &[0; 4])]),
        Corrupt,
        "not an LMDB",
    );
    let swapped = 0xBEEF_C0DEu32.swap_bytes().to_ne_bytes();
    expect(&patched(&[(header, &swapped)]), Unsupported, "byte order");
    if size_of::<usize>() == 8 {
        expect(
            &patched(&[(header + 24, &3u32.to_ne_bytes())]),
            Corrupt,
            "meta page",
        );
        expect(
            &patched(&[(header + 24, &0u32.to_ne_bytes())]),
            Corrupt,
            "meta page",
        );
        for (field, bad) in [(120, u64::MAX), (120, 0), (112, 999), (64, 0)] {
            let bad: &[u8] = &bad.to_ne_bytes();
            let both = [(header + field, bad), (4096 + header + field, bad)];
            expect(&patched(&both), Corrupt, "meta page");
        }
        let both = [(header + 76, &[4][..]), (4096 + header + 76, &[4][..])];
        expect(&patched(&both), Unsupported, "plain keys");
    }

    // A file that is not an LMDB file is never deleted; a damaged recording is deleted on request.
    fs::write(&data, b"garbage").unwrap();
    assert_eq!(refused(&path, OpenMode::Truncate).kind(), Corrupt);
    fs::write(&data, &sound[..4096]).unwrap();
    set(&open(&path, OpenMode::Truncate), "b", "2");
    assert_eq!(open(&path, OpenMode::Read).list().unwrap(), [key("b")]);

    fs::write(&data, &sound).unwrap();
    assert_eq!(get(&open(&path, OpenMode::Read), "a").unwrap(), "1");
}

#[test]
fn no_byte_of_the_meta_pages_makes_opening_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    recording(&path);
    let data = path.join("data.mdb");
    let sound = fs::read(&data).unwrap();
    for offset in (0..160).chain(4096..4096 + 160) {
        for byte in [0, 0xff] {
            let mut bytes = sound.clone();
            bytes[offset] = byte;
            // Without its last page, so that the list of free pages is checked, too.
            fs::write(&data, &bytes[..sound.len() - 4096]).unwrap();
            let _ = LmdbStorage::open(&path, &LmdbOptions::default());
        }
    }
}

#[test]
fn an_interrupted_creation_counts_as_nothing() {
    for left in [0, 16, 4096, 8192] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.mdb");
        open(&path, OpenMode::CreateNew).close().unwrap();
        let data = path.join("data.mdb");
        let fresh = fs::read(&data).unwrap();
        let unfinished = match left {
            0 | 4096 => fresh[..left].to_vec(),
            zeros => vec![0; zeros],
        };
        fs::write(&data, &unfinished).unwrap();
        for mode in [OpenMode::Read, OpenMode::Append] {
            assert_eq!(refused(&path, mode).kind(), ErrorKind::NotFound, "{left}");
        }
        set(&open(&path, OpenMode::CreateNew), "a", "1");
        assert_eq!(get(&open(&path, OpenMode::Read), "a").unwrap(), "1");
    }
    // Both meta pages of a new file belong to transaction 0.
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), OpenMode::CreateNew).close().unwrap();
    assert_eq!(open(folder.path(), OpenMode::Read).list().unwrap(), []);
    set(&open(folder.path(), OpenMode::Append), "a", "1");
}

#[test]
fn one_process_opens_a_recording_as_often_as_it_likes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    recording(&path);
    let early = open(&path, OpenMode::Read);
    let writer = open(&path, OpenMode::Append);
    let late = open(&path.join("../run.mdb"), OpenMode::Read);
    set(&writer, "a", "2");
    for reader in [&early, &late] {
        assert_eq!(get(reader, "a").unwrap(), "2");
        let error = reader.set(&key("a"), "3".into()).unwrap_err();
        assert!(matches!(error, StorageError::ReadOnly));
    }
    let error = refused(&path, OpenMode::Append);
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("this process"), "{error}");
    drop(writer);
    let writer = open(&path, OpenMode::Append);
    drop(early);
    set(&writer, "a", "3");
    assert_eq!(get(&late, "a").unwrap(), "3");
    assert_eq!(refused(&path, OpenMode::Truncate).kind(), ErrorKind::Locked);
    writer.close().unwrap();
    assert_eq!(refused(&path, OpenMode::Truncate).kind(), ErrorKind::Locked);
    assert_eq!(get(&writer, "a").unwrap(), "3");
    drop((writer, late));
    open(&path, OpenMode::Truncate).close().unwrap();
}

#[test]
fn opening_and_dropping_at_once_never_meets_a_half_closed_environment() {
    let folder = tempfile::tempdir().unwrap();
    recording(&folder.path().join("run.mdb"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let reader = open(&folder.path().join("run.mdb"), OpenMode::Read);
                    assert_eq!(get(&reader, "a").unwrap(), "1");
                }
            });
        }
    });
}

#[test]
fn a_recording_that_was_deleted_while_open_is_told_from_its_successor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    recording(&path);
    let old = open(&path, OpenMode::Read);
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(
        refused(&path, OpenMode::CreateNew).kind(),
        ErrorKind::Locked
    );
    assert_eq!(get(&old, "a").unwrap(), "1");
    drop(old);
    assert_eq!(open(&path, OpenMode::CreateNew).list().unwrap(), []);
}
