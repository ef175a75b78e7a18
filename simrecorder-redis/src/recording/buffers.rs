//! Buffers of commands, which are used again.

use simrecorder_core::backend::sync::Mutex;

/// Buffers that were used.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Vec<u8>>>);

/// The memory of all that are kept.
const MAX_SPARE_BYTES: usize = 8 << 20;
/// Smaller ones are not worth keeping.
const MIN_SPARE_BYTES: usize = 64 << 10;

impl BufferPool {
    /// A buffer for `bytes`, that is not much larger.
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
            // The oldest goes: its size may be out of use.
            total -= buffers.remove(0).capacity();
        }
    }
}
