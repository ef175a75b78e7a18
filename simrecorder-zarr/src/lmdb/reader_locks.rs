//! Tells which snapshots are being read, so that a writer does not reuse their extents in chunk
//! files.
//!
//! A reader takes a read lock on one byte of the file `readers.lock`: the byte whose offset is the
//! number of the transaction that its snapshot shows. The system releases the lock when the process
//! ends. The writer asks whether a byte before that of the transaction that freed something is
//! locked. LMDB has a table of readers, too, but does not expose it.

#![cfg_attr(
    target_os = "linux",
    allow(unsafe_code, reason = "these locks have no safe wrapper")
)]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use simrecorder_core::backend::fork::NotInherited;
use simrecorder_core::backend::sync::Mutex;

/// The file with the locks, in the folder of the recording.
pub(super) const NAME: &str = "readers.lock";

/// The locks of the readers of a process, which share them.
pub(super) struct ReaderLocks {
    /// The number of readers of each snapshot.
    counts: Mutex<BTreeMap<u64, usize>>,
    _not_inherited: NotInherited,
    file: File,
}

/// While this lives, no extent to which the snapshot leads is reused.
pub(super) struct ReaderLock<'a> {
    locks: &'a ReaderLocks,
    transaction: u64,
}

impl ReaderLocks {
    /// Opens the file with the locks; `None` if there is none.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        let file = File::open(folder.join(NAME)).ok()?;
        Some(Self {
            counts: Mutex::default(),
            _not_inherited: NotInherited::new(&file),
            file,
        })
    }

    /// Locks a snapshot; `None` if the system refuses. The lock is effective if the snapshot still
    /// shows the last transaction afterwards.
    pub(super) fn lock(&self, transaction: u64) -> Option<ReaderLock<'_>> {
        let mut counts = self.counts.lock();
        let count = counts.entry(transaction).or_insert(0);
        if *count == 0 && !set_lock(&self.file, transaction, true) {
            counts.remove(&transaction);
            return None;
        }
        *count += 1;
        Some(ReaderLock {
            locks: self,
            transaction,
        })
    }
}

impl Drop for ReaderLock<'_> {
    fn drop(&mut self) {
        let mut counts = self.locks.counts.lock();
        if let Some(count) = counts.get_mut(&self.transaction) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.transaction);
                set_lock(&self.locks.file, self.transaction, false);
            }
        }
    }
}

/// The file with the locks, as a writer opens it.
pub(super) struct LockedReaders(File);

impl LockedReaders {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        file.open(folder.join(NAME)).map(Self)
    }

    /// Whether a snapshot from before a transaction is being read.
    pub(super) fn are_before(&self, transaction: u64) -> bool {
        is_locked_before(&self.0, transaction)
    }
}

#[cfg(target_os = "linux")]
fn request(kind: i32, start: u64, len: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: len as libc::off_t,
        l_pid: 0,
    }
}

/// Locks or unlocks one byte of a file for reading. Returns whether this succeeded.
#[cfg(target_os = "linux")]
fn set_lock(file: &File, byte: u64, locked: bool) -> bool {
    use std::os::fd::AsRawFd;
    let kind = if locked { libc::F_RDLCK } else { libc::F_UNLCK };
    let request = request(kind, byte, 1);
    // SAFETY: the descriptor is open while the file is borrowed, and the call only reads the
    // request.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &request) == 0 }
}

/// Whether another descriptor has locked a byte before this one.
#[cfg(target_os = "linux")]
fn is_locked_before(file: &File, byte: u64) -> bool {
    use std::os::fd::AsRawFd;
    if byte == 0 {
        return false;
    }
    let mut request = request(libc::F_WRLCK, 0, byte);
    // SAFETY: the descriptor is open while the file is borrowed, and the request outlives the call,
    // which writes the found lock into it.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) == 0 };
    !asked || request.l_type != libc::F_UNLCK as libc::c_short
}

#[cfg(not(target_os = "linux"))]
fn set_lock(_: &File, _: u64, _: bool) -> bool {
    false
}

/// Readers lock nothing on this system.
#[cfg(not(target_os = "linux"))]
fn is_locked_before(_: &File, _: u64) -> bool {
    false
}
