//! Memory that the allocator keeps after large commits.

/// Returns freed memory to the system. glibc keeps what a commit of thousands of series frees in small pieces, which
/// exceeds the memory bound if the next commit needs pieces of other sizes.
pub(super) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes no pointer, and may be called at any time from any thread.
        #[allow(unsafe_code, reason = "the allocator has no safe form of this")]
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
