//! Work that no fork interrupts.

use std::cell::{Cell, RefCell};

use super::descriptors::{self, Descriptors};
use super::watch_forks;
use crate::backend::sync::{MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Taken for reading by work that a fork waits for, and for writing by a thread that forks.
static FORKING: RwLock<()> = RwLock::new(());

/// The locks of a thread that forks.
struct Held {
    _forking: RwLockWriteGuard<'static, ()>,
    descriptors: MutexGuard<'static, Descriptors>,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    static IS_UNINTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` that no fork interrupts, on values of the whole process that a child cannot create again, such as the state
/// of a C library. The child gets them in a consistent state.
///
/// It does not exclude other threads. Calls may be nested. `work` must be short, since a fork waits for it.
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

/// Waits before a fork for all such work, and lets none begin.
///
/// A thread that forks within such work starts a program, which does not use the values.
pub(super) fn hold() {
    if IS_UNINTERRUPTED.get() {
        return;
    }
    let held = Held {
        _forking: FORKING.write(),
        descriptors: descriptors::ALL.lock(),
    };
    // A thread that is ending has no thread-local values, and keeps no locks.
    let _ = HELD.try_with(|place| place.replace(Some(held)));
}

/// Lets work begin again after a fork, in both processes. The child first replaces the descriptors of its parent.
pub(super) fn release(in_child: impl FnOnce(&mut Descriptors)) {
    let held = HELD.try_with(RefCell::take).ok().flatten();
    if let Some(mut held) = held {
        in_child(&mut held.descriptors);
    }
}
