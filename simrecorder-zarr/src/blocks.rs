//! Blocks of a file on disk: starting to write them before a sync, and giving them back.

#![cfg_attr(
    target_os = "linux",
    allow(unsafe_code, reason = "this system call has no safe wrapper")
)]

use std::fs::File;
use std::ops::Range;

/// Asks the system to start writing a part of a file to the disk, so that a later sync takes less
/// time.
pub(crate) fn start_writing(file: &File, offset: u64, len: u64) {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open while the file is borrowed, and no memory is passed. A
        // failure changes nothing: the sync before the commit reports anything that could not be
        // written.
        unsafe {
            let (offset, len) = (offset as i64, len as i64);
            libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, len);
}

/// The unit in which a file system frees space.
pub(crate) const BLOCK: u64 = 4096;

/// Gives whole blocks of a range back to the file system. Returns whether the file system supports
/// this.
#[cfg(target_os = "linux")]
pub(crate) fn give_back(file: &File, range: Range<u64>) -> bool {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    let (start, end) = (
        range.start.next_multiple_of(BLOCK),
        range.end / BLOCK * BLOCK,
    );
    if start >= end {
        return true;
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, flags, start, end - start) {
        Err(error) => !matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL),
        Ok(()) => true,
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn give_back(_: &File, _: Range<u64>) -> bool {
    false
}
