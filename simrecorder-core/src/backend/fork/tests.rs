//! The values, locks and descriptors of a parent in its child.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{PipeWriter, Read, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{PerProcess, ProcessLocal, uninterrupted};
use crate::backend::sync::Mutex;
use crate::backend::{Lock, lock_file, parallel};
use crate::conformance::child::{Ending, ForkedChild};
use crate::error::ErrorKind;
use crate::memory_store::InMemoryDataStore;
use crate::recorder::Recorder;

#[test]
fn a_child_neither_uses_nor_drops_a_value_of_its_parent() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    struct Counted;

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    let mut value = Some(ProcessLocal::new(Counted));
    let child = ForkedChild::start(Ending::AtOnce, || {
        let mut inherited = value.take().unwrap();
        let kind = inherited.get("test").map(drop).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Forked);
        assert!(inherited.get_mut("test").is_err());
        let part = inherited.map(|_| Counted);
        assert!(part.is_inherited());
        drop((inherited, part));
        assert_eq!(DROPPED.load(Ordering::Relaxed), 0);
        drop(ProcessLocal::new(Counted));
        assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
    });
    child.finish();
    assert!(value.as_ref().unwrap().get("test").is_ok());
    drop(value);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}

#[test]
fn a_child_creates_its_own_value_of_what_each_process_has_once() {
    static NUMBERS: PerProcess<Mutex<Vec<u32>>> = PerProcess::new(Mutex::default);

    NUMBERS.get().lock().push(1);
    // Locked at the fork by the thread that forks.
    let held = NUMBERS.get().lock();
    let child = ForkedChild::start(Ending::AtOnce, || {
        assert!(NUMBERS.get().lock().is_empty());
        NUMBERS.get().lock().push(2);
        let grandchild = ForkedChild::start(Ending::AtOnce, || {
            assert!(NUMBERS.get().lock().is_empty());
        });
        grandchild.finish();
        assert_eq!(*NUMBERS.get().lock(), [2]);
    });
    child.finish();
    drop(held);
    assert_eq!(*NUMBERS.get().lock(), [1]);
}

#[test]
fn a_fork_waits_for_uninterrupted_work() {
    static HALVES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

    let check = || {
        let [one, other] = [0, 1].map(|half: usize| HALVES[half].load(Ordering::Relaxed));
        assert_eq!(one, other);
    };
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                uninterrupted(|| {
                    HALVES[0].fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                    uninterrupted(|| HALVES[1].fetch_add(1, Ordering::Relaxed));
                });
            }
        });
        for _ in 0..50 {
            ForkedChild::start(Ending::AtOnce, || {
                uninterrupted(check);
                ForkedChild::start(Ending::AtOnce, check).finish();
            })
            .finish();
        }
        ends.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_child_that_is_forked_while_a_thread_starts_or_ends_does_not_hang() {
    let record = |_: &mut PipeWriter| {
        let recorder = Recorder::new(Arc::new(InMemoryDataStore::new()));
        if let Err(error) = recorder.record("n", 1).and_then(|()| recorder.flush()) {
            let text = format!("{error}: {:?}", error.source());
            assert!(
                text.contains("inline mode") && text.contains("fork again"),
                "{text}"
            );
        }
        // On this thread, if no others start.
        assert_eq!(parallel::map(vec![1, 2, 3], Ok).unwrap(), [1, 2, 3]);
    };
    let start = Instant::now();
    let is_running = || start.elapsed() < Duration::from_secs(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while is_running() {
                    thread::spawn(|| ()).join().unwrap();
                }
            });
        }
        while is_running() {
            ForkedChild::start_once(Ending::AtOnce, record).finish();
        }
    });
}

#[test]
fn a_child_does_not_keep_a_file_lock_of_its_parent() {
    let path =
        std::env::temp_dir().join(format!("simrecorder-{:x}", crate::backend::random_number()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    let lock = || lock_file(&path, &options).unwrap();
    let held = lock();
    let (mut is_over, over) = pipe().unwrap();
    let child = ForkedChild::start(Ending::AtOnce, || {
        let _ = is_over.read(&mut [0]);
    });
    assert!(matches!(lock(), Lock::Held(_)));
    drop(held);
    assert!(matches!(lock(), Lock::Taken(_)));
    drop(over);
    child.kill();
    std::fs::remove_file(path).unwrap();
}
