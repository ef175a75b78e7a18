//! Writing to the disk ahead of a sync.

#![cfg_attr(
    target_os = "linux",
    allow(unsafe_code, reason = "one call of the system has no safe form")
)]

use std::fs::File;

/// Has the system begin to write a part of a file to the disk, so that a sync waits for less.
pub(crate) fn start(file: &File, offset: u64, len: u64) {
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
