//! The size of single allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An allocator for a test program that remembers the size of the largest allocation.
///
/// ```text
/// #[global_allocator]
/// static ALLOCATOR: LargestPiece = LargestPiece::new();
/// ```
#[derive(Debug)]
pub struct LargestPiece(AtomicUsize);

impl LargestPiece {
    /// Makes the value for a static.
    #[allow(
        clippy::new_without_default,
        reason = "statics need a constant function"
    )]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Returns the size of the largest allocation since the last call, in bytes.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for LargestPiece {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.0.fetch_max(new_size, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
