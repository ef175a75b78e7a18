//! Series that are declared in the journal and have no datasets yet.
//!
//! A dataset gets its layout when it is created. A series that stays short has a special layout,
//! and other software sees datasets only after a checkpoint. So datasets are created when a chunk
//! is full, or at the checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use simrecorder_core::backend::sync::{Mutex, MutexGuard};

/// A series that has no datasets yet.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    /// The number from which cuts of its datasets are counted.
    pub(crate) cut_base: u64,
    /// Whether it begins with filled records.
    pub(crate) is_filled: bool,
    text: Arc<str>,
}

impl Declaration {
    /// `text` is the encoding of a [`NewSeries`](crate::recording::new_series::NewSeries).
    pub(crate) fn new(cut_base: u64, text: &str, is_filled: bool) -> Self {
        Self {
            cut_base,
            is_filled,
            text: text.into(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// All series without datasets, by path. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredSeries(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    series: BTreeMap<String, Declaration>,
    bytes: u64,
}

impl DeclaredSeries {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Their approximate size in the journal.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    pub(crate) fn get(&self, path: &str) -> Option<Declaration> {
        self.lock().series.get(path).cloned()
    }

    /// The series that a dataset will belong to.
    pub(crate) fn owner_of(&self, dataset: &str) -> Option<(String, Declaration)> {
        let inner = self.lock();
        let parent = dataset.rsplit_once('/').map(|(parent, _)| parent);
        let mut paths = std::iter::once(dataset).chain(parent);
        paths.find_map(|path| Some((path.to_owned(), inner.series.get(path)?.clone())))
    }

    /// The paths of all series, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.lock().series.keys().cloned().collect()
    }

    /// The names of the series directly in the group at `path`.
    pub(crate) fn names_in(&self, path: &str) -> Vec<String> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let inner = self.lock();
        let below = inner.series.range(prefix.clone()..);
        let below = below.take_while(|(path, _)| path.starts_with(&prefix));
        let names = below.map(|(path, _)| &path[prefix.len()..]);
        let names = names.filter(|name| !name.contains('/'));
        names.map(str::to_owned).collect()
    }

    pub(super) fn insert(&self, path: &str, declaration: Declaration) {
        let mut inner = self.lock();
        inner.bytes += (path.len() + declaration.text.len()) as u64;
        if let Some(old) = inner.series.insert(path.to_owned(), declaration) {
            inner.bytes -= (path.len() + old.text.len()) as u64;
        }
    }

    pub(super) fn remove(&self, path: &str) {
        let mut inner = self.lock();
        if let Some(old) = inner.series.remove(path) {
            inner.bytes -= (path.len() + old.text.len()) as u64;
        }
    }
}
