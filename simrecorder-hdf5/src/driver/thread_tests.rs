//! A writer and readers at the same time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use simrecorder_core::{Durability, ErrorKind};

use super::logged_file::LoggedFile;
use super::session_tests::{HEAD, ID, make_empty};

/// How often each reader has to see a complete commit.
const ENOUGH: u32 = 100;

/// Writes at least 3000 commits, each of which fills the file with its number, with changing
/// lengths, until all readers have read enough of them.
fn write(path: &Path, readers: &[AtomicU32], done: &AtomicBool) {
    let log = LoggedFile::create(path, ID, Durability::Process, &mut make_empty).unwrap();
    let mut log = Some(log);
    for number in 0..300_000_u32 {
        if number >= 3000
            && readers
                .iter()
                .all(|seen| seen.load(Ordering::Relaxed) >= ENOUGH)
        {
            break;
        }
        let current = log.take().unwrap_or_else(|| {
            let log = LoggedFile::append(path, Durability::Process, &mut |_, _| Ok(())).unwrap();
            if log.file_id().is_none() {
                log.set_file_id(ID).unwrap();
            }
            log
        });
        let length = 800 + (number as usize * 7919) % 9000;
        current.set_eoa(length as u64);
        let value = u8::try_from(number % 251).unwrap();
        current
            .write_at(HEAD as u64, &vec![value; length - HEAD])
            .unwrap();
        current.extend().unwrap();
        current.commit(&[value]).unwrap();
        match number % 41 {
            0 => current.close().unwrap(),
            7 => drop(current),
            13 | 26 => {
                current.checkpoint(&[value]).unwrap();
                log = Some(current);
            }
            19 => {
                // Discarded, but some of it is already in the file.
                current.set_eoa(length as u64 + 5000);
                current.write_at(300, &vec![255; length + 4000]).unwrap();
                current.abandon();
                current.attach();
                current.detach();
                log = Some(current);
            }
            _ => log = Some(current),
        }
    }
    done.store(true, Ordering::SeqCst);
}

/// Reads until the writer has finished, and counts the complete commits that it saw.
fn read(path: &Path, seen: &AtomicU32, done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        let mut note = None;
        let opened = LoggedFile::read(path, &mut |bytes, _| {
            note = bytes.first().copied();
            Ok(())
        });
        let log = match opened {
            Ok(log) => log,
            Err(error) => {
                // Not there yet, or it changes faster than it can be read.
                let expected = [ErrorKind::NotFound, ErrorKind::Io].contains(&error.kind());
                assert!(expected, "{error}");
                continue;
            }
        };
        let length = usize::try_from(log.length()).unwrap();
        for _ in 0..5 {
            let mut content = vec![0; length - HEAD];
            match log.read_at(HEAD as u64, &mut content) {
                Ok(()) => {
                    let value = content[0];
                    assert!(content.iter().all(|&byte| byte == value), "a torn commit");
                    assert!(
                        note.is_none_or(|note| note == value),
                        "the note of another commit"
                    );
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    assert!(log.is_stale(), "{error}");
                    break;
                }
            }
        }
    }
}

#[test]
fn readers_see_whole_commits_while_others_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let done = AtomicBool::new(false);
    let seen = [const { AtomicU32::new(0) }; 3];
    thread::scope(|scope| {
        for seen in &seen {
            scope.spawn(|| read(&path, seen, &done));
        }
        write(&path, &seen, &done);
    });
    for seen in seen {
        assert!(seen.into_inner() >= ENOUGH);
    }
}
