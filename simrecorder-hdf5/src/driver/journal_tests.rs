//! Truncated, damaged and invented journals.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use simrecorder_core::backend::Record;
use simrecorder_core::{Durability, ErrorKind};

use super::journal::{self, Header, JournalRange, LoadedJournal, START};
use super::logged_file::LoggedFile;
use super::pages::PAGE;
use super::session_tests::{Op, Session, make_empty};

const HEADER: Header = Header {
    id: [3; 16],
    base: 5000,
    superblock: 77,
};

/// A journal of three records, and the ends of the header and of each record.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let (header, mut position) = HEADER.encode();
    let mut bytes = header.to_vec();
    let mut ends = vec![bytes.len()];
    for (eoa, numbers, note) in [
        (6000, vec![0, 3], &b"one"[..]),
        (9000, vec![5], b""),
        (7000, vec![], b"three"),
    ] {
        let page = [9; PAGE];
        let pages = numbers.iter().map(|&number| (number, &page));
        let sealed = journal::encode(eoa, pages, note).seal(position);
        bytes.extend_from_slice(&sealed.bytes);
        position = sealed.end;
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn load(bytes: &[u8]) -> simrecorder_core::Result<LoadedJournal> {
    let file = tempfile::tempfile().unwrap();
    super::disk::Disk::new(Durability::Process)
        .write(&file, bytes, 0)
        .unwrap();
    journal::load(file.into(), Path::new("j"), 0)
}

#[test]
fn records_come_back() {
    let (bytes, ends) = sample();
    let loaded = load(&bytes).unwrap();
    assert_eq!(loaded.header, HEADER);
    assert_eq!(loaded.changes, 0);
    assert_eq!(loaded.committed.eoa, 7000);
    assert_eq!(loaded.committed.fresh, 9 * 1024);
    assert_eq!(
        Vec::from_iter(loaded.committed.pages.keys().copied()),
        [0, 3, 5]
    );
    for &offset in loaded.committed.pages.values() {
        let offset = usize::try_from(offset).unwrap();
        assert_eq!(bytes[offset..offset + PAGE], [9; PAGE]);
    }
    let note = |range: JournalRange| {
        let start = usize::try_from(range.offset).unwrap();
        &bytes[start..start + usize::try_from(range.len).unwrap()]
    };
    assert_eq!(note(loaded.notes[0]), b"one");
    assert_eq!(note(loaded.notes[1]), b"three");
    assert_eq!(loaded.end.offset, ends[3] as u64);
}

#[test]
fn a_cut_journal_ends_with_its_last_whole_record() {
    let (bytes, ends) = sample();
    for cut in 0..=bytes.len() {
        match load(&bytes[..cut]) {
            Ok(loaded) => {
                let whole = ends.iter().rfind(|&&end| end <= cut).unwrap();
                assert_eq!(loaded.end.offset, *whole as u64);
            }
            Err(error) => {
                assert!(cut < ends[0]);
                assert_eq!(error.kind(), ErrorKind::Corrupt);
            }
        }
    }
}

/// A journal with one record with this payload and valid checksums.
fn with_payload(payload: &[u8]) -> Vec<u8> {
    let (header, position) = HEADER.encode();
    let mut record = Record::default();
    record.extend(payload);
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(&record.seal(position).bytes);
    bytes
}

#[test]
fn payloads_that_no_writer_makes_are_refused() {
    let head = |eoa: u64, count: u64, numbers: &[u64]| {
        let mut payload = eoa.to_le_bytes().to_vec();
        payload.extend(count.to_le_bytes());
        numbers
            .iter()
            .for_each(|number| payload.extend(number.to_le_bytes()));
        payload.resize(payload.len() + numbers.len() * PAGE, 0);
        payload
    };
    let bad = [
        vec![],
        vec![0; 15],
        head(u64::MAX, 0, &[]),
        head(i64::MAX as u64, 0, &[]),
        head(100, 1, &[]),
        head(100, u64::MAX, &[0]),
        head(100, u64::MAX / 1032 + 1, &[0]),
        head(100, 2, &[1, 1]),
        head(100, 2, &[1, 0]),
        head(100, 1, &[5]),
        head(100, 1, &[u64::MAX]),
    ];
    for payload in bad {
        let error = load(&with_payload(&payload)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    load(&with_payload(&head(100, 2, &[0, 4]))).unwrap();
}

/// Creates a file with a journal of some commits.
fn recorded(path: &Path) -> Session {
    let mut session = Session::new(path);
    session.create().unwrap();
    for value in 0..4 {
        for op in [
            Op::Grow { length: 700, value },
            Op::Overwrite {
                at: 5,
                length: 900,
                value,
            },
            Op::Commit { note: vec![value] },
        ] {
            session.apply(&op).unwrap();
        }
    }
    session.log = None;
    session
}

fn journal_of(path: &Path) -> std::path::PathBuf {
    path.with_extension("h5.journal")
}

#[test]
fn a_journal_of_another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    recorded(&path);
    let mut other = super::session_tests::empty();
    other.resize(100_000, 4);
    other[500] = 0;
    fs::write(&path, &other).unwrap();
    for error in [
        LoggedFile::read(&path, &mut |_, _| Ok(())).unwrap_err(),
        LoggedFile::append(&path, Durability::Power, &mut |_, _| Ok(())).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.to_string().contains("do not belong together"),
            "{error}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), other);
}

#[test]
fn a_main_file_that_is_too_short_or_no_hdf5_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    recorded(&path);
    let whole = fs::read(&path).unwrap();
    for (content, message) in [
        (&whole[..whole.len() - 1], "truncated"),
        (&[][..], "not an HDF5 file"),
        (&[0; 5000], "not an HDF5 file"),
    ] {
        fs::write(&path, content).unwrap();
        for error in [
            LoggedFile::read(&path, &mut |_, _| Ok(())).unwrap_err(),
            LoggedFile::append(&path, Durability::Power, &mut |_, _| Ok(())).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(message), "{error}");
        }
    }
    fs::remove_file(&path).unwrap();
    let error = LoggedFile::read(&path, &mut |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // Its remains are not used for a new file.
    let log = LoggedFile::create(&path, [8; 16], Durability::Power, &mut make_empty).unwrap();
    assert_eq!(log.file_id(), Some([8; 16]));
    assert_eq!(log.journal_bytes(), START);
}

/// The number of changes has no checksum, because it is changed in place.
#[test]
fn the_largest_number_of_changes_wraps_around() {
    for changes in [u64::MAX, u64::MAX - 1, u64::MAX - 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.h5");
        recorded(&path);
        let mut bytes = fs::read(journal_of(&path)).unwrap();
        let (at, number) = journal::encode_changes(changes);
        let at = usize::try_from(at).unwrap();
        bytes[at..at + 8].copy_from_slice(&number);
        fs::write(journal_of(&path), &bytes).unwrap();
        drop(LoggedFile::read(&path, &mut |_, _| Ok(())).unwrap());
        drop(LoggedFile::append(&path, Durability::Process, &mut |_, _| Ok(())).unwrap());
    }
}

proptest! {
    #[test]
    fn a_changed_byte_leaves_a_prefix_or_an_error(at: usize, to: u8) {
        let (mut bytes, ends) = sample();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        match load(&bytes) {
            Ok(loaded) => {
                let end = usize::try_from(loaded.end.offset).unwrap();
                prop_assert!(ends.contains(&end));
                // Two fields have no checksum: the rest of the header, and `changes`.
                let open = (28..32).contains(&at) || (64..72).contains(&at);
                prop_assert!(open || end <= at);
            }
            Err(error) => {
                prop_assert!(at < ends[0]);
                prop_assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported));
            }
        }
    }

    #[test]
    fn any_payload_is_taken_or_refused(payload: Vec<u8>) {
        let _ = load(&with_payload(&payload));
    }

    #[test]
    fn any_journal_opens_or_fails(at: usize, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.h5");
        recorded(&path);
        let mut journal = fs::read(journal_of(&path)).unwrap();
        let at = at % (journal.len() + 1);
        journal.truncate(at);
        journal.extend_from_slice(&bytes);
        fs::write(journal_of(&path), &journal).unwrap();
        for open in [
            LoggedFile::read(&path, &mut |_, _| Ok(())),
            LoggedFile::append(&path, Durability::Process, &mut |_, _| Ok(())),
        ] {
            if let Err(error) = open {
                prop_assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported));
            }
        }
    }
}
