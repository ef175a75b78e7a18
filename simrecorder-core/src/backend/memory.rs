//! Memory for data: allocations that return an error if memory is short, and buffers that a thread reuses for each
//! chunk, since new memory is slow.

use std::cell::RefCell;

use crate::error::{Error, ErrorKind, Result};

/// Allocates zeros.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if there is not enough memory.
pub fn zeroed(bytes: usize) -> Result<Vec<u8>> {
    bytemuck::allocation::try_zeroed_vec(bytes).map_err(|()| too_large(bytes))
}

/// Makes the error of data that does not fit into memory.
pub fn too_large(bytes: usize) -> Error {
    let message = format!("{bytes} bytes do not fit into memory");
    Error::new(ErrorKind::TooLarge, "read", message)
}

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The largest buffer that a thread keeps.
const KEPT_BYTES: usize = 4 << 20;

/// Calls `work` with a buffer of the thread, whose contents are unspecified. Calls may be nested.
pub fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEPT_BYTES {
        BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    }
    result
}

/// Calls `work` with `len` bytes of the thread, whose contents are unspecified. Calls may be nested.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if there is not enough memory, and the errors of `work`.
pub fn with_scratch<T>(len: usize, work: impl FnOnce(&mut [u8]) -> Result<T>) -> Result<T> {
    with_buffer(|buffer| work(room(buffer, len)?))
}

/// Returns the first `len` bytes of a buffer, which grows as needed. Their contents are unspecified.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if there is not enough memory.
pub fn room(buffer: &mut Vec<u8>, len: usize) -> Result<&mut [u8]> {
    if buffer.len() < len {
        let more = len - buffer.len();
        buffer.try_reserve_exact(more).map_err(|_| too_large(len))?;
        buffer.resize(len, 0);
    }
    Ok(&mut buffer[..len])
}

/// Returns freed memory to the system. glibc keeps what is freed between pieces that are still used, and a next piece of
/// another size does not fit there. Commits of thousands of series, and records of hundreds of megabytes, would exceed
/// the memory bound.
pub(crate) fn return_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes no pointer, and may be called at any time from any thread.
        #[allow(unsafe_code, reason = "the allocator has no safe form of this")]
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
