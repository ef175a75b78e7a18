//! Buffers of commands, which are reused.

use simrecorder_core::backend::sync::Mutex;

/// Buffers that can be reused.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Vec<u8>>>);

/// The maximum memory of all kept buffers.
const MAX_SPARE_BYTES: usize = 8 << 20;
/// Smaller buffers are not worth keeping.
const MIN_SPARE_BYTES: usize = 64 << 10;

impl BufferPool {
    /// Takes a buffer for `bytes` that is not much larger.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut buffers = self.0.lock();
        let fits =
            |buffer: &Vec<u8>| (bytes..=bytes.saturating_mul(2)).contains(&buffer.capacity());
        match buffers.iter().rposition(fits) {
            Some(index) => buffers.swap_remove(index),
            None => Vec::with_capacity(bytes),
        }
    }

    pub(super) fn give(&self, buffer: Vec<u8>) {
        if buffer.capacity() < MIN_SPARE_BYTES {
            return;
        }
        let mut buffers = self.0.lock();
        buffers.push(buffer);
        let mut total: usize = buffers.iter().map(Vec::capacity).sum();
        while total > MAX_SPARE_BYTES {
            // Drop the oldest one: its size may no longer be needed.
            total -= buffers.remove(0).capacity();
        }
    }
}
