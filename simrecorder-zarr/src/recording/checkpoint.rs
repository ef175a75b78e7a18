//! Checkpoints: they fold tails into chunks, which other software reads.

use simrecorder_core::Result;
use simrecorder_core::backend::columns::{SeriesCache, fold};
use simrecorder_core::backend::is_path_within;

use crate::columns::changes::StorageChanges;
use crate::columns::reading::{Column, open_column};
use crate::format::array_format::ArrayFormat;
use crate::format::metadata::Document;
use crate::recording::Recording;
use crate::recording::documents::document_at;
use crate::storage::{Change, Chunk};

/// The approximate number of bytes of tails that are loaded at once.
const LOADED_BYTES: usize = 1 << 20;

/// The minimum cost of each change.
pub(super) const PAGE: usize = 4096;

/// The approximate size in bytes of the commits into which a checkpoint is divided.
pub(super) const CHECKPOINT_BYTES: usize = 8 << 20;

impl Recording {
    /// Writes everything in the form that other software reads.
    pub(crate) fn checkpoint(&self, cache: &mut SeriesCache<ArrayFormat>) -> Result<()> {
        cache.clear();
        let folded = self.fold_tails("");
        let named = self.write_dimension_names();
        folded.and(named).and(self.storage.checkpoint())
    }

    /// Folds all tails at a path or below it. If one cannot be read, the others are folded anyway.
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
        let mut arrays = &arrays[..];
        while !arrays.is_empty() {
            let tails = self.load_tails(arrays)?;
            arrays = &arrays[tails.len()..];
            for StoredTail { path, tail, column } in tails {
                // Removing a tail costs the storage as much memory as the tail had bytes.
                bytes += tail.len();
                match self.fold_tail(&path, tail, column) {
                    Ok(more) => {
                        bytes += more.iter().map(size_of_change).sum::<usize>();
                        changes.extend(more);
                    }
                    Err(error) => damaged = damaged.and(Err(error.with_key(path))),
                }
                if bytes >= CHECKPOINT_BYTES {
                    self.storage.commit(std::mem::take(&mut changes))?;
                    bytes = 0;
                }
            }
        }
        if !changes.is_empty() {
            self.storage.commit(changes)?;
        }
        damaged
    }

    /// Loads the tails of the first of these arrays in one snapshot: several, or one that is large.
    fn load_tails(&self, arrays: &[String]) -> Result<Vec<StoredTail>> {
        let mut tails = Vec::new();
        self.storage.read(&mut |snapshot| {
            tails.clear();
            let mut bytes = 0;
            for path in arrays {
                let mut tail = Vec::new();
                let column = snapshot.tail(path).and_then(|found| {
                    tail = found;
                    let open = |document: Document| {
                        let column = open_column(path, &document, &self.formats, &tail)?;
                        Ok((column, document))
                    };
                    document_at(snapshot, path)?.map(open).transpose()
                });
                bytes += tail.len() + PAGE;
                let path = path.clone();
                tails.push(StoredTail { path, tail, column });
                if bytes >= LOADED_BYTES {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(tails)
    }

    /// The changes that fold the tail of one array.
    fn fold_tail(
        &self,
        path: &str,
        tail: Vec<u8>,
        column: Result<Option<(Column, Document)>>,
    ) -> Result<Vec<Change>> {
        let Some((column, document)) = column? else {
            let array = path.to_owned();
            return Ok(vec![Change::ClearTail { array }]);
        };
        let mut changes = StorageChanges::new(&*self.storage);
        changes.insert_document(path, document);
        changes.insert_tail(path, tail);
        fold(column, &mut changes)?;
        Ok(changes.into_changes())
    }
}

/// The tail of an array, and the array if it exists.
struct StoredTail {
    path: String,
    tail: Vec<u8>,
    column: Result<Option<(Column, Document)>>,
}

/// The approximate memory of a change: what it writes, and the page that it touches.
fn size_of_change(change: &Change) -> usize {
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
