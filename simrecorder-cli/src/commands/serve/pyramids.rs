//! The cache of summaries of long series.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use simrecorder::{ArrayView, Error, View};

use crate::plotting::pyramid::{Pyramid, Summary};
use crate::plotting::source::{Source, is_scalar};

/// Shorter series are read each time.
const LEAST_RECORDS: u64 = 1 << 16;
/// The maximum memory of all summaries. The least recently used ones are dropped.
const MOST_BYTES: usize = 64 << 20;

/// A recording, and a key in it with a selection.
type Name = (usize, String);

/// Locked by the request that reads the missing part. Other requests for the same series wait for
/// it.
type Slot = Arc<Mutex<Option<Arc<Pyramid>>>>;

#[derive(Debug)]
pub(super) struct Pyramids {
    slots: Mutex<LruCache<Name, Slot>>,
}

impl Pyramids {
    pub(super) fn new() -> Self {
        Self {
            slots: Mutex::new(LruCache::unbounded()),
        }
    }

    /// Attaches the summaries of a series, after reading the missing part.
    pub(super) fn add_to(
        &self,
        source: &mut Source,
        recording: usize,
        text: &str,
    ) -> Result<(), Error> {
        let is_long = source.view.len() >= LEAST_RECORDS;
        if !is_long || !source.is_complete || !is_scalar(&source.view) {
            return Ok(());
        }
        source.summary = Some(self.summary((recording, text.to_owned()), &source.view)?);
        if let Some(coordinate) = &source.coordinate
            && is_scalar(coordinate)
        {
            let name = (recording, coordinate.key().to_string());
            source.coordinate_summary = Some(self.summary(name, coordinate)?);
        }
        Ok(())
    }

    /// Whether a series is short, or most of it is in its summary.
    pub(super) fn is_at_hand(&self, recording: usize, view: &View) -> bool {
        let name = (recording, view.key().to_string());
        view.len() < FEW_RECORDS || self.locked().contains(&name)
    }

    /// Forgets the summaries of a recording that was replaced.
    pub(super) fn forget(&self, recording: usize) {
        let mut slots = self.locked();
        let names: Vec<_> = slots.iter().map(|(name, _)| name.clone()).collect();
        for name in names.into_iter().filter(|name| name.0 == recording) {
            slots.pop(&name);
        }
    }

    fn summary(&self, name: Name, view: &View) -> Result<Summary, Error> {
        let slot = Arc::clone(self.locked().get_or_insert_mut(name, Slot::default));
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match slot.take() {
            Some(known) if known.is_of(view)? => known,
            _ => Arc::new(Pyramid::new(view.len())),
        };
        let mut pyramid = Arc::unwrap_or_clone(known);
        pyramid.extend(view)?;
        let pyramid = Arc::new(pyramid);
        *slot = Some(Arc::clone(&pyramid));
        drop(slot);
        self.shrink();
        Ok(Summary {
            view: view.clone(),
            pyramid,
        })
    }

    /// Enforces the memory bound. The slot of a request that is still reading is counted when it
    /// has finished.
    fn shrink(&self) {
        let mut slots = self.locked();
        let bytes = |slot: &Slot| match slot.try_lock() {
            Ok(pyramid) => pyramid.as_ref().map_or(0, |pyramid| pyramid.bytes()),
            Err(_) => 0,
        };
        let mut total: usize = slots.iter().map(|(_, slot)| bytes(slot)).sum();
        while total > MOST_BYTES
            && let Some((_, slot)) = slots.pop_lru()
        {
            total -= bytes(&slot);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, LruCache<Name, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of records that a list of many series reads at once. Longer series are only read from
/// their summaries.
const FEW_RECORDS: u64 = 1 << 22;
