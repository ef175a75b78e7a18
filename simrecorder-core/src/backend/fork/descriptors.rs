//! Descriptors that a child does not inherit.

use std::fs::File;

use super::watch_forks;
use crate::backend::sync::Mutex;

#[cfg(unix)]
pub(super) type Descriptors = Vec<std::os::fd::RawFd>;
#[cfg(not(unix))]
pub(super) type Descriptors = Vec<()>;

/// The descriptors that children do not inherit.
pub(super) static ALL: Mutex<Descriptors> = Mutex::new(Vec::new());

/// Keeps the descriptor of a file from children that are forked while this value exists: their descriptor refers to
/// `/dev/null`.
///
/// A file lock belongs to all processes with the descriptor, so a child would keep the lock as long as it runs, even
/// after its parent died. Create this before the file is locked, and drop it before the file is closed.
#[derive(Debug)]
pub struct NotInherited {
    #[cfg(unix)]
    descriptor: std::os::fd::RawFd,
}

#[cfg(unix)]
impl NotInherited {
    /// Keeps a file from children.
    pub fn new(file: &File) -> Self {
        use std::os::fd::AsRawFd;
        watch_forks();
        let descriptor = file.as_raw_fd();
        ALL.lock().push(descriptor);
        Self { descriptor }
    }
}

#[cfg(unix)]
impl Drop for NotInherited {
    fn drop(&mut self) {
        let mut all = ALL.lock();
        let found = all.iter().position(|other| *other == self.descriptor);
        found.map(|index| all.swap_remove(index));
    }
}

#[cfg(not(unix))]
impl NotInherited {
    /// Does nothing, since there are no forks.
    pub fn new(_: &File) -> Self {
        watch_forks();
        Self {}
    }
}

/// Replaces all of them with `/dev/null` in a child.
///
/// They stay open, so that no other file gets their numbers while copies of the parent's values still contain them.
#[cfg(unix)]
pub(super) fn give_up(all: &mut Descriptors) {
    if all.is_empty() {
        return;
    }
    // SAFETY: these calls are allowed after a fork. The descriptors are open, since each is removed from the list
    // before its file is closed, and only this library uses them.
    unsafe {
        let nothing = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        for descriptor in all.drain(..) {
            // Without that device, closing the descriptor at least releases the lock.
            if nothing < 0 || libc::dup2(nothing, descriptor) < 0 {
                libc::close(descriptor);
            } else {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        if nothing >= 0 {
            libc::close(nothing);
        }
    }
}
