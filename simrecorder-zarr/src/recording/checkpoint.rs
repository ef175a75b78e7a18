//! Checkpoints: tails become chunks, which other software reads.

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

/// About so many bytes of tails are loaded at once.
const LOADED_BYTES: usize = 1 << 20;

/// What each of them takes at least.
pub(super) const PAGE: usize = 4096;

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
        let mut arrays = &arrays[..];
        while !arrays.is_empty() {
            let tails = self.load_tails(arrays)?;
            arrays = &arrays[tails.len()..];
            for StoredTail { path, tail, column } in tails {
                // Taking a tail away costs the storage as much memory as it had bytes.
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

    /// The tails of the first of these arrays, in one snapshot: some, or one that is large.
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

    /// What brings the tail of one array into chunks.
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

/// The tail of an array, and the array, if it is there.
struct StoredTail {
    path: String,
    tail: Vec<u8>,
    column: Result<Option<(Column, Document)>>,
}

/// What a change takes in memory, about: what it writes, and the page that it touches.
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
