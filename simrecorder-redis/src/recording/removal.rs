//! Removing and renaming nodes.

use simrecorder_core::backend::errors::{check_rename, nothing_at, root_stays};
use simrecorder_core::{Error, ErrorKind, Key, NodeKind, Result};

use crate::recording::Recording;
use crate::recording::commit::CommitBuilder;
use crate::recording::keyspace::Keyspace;
use crate::recording::writer::Writer;

impl Recording {
    /// Removes the node at `key` and everything below it.
    pub(crate) fn remove(&self, key: &Key) -> Result<()> {
        let operation = "remove";
        self.check_writable(operation)?;
        if key.is_root() {
            return Err(root_stays(operation));
        }
        let mut writer = self.writer.lock();
        let series = series_within(&self.keyspace, key)?;
        let series = series.ok_or_else(|| nothing_at(operation))?;
        let committed = self.commit_removal(&mut writer, key, |it| it.remove(key, &series));
        committed.map_err(|e| e.with_operation(operation))?;
        self.claims.forget(key);
        Ok(())
    }

    /// Moves the node at `from` and everything below it to `to`.
    pub(crate) fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let operation = "rename";
        self.check_writable(operation)?;
        check_rename(from, to)?;
        let mut writer = self.writer.lock();
        let series = series_within(&self.keyspace, from)?;
        let series = series.ok_or_else(|| nothing_at(operation))?;
        if from == to {
            return Ok(());
        }
        if self.keyspace.connections.is_cluster() && !series.is_empty() {
            let message = "a series cannot be renamed in a cluster; copy the recording to rename \
                           it";
            return Err(Error::new(ErrorKind::Unsupported, operation, message));
        }
        let committed = self.commit_removal(&mut writer, from, |it| {
            it.rename(from, to);
            Ok(())
        });
        committed.map_err(|e| e.with_operation(operation))?;
        match self.keyspace.connections.is_cluster() {
            true => self.claims.forget(from),
            false => self.claims.rename(from, to)?,
        }
        Ok(())
    }

    /// Commits a change that removes or moves the node at a key and everything below it.
    fn commit_removal(
        &self,
        writer: &mut Writer,
        key: &Key,
        change: impl FnOnce(&mut CommitBuilder<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut builder = CommitBuilder::new(self, writer);
        change(&mut builder)?;
        let changes = builder.finish();
        writer.forget(key);
        self.keyspace.forget(key);
        self.planned.lock().retain(|other, _| !other.is_within(key));
        writer.commit(changes)
    }
}

/// The series at a key and below it; `None` if there is no node at the key.
fn series_within(keyspace: &Keyspace, key: &Key) -> Result<Option<Vec<Key>>> {
    let Some(document) = keyspace.document(key)? else {
        return Ok(None);
    };
    let mut series = Vec::new();
    let mut open = vec![(key.clone(), document.kind())];
    while let Some((key, kind)) = open.pop() {
        match kind {
            NodeKind::Group => {
                let children = keyspace.children(&key)?.into_iter();
                open.extend(children.map(|child| (child.key, child.kind)));
            }
            NodeKind::Series => series.push(key),
            _ => {}
        }
    }
    Ok(Some(series))
}
