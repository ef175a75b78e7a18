//! The commits that readers in the writer's process see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use simrecorder_core::backend::sync::RwLock;

use super::overlay::Overlay;

/// The state of a recording that its writer publishes to readers in its process.
#[derive(Default)]
pub(super) struct Published {
    /// Present while this process writes the recording.
    overlay: RwLock<Option<Arc<Overlay>>>,
    /// How often files below the snapshots of this process have begun to change.
    epoch: AtomicU64,
}

impl Published {
    pub(super) fn new(overlay: Overlay) -> Self {
        Self {
            overlay: RwLock::new(Some(Arc::new(overlay))),
            epoch: AtomicU64::new(0),
        }
    }

    /// The overlay; `None` if this process does not write the recording.
    pub(super) fn overlay(&self) -> Option<Arc<Overlay>> {
        self.overlay.read().clone()
    }

    /// The writer's overlay.
    pub(super) fn current(&self) -> Arc<Overlay> {
        self.overlay().unwrap_or_default()
    }

    pub(super) fn publish(&self, overlay: Overlay) {
        *self.overlay.write() = Some(Arc::new(overlay));
    }

    /// Changes the overlay in place, if there is one.
    pub(super) fn change(&self, change: impl FnOnce(&mut Arc<Overlay>)) {
        self.overlay.write().as_mut().map(change);
    }

    /// Ends publishing.
    pub(super) fn end(&self) {
        *self.overlay.write() = None;
        self.next_epoch();
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(super) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}
