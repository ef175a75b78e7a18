//! Work that no fork interrupts.

use std::cell::{Cell, RefCell};

use super::descriptors::{self, Descriptors};
use super::watch_forks;
use crate::backend::sync::{MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Taken for reading by work that a fork waits for, and for writing by a thread that forks.
static FORKING: RwLock<()> = RwLock::new(());

/// What a thread holds while it forks.
struct Held {
    _forking: RwLockWriteGuard<'static, ()>,
    descriptors: MutexGuard<'static, Descriptors>,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    static IS_UNINTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, which no fork interrupts: for what belongs to the whole process and cannot be made
/// again in a child, such as the state of a C library. The child finds it whole.
///
/// It excludes no other threads. It may be nested, and must not take long, since a fork waits for it.
pub fn uninterrupted<T>(work: impl FnOnce() -> T) -> T {
    struct Uninterrupted {
        _forking: RwLockReadGuard<'static, ()>,
    }

    impl Drop for Uninterrupted {
        fn drop(&mut self) {
            IS_UNINTERRUPTED.set(false);
        }
    }

    if IS_UNINTERRUPTED.get() {
        return work();
    }
    watch_forks();
    let _forking = FORKING.read();
    IS_UNINTERRUPTED.set(true);
    let _uninterrupted = Uninterrupted { _forking };
    work()
}

/// Before a fork: waits for all such work, and lets none begin.
///
/// A thread that does such work itself forks to start a program, for which none of this matters.
pub(super) fn hold() {
    if IS_UNINTERRUPTED.get() {
        return;
    }
    let held = Held {
        _forking: FORKING.write(),
        descriptors: descriptors::ALL.lock(),
    };
    // A thread that is ending has no place for them, and holds them no longer.
    let _ = HELD.try_with(|place| place.replace(Some(held)));
}

/// After a fork, in both processes. The child first gets the descriptors that are not for it.
pub(super) fn release(in_child: impl FnOnce(&mut Descriptors)) {
    let held = HELD.try_with(RefCell::take).ok().flatten();
    if let Some(mut held) = held {
        in_child(&mut held.descriptors);
    }
}
