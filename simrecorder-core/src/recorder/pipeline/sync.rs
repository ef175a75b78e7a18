//! Locks and threads for the queue of a store: those of the crate, or those of shuttle, which tries
//! interleavings of threads (`ci/interleavings`).

#[cfg(not(all(test, shuttle)))]
pub(super) use crate::backend::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(all(test, shuttle)))]
pub(super) use std::thread;

#[cfg(all(test, shuttle))]
pub(super) use self::tried::{Condvar, Mutex, MutexGuard};
#[cfg(all(test, shuttle))]
pub(super) use shuttle::thread;

/// Shuttle's locks, which are those of the standard library, in the form of those of the crate.
#[cfg(all(test, shuttle))]
mod tried {
    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    use shuttle::sync;

    #[derive(Debug, Default)]
    pub(in crate::recorder) struct Mutex<T>(sync::Mutex<T>);

    #[derive(Debug)]
    pub(in crate::recorder) struct MutexGuard<'a, T> {
        mutex: &'a Mutex<T>,
        /// `None` while the lock is released.
        guard: Option<sync::MutexGuard<'a, T>>,
    }

    impl<T> Mutex<T> {
        pub(in crate::recorder) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(in crate::recorder) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard {
                mutex: self,
                guard: Some(self.0.lock().unwrap()),
            }
        }
    }

    impl<T> MutexGuard<'_, T> {
        pub(in crate::recorder) fn unlocked<U>(this: &mut Self, work: impl FnOnce() -> U) -> U {
            this.guard = None;
            let result = work();
            this.guard = Some(this.mutex.0.lock().unwrap());
            result
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.guard.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.guard.as_mut().unwrap()
        }
    }

    #[derive(Debug, Default)]
    pub(in crate::recorder) struct Condvar(sync::Condvar);

    pub(in crate::recorder) struct TimedOut;

    impl TimedOut {
        pub(in crate::recorder) fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub(in crate::recorder) fn new() -> Self {
            Self::default()
        }

        pub(in crate::recorder) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let held = guard.guard.take().unwrap();
            guard.guard = Some(self.0.wait(held).unwrap());
        }

        /// Shuttle has no clock, so no wait times out in its tests.
        pub(in crate::recorder) fn wait_until<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _: Instant,
        ) -> TimedOut {
            self.wait(guard);
            TimedOut
        }

        pub(in crate::recorder) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(in crate::recorder) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
