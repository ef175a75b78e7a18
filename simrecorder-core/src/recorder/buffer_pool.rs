//! Buffers that are reused, since touching fresh memory is expensive.

use crate::backend::sync::Mutex;

/// Keeps buffers of one usual size for the next batch.
#[derive(Debug)]
pub(crate) struct BufferPool {
    free: Mutex<Vec<Vec<u8>>>,
    bound: usize,
}

/// Smaller buffers are not worth keeping.
const MIN_BYTES: usize = 64 << 10;
/// Larger buffers would displace many others.
const MAX_BYTES: usize = 4 << 20;

impl BufferPool {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            free: Mutex::default(),
            bound,
        }
    }

    /// Returns a buffer of at least `capacity` bytes, but not much more.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        if capacity >= MIN_BYTES {
            let mut free = self.free.lock();
            let fits = |buffer: &Vec<u8>| {
                buffer.capacity() >= capacity && buffer.capacity() <= capacity + capacity / 4
            };
            if let Some(index) = free.iter().rposition(fits) {
                return free.swap_remove(index);
            }
        }
        Vec::with_capacity(capacity)
    }

    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        if !(MIN_BYTES..=MAX_BYTES).contains(&buffer.capacity()) {
            return;
        }
        let mut free = self.free.lock();
        free.push(buffer);
        let mut total: usize = free.iter().map(Vec::capacity).sum();
        while total > self.bound {
            // Frees the oldest, whose size may be out of use.
            total -= free.remove(0).capacity();
        }
    }

    pub(crate) fn clear(&self) {
        self.free.lock().clear();
    }
}
