//! Kills and full disks at every step that changes a file.

use std::fs;

use simrecorder_core::{Error, ErrorKind, Result};

use super::fault::{self, Fault};
use super::session_tests::{Op, Session, is_being_copied, is_full};

const KILLS: [Fault; 2] = [Fault::Kill, Fault::KillWithin];

/// Operations of every kind.
pub(super) fn ops() -> Vec<Op> {
    let overwrite = |at, value| Op::Overwrite {
        at,
        length: 1500,
        value,
    };
    let grow = |length, value| Op::Grow { length, value };
    let commit = |note: &str| Op::Commit { note: note.into() };
    let checkpoint = |note: &str| Op::Checkpoint { note: note.into() };
    vec![
        grow(3000, 1),
        overwrite(100, 2),
        commit("a"),
        Op::Read,
        overwrite(2000, 3),
        grow(5000, 4),
        commit("b"),
        Op::Shrink { length: 4000 },
        overwrite(3000, 5),
        Op::Read,
        commit(""),
        checkpoint("c"),
        overwrite(100, 6),
        grow(2500, 7),
        commit("d"),
        Op::Read,
        grow(1500, 8),
        overwrite(5000, 9),
        // The writes since the last commit stay pending.
        checkpoint("e"),
        overwrite(0, 10),
        commit("f"),
        Op::Abandon,
        overwrite(700, 11),
        commit("g"),
        Op::Read,
        Op::Close,
        overwrite(700, 12),
        grow(100, 13),
        commit("h"),
        Op::Reopen,
        overwrite(700, 14),
        commit("i"),
    ]
}

fn run(session: &mut Session) -> Result<()> {
    session.create()?;
    for op in ops() {
        session.apply(&op)?;
        session.check();
    }
    Ok(())
}

/// Runs until the planned fault. Returns whether it occurred.
fn run_to_fault(session: &mut Session, step: u64, fault: Fault) -> bool {
    fault::plan(step, fault);
    let result = run(session);
    let met = fault::clear();
    assert_eq!(result.is_err(), met, "{result:?} after {step} steps");
    // The process is gone.
    session.log = None;
    met
}

/// Checks what the files contain after a kill, before they are opened for writing.
fn check_files(session: &Session, step: u64) {
    if session.committed.is_none() {
        return;
    }
    let main = fs::read(&session.path).unwrap();
    if !is_being_copied(&session.path) {
        let whole = |content: &[u8]| main.starts_with(content);
        let next = session.attempted.as_ref().filter(|_| session.in_checkpoint);
        assert!(
            whole(&session.home) || next.is_some_and(|next| whole(&next.content)),
            "the main file alone, after {step} steps"
        );
    }
}

fn check_reader(session: &Session, step: u64) {
    match session.look() {
        Ok(found) => assert!(
            Some(&found) == session.committed.as_ref()
                || Some(&found) == session.attempted.as_ref(),
            "a reader, after {step} steps"
        ),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(
                session.committed.is_none(),
                "lost, after {step} steps: {error}"
            );
        }
    }
}

/// Continues as another process would.
pub(super) fn resume(session: &mut Session) -> Result<()> {
    if session.committed.is_none() && !session.path.exists() {
        return session.create();
    }
    session.reopen()
}

fn finish(session: &mut Session) {
    for op in ops() {
        session.apply(&op).unwrap();
        session.check();
    }
    session.apply(&Op::Close).unwrap();
}

#[test]
fn a_kill_at_any_step_loses_no_commit() {
    for fault in KILLS {
        for step in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let mut session = Session::new(&folder.path().join("run.h5"));
            let met = run_to_fault(&mut session, step, fault);
            check_files(&session, step);
            // Either readers complete an interrupted checkpoint, or the next writer does.
            if step % 2 == 0 {
                check_reader(&session, step);
                assert!(!is_being_copied(&session.path), "after {step} steps");
            }
            fault::plan(u64::MAX, fault);
            resume(&mut session).unwrap();
            assert!(!is_being_copied(&session.path), "after {step} steps");
            session.check();
            finish(&mut session);
            fault::clear();
            if !met {
                assert!(step > 60, "{step}");
                break;
            }
        }
    }
}

#[test]
fn a_kill_while_a_file_is_opened_again_loses_no_commit() {
    for fault in KILLS {
        for step in 0.. {
            let mut met = false;
            for again in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let mut session = Session::new(&folder.path().join("run.h5"));
                met = run_to_fault(&mut session, step, fault);
                fault::plan(again, fault);
                if again % 2 == 0 {
                    let _ = session.look();
                }
                let opened = resume(&mut session);
                let met_again = fault::clear();
                fault::plan(u64::MAX, fault);
                session.log = None;
                if opened.is_err() {
                    check_reader(&session, step);
                }
                resume(&mut session).unwrap();
                session.check();
                session.apply(&Op::Close).unwrap();
                fault::clear();
                if !met_again {
                    break;
                }
            }
            if !met {
                break;
            }
        }
    }
}

#[test]
fn what_a_commit_left_that_broke_the_journal_is_not_read_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::new(&folder.path().join("run.h5"));
    session.create().unwrap();
    let ops = ops();
    for op in &ops[..3] {
        session.apply(op).unwrap();
    }
    let change = Op::Overwrite {
        at: 0,
        length: 500,
        value: 9,
    };
    session.apply(&change).unwrap();
    let commit = Op::Commit { note: vec![] };
    // Neither writing the record nor truncating the journal succeeds.
    fault::plan(0, Fault::Kill);
    session.apply(&commit).unwrap_err();
    fault::clear();
    session.abandon();
    session.check();
    session.apply(&change).unwrap();
    let error = session.apply(&commit).unwrap_err();
    assert!(error.to_string().contains("unknown state"), "{error}");
    session.abandon();
    session.check();
    session.log = None;
    session.reopen().unwrap();
    finish(&mut session);
}

/// Runs with a disk that is full once, and reacts as a store does.
fn run_with_failure(session: &mut Session, give_up: bool) -> u32 {
    let mut failures = 0;
    let mut failed = |error: Error| {
        assert!(is_full(&error), "{error}");
        failures += 1;
    };
    if let Err(error) = session.create() {
        failed(error);
        session.create().unwrap();
    }
    for op in ops() {
        if let Err(error) = session.apply(&op) {
            failed(error);
            match op {
                // A part of it may have been written.
                Op::Overwrite { .. } | Op::Grow { .. } => session.abandon(),
                Op::Commit { .. } if give_up => session.abandon(),
                Op::Commit { .. } => {
                    if session.apply(&op).is_err() {
                        session.abandon();
                    }
                }
                Op::Reopen => session.reopen().unwrap(),
                _ if session.log.is_none() => session.reopen().unwrap(),
                op => session.apply(&op).unwrap(),
            }
        }
        session.check();
    }
    failures
}

#[test]
fn a_full_disk_at_any_step_loses_no_commit() {
    for fault in [Fault::Fail, Fault::FailWithin] {
        for give_up in [false, true] {
            for step in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let mut session = Session::new(&folder.path().join("run.h5"));
                fault::plan(step, fault);
                let failures = run_with_failure(&mut session, give_up);
                let met = fault::clear();
                assert!(failures <= 1, "{failures} after {step} steps");
                fault::plan(u64::MAX, fault);
                finish(&mut session);
                fault::clear();
                if !met {
                    assert!(step > 60, "{step}");
                    break;
                }
            }
        }
    }
}
