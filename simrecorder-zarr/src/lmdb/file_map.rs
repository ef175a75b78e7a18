//! Memory maps of chunk files, for reading.

#![allow(unsafe_code, reason = "a memory map has no safe wrapper")]

use std::fs::File;
use std::ops::{Deref, Range};
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Map sizes are multiples of this, so that a growing file is not mapped again each time.
const MAP_UNIT: u64 = 64 << 20;

/// A memory map of a file, from its beginning.
#[derive(Debug)]
pub(crate) struct FileMap {
    start: *const u8,
    len: usize,
}

// SAFETY: the memory is only read, and is not tied to a thread.
unsafe impl Send for FileMap {}
// SAFETY: as above.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// Maps a file with room for `len` bytes; `None` if the system refuses.
    pub(super) fn new(file: &File, len: u64) -> Option<Self> {
        let len = usize::try_from(len.checked_next_multiple_of(MAP_UNIT)?).ok()?;
        // SAFETY: the system chooses an unused address. Bytes after the end of the file are not
        // read: see `bytes`.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )
        };
        Some(Self {
            start: start.ok()?.cast(),
            len,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len as u64
    }

    /// Bytes of the file.
    ///
    /// # Safety
    ///
    /// The range is within the file, and nothing changes or truncates its bytes while the result
    /// lives.
    pub(super) unsafe fn bytes(self: &Arc<Self>, range: Range<usize>) -> Option<MappedBytes> {
        (range.start <= range.end && range.end <= self.len).then(|| MappedBytes {
            map: Arc::clone(self),
            range,
        })
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: this is the whole map, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.cast_mut().cast(), self.len) };
    }
}

/// Bytes of a mapped file, which do not change while this lives.
#[derive(Debug)]
pub(crate) struct MappedBytes {
    map: Arc<FileMap>,
    range: Range<usize>,
}

impl Deref for MappedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range is within the map, which lives as long as `self`, and its bytes exist
        // and do not change, as the caller of `FileMap::bytes` promised.
        unsafe {
            std::slice::from_raw_parts(self.map.start.add(self.range.start), self.range.len())
        }
    }
}
