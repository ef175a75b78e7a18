//! Checkpoints: they fold tails into chunks, and copy the journal into the file.

use std::sync::Arc;

use simrecorder_core::backend::columns::fold;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::columns::changes::DatasetChanges;
use crate::format::dataset_format::RowFormat;
use crate::format::root;
use crate::format::tail::{TailChanges, Tails};
use crate::recording::Recording;
use crate::recording::state::State;

/// The journal is replaced when it exceeds the tails in it by this much.
const JOURNAL_BYTES: u64 = 64 << 20;

/// The maximum size of tails at the beginning of a new journal. They are in memory meanwhile.
const TAIL_BYTES: u64 = 16 << 20;

/// The approximate size in bytes of the commits into which a checkpoint is divided.
const CHECKPOINT_BYTES: usize = 8 << 20;

/// The cost of a dataset's metadata in this size.
const PATH_BYTES: usize = 1 << 10;

impl Recording {
    /// Replaces the journal when it has become long. The previous commit remains durable even if
    /// this fails; it is tried again when the journal has grown by as much again. A commit does not
    /// wait for another program that reads the file.
    pub(crate) fn trim_journal(&self, state: &mut State) {
        let journal_bytes = state.open.log.journal_bytes();
        let kept = state.tails.bytes + state.tails.declared.bytes();
        if journal_bytes < (JOURNAL_BYTES + kept).max(state.trim_from) {
            return;
        }
        let folded = match kept > TAIL_BYTES {
            true => self
                .create_declared(state, state.tails.declared.paths())
                .and_then(|()| self.fold_tails(state, state.tails.paths_by_size(), TAIL_BYTES / 2)),
            false => Ok(()),
        };
        let folded = folded.and_then(|()| self.write_dimension_names(state, false));
        let is_folded = folded.is_ok();
        let Err(error) = folded.and_then(|()| self.checkpoint_file(state, false)) else {
            state.trim_from = 0;
            return;
        };
        state.trim_from = journal_bytes + JOURNAL_BYTES;
        tracing::warn!(path = %self.path.display(), %error, "the journal could not be shortened");
        // Folding may have stopped between two writes; a checkpoint writes nothing of libhdf5.
        if !is_folded && let Err(error) = self.roll_back(state) {
            tracing::error!(path = %self.path.display(), %error, "the file could not be reopened");
        }
    }

    /// Shows other software that the file is being written, and what the previous writer committed.
    /// It sees neither if another program keeps the file open.
    pub(crate) fn show_unfinished(&self, state: &mut State) -> Result<()> {
        let kept = state.tails.bytes + state.tails.declared.bytes();
        if !state.open.log.has_records() || kept > TAIL_BYTES {
            return Ok(());
        }
        match self.checkpoint_file(state, false) {
            Err(error) if error.kind() == ErrorKind::Locked => {
                tracing::debug!(path = %self.path.display(), %error, "other software does not see \
                    that the file is being written");
                Ok(())
            }
            shown => shown,
        }
    }

    /// Copies everything that was committed into the file itself; tails stay in a new journal. If
    /// `waits` is set, it waits for other programs that read the file, as long as the options say.
    fn checkpoint_file(&self, state: &mut State, waits: bool) -> Result<()> {
        let journal = state.journal()?;
        let mut changes = TailChanges::default();
        for path in state.tails.declared.paths() {
            if let Some(declaration) = state.tails.declared.get(&path) {
                changes.declare(&path, &declaration);
            }
        }
        for path in state.tails.paths() {
            state.tails.rewrite(&path, &journal, &mut changes)?;
        }
        let range = match waits {
            true => state.open.log.checkpoint(changes.as_bytes()),
            false => state.open.log.checkpoint_at_once(changes.as_bytes()),
        }?;
        let mut tails = Tails::with_declared(&state.tails.declared);
        tails.apply(changes.as_bytes(), range.offset)?;
        state.tails = tails;
        Ok(())
    }

    /// Folds tails into their datasets, until the remaining tails have at most `enough` bytes.
    pub(super) fn fold_tails(
        &self,
        state: &mut State,
        paths: Vec<String>,
        enough: u64,
    ) -> Result<()> {
        self.fold_each(state, paths, fold_tail, |state| state.tails.bytes > enough)
    }

    /// Creates the datasets of series that have none yet, with their tails if they are short.
    pub(super) fn create_declared(&self, state: &mut State, paths: Vec<String>) -> Result<()> {
        let create =
            |_: &State, path: &str, changes: &mut DatasetChanges<'_>| changes.fold_declared(path);
        self.fold_each(state, paths, create, |_| true)
    }

    /// Calls `fold` for each path, in several commits. If one cannot be read, the others are folded
    /// anyway.
    fn fold_each(
        &self,
        state: &mut State,
        paths: Vec<String>,
        fold: impl Fn(&State, &str, &mut DatasetChanges<'_>) -> Result<usize>,
        goes_on: impl Fn(&State) -> bool,
    ) -> Result<()> {
        let mut damaged = Ok(());
        let mut paths = paths.into_iter().peekable();
        while paths.peek().is_some() && goes_on(state) {
            let mut changes = DatasetChanges::folding(self, state);
            let mut bytes = 0;
            while bytes < CHECKPOINT_BYTES
                && let Some(path) = paths.next()
            {
                let before = changes.tails.len();
                match fold(state, &path, &mut changes) {
                    Ok(written) => bytes += written + PATH_BYTES,
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        // Its rows are in no dataset, so they stay where they are.
                        changes.tails.truncate(before);
                        damaged = damaged.and(Err(error.with_key(&path[1..])));
                    }
                    Err(error) => return Err(error.with_key(&path[1..])),
                }
            }
            let (renewed, folded) = (changes.renewed_keys(), changes.take_folded());
            let tails = changes.tails;
            self.commit_file(state, &tails)?;
            state.note_renewed(&renewed);
            for (path, stored) in folded {
                state.note_stored(&path, stored);
            }
        }
        damaged
    }

    /// Writes everything in the form that other software reads.
    pub(crate) fn checkpoint(&self, state: &mut State) -> Result<()> {
        self.fold_and_checkpoint(state, true, false)
    }

    /// Like [`Self::checkpoint`], but does not wait for another program that has the file open.
    pub(crate) fn checkpoint_at_once(&self, state: &mut State) -> Result<()> {
        if !state.open.log.has_records() {
            return Ok(());
        }
        // Check before folding tails, which would be useless.
        state.open.log.check_not_held()?;
        self.fold_and_checkpoint(state, false, false)
    }

    fn fold_and_checkpoint(&self, state: &mut State, waits: bool, is_last: bool) -> Result<()> {
        let created = self.create_declared(state, state.tails.declared.paths());
        let folded = match &created {
            Err(error) if error.kind() != ErrorKind::Corrupt => created,
            _ => created.and(self.fold_tails(state, state.tails.paths(), 0)),
        };
        let folded = folded.and_then(|()| match is_last {
            true => self.unmark_unfinished(state),
            false => Ok(()),
        });
        let is_damaged = |error: &Error| error.kind() == ErrorKind::Corrupt;
        let written = match &folded {
            Err(error) if !is_damaged(error) => Ok(()),
            _ => self.write_dimension_names(state, true),
        };
        match folded.and(written) {
            Err(error) if !is_damaged(&error) => {
                let error = state.open.explain(error);
                self.roll_back(state)?;
                Err(error)
            }
            folded => folded.and(self.checkpoint_file(state, waits)),
        }
    }

    /// Removes the mark of [`root::mark_unfinished`]. In the file, other software sees the mark
    /// until the checkpoint that follows has copied everything.
    fn unmark_unfinished(&self, state: &mut State) -> Result<()> {
        root::unmark_unfinished(&state.open.root)?;
        self.commit_file(state, &TailChanges::default())
    }

    /// Ends writing. Reads continue from the closed file.
    pub(crate) fn close(&self, state: &mut State) -> Result<()> {
        let checkpoint = self.fold_and_checkpoint(state, true, true);
        let log = Arc::clone(&state.open.log);
        let closed = state.open.close().map_err(|e| state.open.explain(e));
        // Unless all tails are in chunks, the journal has to stay, because it contains them.
        let ended = match checkpoint {
            // The writes of closing the file are included.
            Ok(()) => log.commit(&[]).and_then(|_| log.close()),
            Err(_) => Ok(()),
        };
        let reopened = self.reopen(state);
        checkpoint.and(closed).and(ended).and(reopened)
    }
}

/// Folds the tail of one dataset. Returns the approximate number of written bytes.
fn fold_tail(state: &State, path: &str, changes: &mut DatasetChanges<'_>) -> Result<usize> {
    let column = state.column(path)?;
    let column = fold(column, changes)?;
    changes.finish_dataset()?;
    changes.folded(path, column.stored);
    Ok(match &column.format.rows {
        RowFormat::Elements(_) => column.layout().chunk_bytes(),
        RowFormat::Variable(_) => 1 << 16,
    })
}
