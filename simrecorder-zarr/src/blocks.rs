//! The blocks of a file on the disk: written ahead of a sync, and given back.

#![cfg_attr(
    target_os = "linux",
    allow(unsafe_code, reason = "one call of the system has no safe form")
)]

use std::fs::File;
use std::ops::Range;

/// Has the system begin to write a part of a file to the disk, so that a sync waits for less.
pub(crate) fn start_writing(file: &File, offset: u64, len: u64) {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open while the file is borrowed, and no memory is passed. A failure
        // changes nothing: the sync before the commit reports what could not be written.
        unsafe {
            let (offset, len) = (offset as i64, len as i64);
            libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, len);
}

/// What a file system gives back at a time.
pub(crate) const BLOCK: u64 = 4096;

/// Gives whole blocks of a range back to the file system. Returns whether it takes them.
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
