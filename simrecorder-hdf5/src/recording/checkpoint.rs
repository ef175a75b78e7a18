//! Checkpoints: tails go into chunks, and the journal into the file.

use std::sync::Arc;

use simrecorder_core::backend::columns::fold;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::columns::changes::DatasetChanges;
use crate::format::attributes;
use crate::format::dataset_format::RowFormat;
use crate::format::root;
use crate::format::tail::{TailChanges, Tails};
use crate::recording::Recording;
use crate::recording::series;
use crate::recording::state::State;

/// The journal is made anew when it is so much longer than the tails in it.
const JOURNAL_BYTES: u64 = 64 << 20;

/// A new journal begins with no more than this of tails, which are in memory meanwhile.
const TAIL_BYTES: u64 = 16 << 20;

/// A checkpoint is cut into commits of about this many bytes.
const CHECKPOINT_BYTES: usize = 8 << 20;

impl Recording {
    /// Makes the journal anew when it has grown long. The commit before stands whether or not that
    /// works; it is tried again when the journal has grown as much once more. A commit does not wait
    /// for another program that reads the file.
    pub(crate) fn trim_journal(&self, state: &mut State) {
        let journal_bytes = state.open.log.journal_bytes();
        if journal_bytes < (JOURNAL_BYTES + state.tails.bytes).max(state.trim_from) {
            return;
        }
        let folded = match state.tails.bytes > TAIL_BYTES {
            true => self.fold_tails(state, state.tails.paths_by_size(), TAIL_BYTES / 2),
            false => Ok(()),
        };
        let folded = folded.and_then(|()| self.write_dimension_names(state, false));
        let is_folded = folded.is_ok();
        let Err(error) = folded.and_then(|()| self.checkpoint_file(state, false)) else {
            state.trim_from = 0;
            return;
        };
        state.trim_from = journal_bytes + JOURNAL_BYTES;
        tracing::warn!(path = %self.path.display(), %error, "the journal stays long");
        // Folding may have ended between two writes; a checkpoint writes nothing of libhdf5.
        if !is_folded && let Err(error) = self.roll_back(state) {
            tracing::error!(path = %self.path.display(), %error, "the file could not be opened anew");
        }
    }

    /// Lets other software see that the file is being written, and what a writer before committed. It
    /// sees neither if another program keeps the file open.
    pub(crate) fn show_unfinished(&self, state: &mut State) -> Result<()> {
        if !state.open.log.has_records() || state.tails.bytes > TAIL_BYTES {
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

    /// Copies what was committed into the file itself; the tails stay in a new journal. Other
    /// programs that read the file are waited for as the options say, or not at all.
    fn checkpoint_file(&self, state: &mut State, waits: bool) -> Result<()> {
        let journal = state.journal()?;
        let mut changes = TailChanges::default();
        for path in state.tails.paths() {
            state.tails.rewrite(&path, &journal, &mut changes)?;
        }
        let range = match waits {
            true => state.open.log.checkpoint(changes.as_bytes()),
            false => state.open.log.checkpoint_at_once(changes.as_bytes()),
        }?;
        let mut tails = Tails::default();
        tails.apply(changes.as_bytes(), range.offset)?;
        state.tails = tails;
        Ok(())
    }

    /// Brings tails into chunks, until those that are left take no more than `enough` bytes. One
    /// that cannot be read does not keep the others from it.
    pub(super) fn fold_tails(
        &self,
        state: &mut State,
        paths: Vec<String>,
        enough: u64,
    ) -> Result<()> {
        let mut damaged = Ok(());
        let mut paths = paths.into_iter().peekable();
        while paths.peek().is_some() && state.tails.bytes > enough {
            let mut changes = DatasetChanges::new(self, state);
            let mut bytes = 0;
            while bytes < CHECKPOINT_BYTES
                && let Some(path) = paths.next()
            {
                let before = changes.tails.len();
                match fold_tail(state, &path, &mut changes) {
                    Ok(written) => bytes += written,
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        // Its rows are in no chunk, so they stay where they are.
                        changes.tails.truncate(before);
                        damaged = damaged.and(Err(error.with_key(&path[1..])));
                    }
                    Err(error) => return Err(error.with_key(&path[1..])),
                }
            }
            let tails = changes.tails;
            self.commit_file(state, &tails)?;
            // Where their rows are has changed.
            state.series.clear();
        }
        damaged
    }

    /// Brings everything into the form that other software reads.
    pub(crate) fn checkpoint(&self, state: &mut State) -> Result<()> {
        self.fold_and_checkpoint(state, true, false)
    }

    /// The same, unless another program has the file open.
    pub(crate) fn checkpoint_at_once(&self, state: &mut State) -> Result<()> {
        if !state.open.log.has_records() {
            return Ok(());
        }
        // Before tails are folded, which would be for nothing.
        state.open.log.check_not_held()?;
        self.fold_and_checkpoint(state, false, false)
    }

    fn fold_and_checkpoint(&self, state: &mut State, waits: bool, is_last: bool) -> Result<()> {
        let all = state.tails.paths();
        let folded = self.fold_tails(state, all, 0);
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

    /// Takes the mark off that [`root::mark_unfinished`] made: in the file, other software sees it
    /// until the checkpoint that follows has brought everything there.
    fn unmark_unfinished(&self, state: &mut State) -> Result<()> {
        root::unmark_unfinished(&state.open.root)?;
        self.commit_file(state, &TailChanges::default())
    }

    /// Ends writing. Reads go on from the file as it was left.
    pub(crate) fn close(&self, state: &mut State) -> Result<()> {
        let checkpoint = self.fold_and_checkpoint(state, true, true);
        let log = Arc::clone(&state.open.log);
        let closed = state.open.close().map_err(|e| state.open.explain(e));
        // Unless all tails are in chunks, the journal has to stay: they are in it.
        let ended = match checkpoint {
            // What libhdf5 wrote when it closed the file comes along.
            Ok(()) => log.commit(&[]).and_then(|_| log.close()),
            Err(_) => Ok(()),
        };
        let reopened = self.reopen(state);
        checkpoint.and(closed).and(ended).and(reopened)
    }
}

/// Brings the tail of one dataset into chunks; returns about how many bytes that wrote.
fn fold_tail(state: &State, path: &str, changes: &mut DatasetChanges<'_>) -> Result<usize> {
    let dataset = state.open.dataset(path)?;
    let metadata = attributes::read_metadata(dataset.handle())?;
    let is_foreign = !series::is_made_here(&state.open.root, path, metadata.as_ref())?;
    let is_ours = metadata.is_some();
    let column = series::load_column(&dataset, path, is_ours, is_foreign, None, &state.tails)?;
    let column = fold(column, changes)?;
    Ok(match &column.format.rows {
        RowFormat::Elements(_) => column.layout().chunk_bytes(),
        RowFormat::Variable(_) => 1 << 16,
    })
}
