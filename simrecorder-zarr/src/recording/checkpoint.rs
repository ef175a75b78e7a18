//! Checkpoints: tails become chunks, which other software reads.

use simrecorder_core::Result;
use simrecorder_core::backend::columns::{SeriesCache, fold};
use simrecorder_core::backend::is_path_within;

use crate::columns::changes::StorageChanges;
use crate::columns::reading::open_column;
use crate::format::array_format::ArrayFormat;
use crate::recording::Recording;
use crate::recording::documents::document_at;
use crate::storage::{Change, Chunk};

/// A checkpoint is cut into commits of about this many bytes.
pub(super) const CHECKPOINT_BYTES: usize = 8 << 20;

impl Recording {
    /// Brings everything into the form that other software reads.
    pub(crate) fn checkpoint(&self, cache: &mut SeriesCache<ArrayFormat>) -> Result<()> {
        cache.clear();
        let folded = self.fold_tails("");
        let named = self.write_dimension_names();
        folded.and(named).and(self.storage.checkpoint())
    }

    /// Brings all tails at a path or below it into chunks. One that cannot be read does not keep the others
    /// from it.
    pub(crate) fn fold_tails(&self, within: &str) -> Result<()> {
        let mut arrays = Vec::new();
        self.storage.read(&mut |snapshot| {
            arrays = snapshot.tails()?;
            arrays.retain(|array| is_path_within(array, within));
            Ok(())
        })?;
        let mut changes = Vec::new();
        let mut bytes = 0;
        let mut damaged = Ok(());
        for path in arrays {
            match self.fold_tail(&path) {
                Ok((more, tail_bytes)) => {
                    // Taking a tail away costs the storage as much memory as it had bytes.
                    bytes += tail_bytes + more.iter().map(size_of_change).sum::<usize>();
                    changes.extend(more);
                }
                Err(error) => damaged = damaged.and(Err(error.with_key(path))),
            }
            if bytes >= CHECKPOINT_BYTES {
                self.storage.commit(std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        if !changes.is_empty() {
            self.storage.commit(changes)?;
        }
        damaged
    }

    /// What brings the tail of one array into chunks, and how many bytes the tail has.
    fn fold_tail(&self, path: &str) -> Result<(Vec<Change>, usize)> {
        let mut found = None;
        let mut tail_bytes = 0;
        self.storage.read(&mut |snapshot| {
            let tail = snapshot.tail(path)?;
            tail_bytes = tail.len();
            found = match document_at(snapshot, path)? {
                None => None,
                Some(document) => {
                    let column = open_column(path, &document, &self.formats, &tail)?;
                    Some((column, document))
                }
            };
            Ok(())
        })?;
        let Some((column, document)) = found else {
            let array = path.to_owned();
            return Ok((vec![Change::ClearTail { array }], tail_bytes));
        };
        let mut changes = StorageChanges::new(&*self.storage);
        changes.insert_document(path, document);
        fold(column, &mut changes)?;
        Ok((changes.into_changes(), tail_bytes))
    }
}

/// What a change takes in memory, about: what it writes, and the page that it touches.
fn size_of_change(change: &Change) -> usize {
    const PAGE: usize = 4096;
    match change {
        Change::Set { value, .. } | Change::SetChunk { value, .. } => value.len() + PAGE,
        Change::SetInShard {
            value: Chunk::Bytes(value),
            ..
        } => value.len() + PAGE,
        Change::AppendTail { bytes, .. } | Change::ReplaceTailEnd { bytes, .. } => {
            bytes.len() + PAGE
        }
        _ => PAGE,
    }
}
