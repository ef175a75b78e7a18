//! Values that each process creates for itself.

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{generation, watch_forks};

/// A value that each process has once. It is created on first use, and again in a forked child, in any state of the
/// parent's value.
pub struct PerProcess<T: 'static> {
    current: AtomicPtr<Made<T>>,
    make: fn() -> T,
}

struct Made<T> {
    generation: u32,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// Makes a value that `make` creates.
    pub const fn new(make: fn() -> T) -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            make,
        }
    }

    /// Returns the value of this process.
    pub fn get(&'static self) -> &'static T {
        watch_forks();
        let found = self.current.load(Ordering::Acquire);
        // SAFETY: it is null, or leaked below and never freed.
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
                // SAFETY: it was created above, and no other thread has it.
                drop(unsafe { Box::from_raw(made) });
                of_another_thread
            }
        };
        // SAFETY: it was leaked here or by another thread of this process.
        unsafe { &(*current).value }
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").finish_non_exhaustive()
    }
}
