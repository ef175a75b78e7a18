//! What each process makes for itself.

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{generation, watch_forks};

/// A value that each process has once: made when it is first needed, and again in a forked child,
/// whatever threads of the parent were doing to theirs.
pub struct PerProcess<T: 'static> {
    current: AtomicPtr<Made<T>>,
    make: fn() -> T,
}

struct Made<T> {
    generation: u32,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// A value that `make` makes.
    pub const fn new(make: fn() -> T) -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            make,
        }
    }

    /// The value of this process.
    pub fn get(&'static self) -> &'static T {
        watch_forks();
        let found = self.current.load(Ordering::Acquire);
        // SAFETY: null, or leaked below and never freed.
        if let Some(made) = unsafe { found.as_ref() }
            && made.generation == generation()
        {
            return &made.value;
        }
        let made = Box::into_raw(Box::new(Made {
            generation: generation(),
            value: (self.make)(),
        }));
        let exchanged =
            self.current
                .compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire);
        let current = match exchanged {
            Ok(_) => made,
            Err(of_another_thread) => {
                // SAFETY: it was made above, and nobody has seen it.
                drop(unsafe { Box::from_raw(made) });
                of_another_thread
            }
        };
        // SAFETY: leaked here or by another thread of this process.
        unsafe { &(*current).value }
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").finish_non_exhaustive()
    }
}
