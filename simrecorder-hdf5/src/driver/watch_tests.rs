//! Readers that start reading, and read again, before each step of a writer.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use simrecorder_core::ErrorKind;

use super::crash_tests::{ops, resume};
use super::fault::{self, Fault};
use super::logged_file::LoggedFile;
use super::session_tests::{Op, Session, content};

/// Readers, and what each saw first.
#[derive(Default)]
struct Readers {
    reading: Vec<(Arc<LoggedFile>, Vec<u8>)>,
    /// The contents that were seen since the last check.
    seen: Vec<Vec<u8>>,
    /// All contents that were ever committed, or were to be.
    history: Vec<Vec<u8>>,
    steps: usize,
}

impl Readers {
    /// Each reader sees the same as before, or reports that it is stale. Another reader starts.
    fn step(&mut self, path: &Path) {
        self.steps += 1;
        let mut turn = self.steps;
        self.reading.retain(|(log, first)| {
            // Not all readers at every step: some must miss what others notice.
            turn += 1;
            if !turn.is_multiple_of(4) {
                return true;
            }
            match content(log) {
                Ok(found) => {
                    assert!(found == *first, "a reader saw its commit change");
                    true
                }
                Err(error) => {
                    assert!(log.is_stale(), "{error}");
                    false
                }
            }
        });
        match LoggedFile::read(path, &mut |_, _| Ok(())) {
            Ok(log) => {
                let first = content(&log).unwrap();
                self.seen.push(first.clone());
                self.reading.push((log, first));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
    }

    /// Checks that everything that was seen was committed before or after an operation.
    fn check(&mut self, session: &Session) {
        for commit in session.committed.iter().chain(&session.attempted) {
            self.history.push(commit.content.clone());
        }
        for seen in self.seen.drain(..) {
            assert!(self.history.contains(&seen), "what was never committed");
        }
    }
}

/// A session with concurrent readers.
struct WatchedJournal {
    session: Session,
    readers: Rc<RefCell<Readers>>,
    /// Whether a failed checkpoint is tried again.
    again: bool,
}

impl WatchedJournal {
    fn new(path: &Path, again: bool) -> Self {
        let readers = Rc::new(RefCell::new(Readers::default()));
        let (watching, path): (_, PathBuf) = (Rc::clone(&readers), path.to_owned());
        let session = Session::new(&path);
        fault::watch(Some(Box::new(move || watching.borrow_mut().step(&path))));
        Self {
            session,
            readers,
            again,
        }
    }

    /// Applies an operation, then reacts as a store does if it failed.
    fn apply(&mut self, op: &Op) {
        let done = self.session.apply(op);
        self.readers.borrow_mut().check(&self.session);
        if done.is_err() {
            match op {
                Op::Reopen | Op::Close if self.session.log.is_none() => {
                    self.session.reopen().unwrap();
                }
                Op::Checkpoint { .. } if !self.again => {}
                Op::Reopen | Op::Close | Op::Checkpoint { .. } => {
                    self.session.apply(op).unwrap();
                }
                _ => self.session.abandon(),
            }
            self.readers.borrow_mut().check(&self.session);
        }
    }

    fn create(&mut self) {
        if self.session.create().is_err() {
            self.session.create().unwrap();
        }
        self.readers.borrow_mut().check(&self.session);
    }
}

#[test]
fn readers_keep_their_commit_while_a_disk_is_full() {
    for (fault, again) in [
        (Fault::Fail, true),
        (Fault::Fail, false),
        (Fault::FailWithin, true),
    ] {
        for step in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let mut watched = WatchedJournal::new(&folder.path().join("run.h5"), again);
            fault::plan(step, fault);
            watched.create();
            for op in ops() {
                watched.apply(&op);
            }
            fault::watch(None);
            if !fault::clear() {
                break;
            }
        }
    }
}

#[test]
fn readers_keep_their_commit_when_a_writer_is_killed() {
    for fault in [Fault::Kill, Fault::FailThenKill] {
        for step in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let mut watched = WatchedJournal::new(&folder.path().join("run.h5"), true);
            fault::plan(step, fault);
            if watched.session.create().is_ok() {
                ops().iter().find(|op| {
                    let done = watched.session.apply(op);
                    watched.readers.borrow_mut().check(&watched.session);
                    done.is_err()
                });
            }
            let met = fault::clear();
            resume_otherwise(&mut watched);
            fault::watch(None);
            fault::clear();
            if !met {
                break;
            }
        }
    }
}

#[test]
fn readers_of_a_first_commit_that_was_taken_back_notice_the_next_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let mut session = Session::new(&path);
    session.create().unwrap();
    let grow = |value| Op::Grow {
        length: 3000,
        value,
    };
    let commit = Op::Commit { note: vec![] };
    session.apply(&grow(1)).unwrap();
    let readers = Rc::new(RefCell::new(Readers::default()));
    let (watching, watched) = (Rc::clone(&readers), path.clone());
    fault::watch(Some(Box::new(move || watching.borrow_mut().step(&watched))));
    // The journal cannot be synced and is truncated, and the process is killed before it announces
    // this.
    fault::plan(2, Fault::FailThenKill);
    session.apply(&commit).unwrap_err();
    fault::clear();
    fault::watch(None);
    session.log = None;
    session.reopen().unwrap();
    session.apply(&grow(2)).unwrap();
    session.apply(&commit).unwrap();
    let readers = readers.take();
    let taken_back = readers.reading.iter().filter(|it| it.1.len() == 3800);
    assert!(taken_back.count() > 0);
    for (log, first) in &readers.reading {
        match content(log) {
            Ok(found) => assert!(found == *first, "a reader saw its commit change"),
            Err(error) => assert!(log.is_stale(), "{error}"),
        }
    }
}

/// Lets another writer continue with other contents.
fn resume_otherwise(watched: &mut WatchedJournal) {
    watched.session.log = None;
    fault::plan(u64::MAX, Fault::Kill);
    resume(&mut watched.session).unwrap();
    for value in 0..3 {
        for op in [
            Op::Grow {
                length: 3000,
                value,
            },
            Op::Overwrite {
                at: 0,
                length: 9000,
                value,
            },
            Op::Commit { note: vec![value] },
            Op::Checkpoint { note: vec![] },
        ] {
            watched.apply(&op);
        }
    }
}
