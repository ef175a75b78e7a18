//! Power failures: writes that were not synced may or may not have reached the disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::crash_tests::ops;
use super::disk::Change;
use super::session_tests::{Commit, Session, is_being_copied};

/// A change of a file, identified by its inode, or of the names of files.
#[derive(Clone)]
enum Noted {
    Write(u64, u64, Vec<u8>),
    SetLen(u64, u64),
    /// With the contents of the file, in case other code changed it.
    Sync(u64, Vec<u8>),
    SyncFolder,
    /// The name leads to the inode, or to none.
    Name(OsString, Option<u64>),
}

#[derive(Default)]
struct Notes {
    changes: Vec<Noted>,
    /// Kept open, so that no inode is reused.
    files: Vec<File>,
}

thread_local! {
    static NOTES: RefCell<Option<Notes>> = const { RefCell::new(None) };
}

/// A path by which an open file is opened again. A copy of the handle would share its lock.
fn again(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Records a change, if a test collects changes.
pub(super) fn note<'a>(change: impl FnOnce() -> Change<'a>) {
    NOTES.with_borrow_mut(|notes| {
        let Some(notes) = notes else { return };
        let mut inode = |file: &File| {
            notes.files.push(File::open(again(file)).unwrap());
            file.metadata().unwrap().ino()
        };
        let name = |path: &Path| path.file_name().unwrap().to_owned();
        let noted = match change() {
            Change::Write(file, offset, bytes) => Noted::Write(inode(file), offset, bytes.to_vec()),
            Change::SetLen(file, length) => Noted::SetLen(inode(file), length),
            Change::Sync(file) => Noted::Sync(inode(file), fs::read(again(file)).unwrap()),
            Change::SyncFolder => Noted::SyncFolder,
            Change::Remove(path) => Noted::Name(name(path), None),
            Change::Rename(from, to) => {
                let file = File::open(to).unwrap();
                notes.changes.push(Noted::Name(name(from), None));
                Noted::Name(name(to), Some(inode(&file)))
            }
        };
        notes.changes.push(noted);
    });
}

/// What is certainly on the disk, and what may be.
#[derive(Default)]
struct Disk {
    files: BTreeMap<u64, Vec<u8>>,
    names: BTreeMap<OsString, u64>,
    pending: Vec<Noted>,
}

fn apply(files: &mut BTreeMap<u64, Vec<u8>>, names: &mut BTreeMap<OsString, u64>, change: &Noted) {
    let to_usize = |number: u64| usize::try_from(number).unwrap();
    match change {
        Noted::Write(inode, offset, bytes) => {
            let file = files.entry(*inode).or_default();
            let start = to_usize(*offset);
            file.resize(file.len().max(start + bytes.len()), 0);
            file[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Noted::SetLen(inode, length) => files
            .entry(*inode)
            .or_default()
            .resize(to_usize(*length), 0),
        Noted::Name(name, Some(inode)) => {
            names.insert(name.clone(), *inode);
        }
        Noted::Name(name, None) => {
            names.remove(name);
        }
        Noted::Sync(..) | Noted::SyncFolder => {}
    }
}

impl Disk {
    fn take(&mut self, change: &Noted) {
        match change {
            Noted::Sync(inode, content) => {
                self.files.insert(*inode, content.clone());
                self.pending.retain(|it| {
                    !matches!(it, Noted::Write(file, ..) | Noted::SetLen(file, _) if file == inode)
                });
            }
            Noted::SyncFolder => {
                for change in self
                    .pending
                    .extract_if(.., |it| matches!(it, Noted::Name(..)))
                {
                    apply(&mut self.files, &mut self.names, &change);
                }
            }
            change => self.pending.push(change.clone()),
        }
    }

    /// Writes what a power failure leaves. Names change in order; writes reach the disk in any
    /// order.
    fn leave(&self, folder: &Path, keep: &mut dyn FnMut() -> bool) {
        let (mut files, mut names) = (self.files.clone(), self.names.clone());
        let mut names_continue = true;
        for change in &self.pending {
            if let Noted::Name(..) = change {
                names_continue &= keep();
                if !names_continue {
                    continue;
                }
            } else if !keep() {
                continue;
            }
            apply(&mut files, &mut names, change);
        }
        for (name, inode) in names {
            let content = files.get(&inode).map_or(&[][..], Vec::as_slice);
            fs::write(folder.join(name), content).unwrap();
        }
    }
}

/// A state between two operations: the number of changes so far, and what was promised.
struct Mark {
    changes: usize,
    committed: Option<Commit>,
    home: Vec<u8>,
}

fn record() -> (Vec<Noted>, Vec<Mark>) {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::new(&folder.path().join("run.h5"));
    NOTES.set(Some(Notes::default()));
    let mark = |session: &Session| Mark {
        changes: NOTES.with_borrow(|notes| notes.as_ref().unwrap().changes.len()),
        committed: session.committed.clone(),
        home: session.home.clone(),
    };
    let mut marks = vec![mark(&session)];
    session.create().unwrap();
    marks.push(mark(&session));
    for op in ops() {
        session.apply(&op).unwrap();
        marks.push(mark(&session));
    }
    (NOTES.take().unwrap().changes, marks)
}

fn check(disk: &Disk, before: &Mark, after: &Mark, keep: &mut dyn FnMut() -> bool) {
    let folder = tempfile::tempdir().unwrap();
    disk.leave(folder.path(), keep);
    let mut session = Session::new(&folder.path().join("run.h5"));
    if !session.path.exists() {
        assert!(before.committed.is_none(), "the file is gone");
        return;
    }
    if !is_being_copied(&session.path) {
        let main = fs::read(&session.path).unwrap();
        let whole = |mark: &Mark| !mark.home.is_empty() && main.starts_with(&mark.home);
        assert!(whole(before) || whole(after), "the main file alone");
    }
    session.committed.clone_from(&before.committed);
    session.attempted.clone_from(&after.committed);
    match session.reopen() {
        Ok(()) => session.check(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_power_failure_at_any_moment_loses_no_commit() {
    let (changes, marks) = record();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut disk = Disk::default();
    super::fault::plan(u64::MAX, super::fault::Fault::Fail);
    for done in 0..=changes.len() {
        let after = marks.iter().position(|mark| mark.changes > done);
        let after = after.unwrap_or(marks.len() - 1);
        let (before, after) = (&marks[after.saturating_sub(1)], &marks[after]);
        check(&disk, before, after, &mut || false);
        check(&disk, before, after, &mut || true);
        for _ in 0..8 {
            check(&disk, before, after, &mut || {
                random.next_u32().is_multiple_of(2)
            });
        }
        if let Some(change) = changes.get(done) {
            disk.take(change);
        }
    }
    super::fault::clear();
    assert!(changes.len() > 60, "{}", changes.len());
}
