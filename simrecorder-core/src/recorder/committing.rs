//! Commits: on request, at regular times, before reading, and at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::inner::Inner;
use super::keys::Known;
use super::pipeline::{Mark, Pipeline, Reached, WhenFull};
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;

/// A store to read from, with what to wait for before.
pub(crate) type ToRead<'a> = (&'a Pipeline, Option<Arc<Reached>>);

/// What timed commits remember from one to the next.
#[derive(Debug, Default)]
pub(crate) struct TimedCommits {
    /// When each store has done the last one.
    last: Vec<Option<Arc<Reached>>>,
    /// The series to begin with: the one that found no room, lest the same ones always do.
    next: usize,
}

impl Inner {
    /// Sends the buffers of all series to the stores, the one with the number `first` first.
    /// Returns the number of the one for which there was no room, if `when_full` says so.
    fn send_all_buffers(&self, when_full: WhenFull, first: usize) -> Option<usize> {
        let count = self.series_count();
        for number in (0..count).map(|step| (first + step) % count) {
            let Some(state) = self.series.read().get(number).cloned() else {
                continue;
            };
            let series = state.lock();
            if !series.is_empty()
                && self.send_buffer(series, when_full).is_err()
                && when_full == WhenFull::Fail
            {
                return Some(number);
            }
        }
        None
    }

    /// Commits what there is without waiting for it: for the thread of timed commits.
    pub(crate) fn commit_in_background(&self, timed: &mut TimedCommits) {
        // Also after a failure that stopped the recorder: other stores get what was recorded.
        if self.is_closed() {
            return;
        }
        let without_room = self.send_all_buffers(WhenFull::Fail, timed.next);
        timed.next = without_room.unwrap_or(0);
        timed.last.resize(self.pipelines.len(), None);
        for (pipeline, last) in self.pipelines.iter().zip(&mut timed.last) {
            // A store that is behind does not get another mark.
            if last.as_ref().is_none_or(|reached| reached.is_set()) {
                *last = Some(pipeline.mark(Mark::Flush));
            }
        }
    }

    /// Commits everything and waits until it is durable.
    pub(crate) fn commit_all(&self, mark: Mark, operation: &'static str) -> Result<()> {
        match self.check_running(operation) {
            // Nothing was written, so nothing is left to do.
            Err(error) if error.kind() == ErrorKind::ReadOnly => return Ok(()),
            running => running?,
        }
        self.send_all_buffers(WhenFull::Wait, 0);
        let marks: Vec<_> = self.pipelines.iter().map(|p| p.mark(mark)).collect();
        let mut held_up = Ok(());
        for (pipeline, reached) in self.pipelines.iter().zip(marks) {
            // Errors are kept by the pipelines, but for those that are no failure of the store.
            let result = reached.wait(None).unwrap_or(Ok(()));
            if pipeline.failure().is_none() {
                held_up = held_up.and(result.map_err(|e| e.in_store(pipeline.name())));
            }
        }
        self.stop_reason().map_or(held_up, Err)
    }

    /// Commits what this recorder holds of `key`, or of the series right below it, and what was
    /// declared and set. Returns the stores to read, in their order: all that have not failed, or `only`
    /// one.
    pub(crate) fn commit_for_reading(
        &self,
        key: &Key,
        only: Option<usize>,
    ) -> Result<Vec<ToRead<'_>>> {
        let known = self.nodes.lock().get(key).cloned();
        let wrote = self.wrote.load(Ordering::Relaxed) || !self.series.read().is_empty();
        let states = match known {
            Some(Known::Series(state)) => vec![state],
            // Those right below a group.
            _ => {
                let series = self.series.read();
                let below = series
                    .iter()
                    .filter(|state| state.key.parent().as_ref() == Some(key));
                below.cloned().collect()
            }
        };
        for state in states {
            let series = state.lock();
            if !series.is_empty() {
                drop(self.send_buffer(series, WhenFull::Wait)?);
            }
        }
        let pipelines = self.pipelines.iter().enumerate();
        let wanted = pipelines.filter(|(index, pipeline)| match only {
            Some(only) => only == *index,
            None => pipeline.failure().is_none() || self.stop.is_set(),
        });
        let mark = |pipeline: &Pipeline| wrote.then(|| pipeline.mark(Mark::Flush));
        Ok(wanted.map(|(_, p)| (p, mark(p))).collect())
    }

    /// Waits until a store can be read; `false` if it failed meanwhile and another is to be read.
    pub(crate) fn wait_for(&self, (pipeline, reached): &ToRead<'_>) -> Result<bool> {
        if let Some(reached) = reached {
            // Errors are kept by the pipelines.
            reached.wait(None);
        }
        match self.stop_reason() {
            Some(error) => Err(error),
            None => Ok(pipeline.failure().is_none()),
        }
    }

    /// Closes the recorder; `None` when the deadline passed before all stores were closed.
    pub(crate) fn close(&self, deadline: Option<Instant>) -> Option<Result<()>> {
        // Who comes second finds everything done, or what failed.
        let mut closing = self.closing.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            if closing.is_err() {
                *closing = first_error(self.pipelines.iter().map(|p| (p.name(), p.close_again())));
            }
            return Some(closing.clone());
        }
        self.stop.set();
        drop(self.nodes.lock());
        for index in 0.. {
            let Some(state) = self.series.read().get(index).cloned() else {
                break;
            };
            let mut series = state.lock();
            series.close();
            if !series.is_empty() {
                // Nothing more comes, so the queues may take what the buffers hold: a store that
                // stalls does not keep it from the others.
                drop(self.send_buffer(series, WhenFull::Exceed));
            }
        }
        let marks: Vec<_> = self.pipelines.iter().map(|p| p.mark(Mark::Close)).collect();
        let results: Vec<_> = marks
            .iter()
            .map(|reached| reached.wait(deadline))
            .collect::<Option<_>>()?;
        self.pipelines.iter().for_each(Pipeline::join);
        self.pool.clear();
        *closing = first_error(self.pipelines.iter().map(Pipeline::name).zip(results));
        Some(closing.clone())
    }
}

fn first_error<'a>(results: impl Iterator<Item = (&'a str, Result<()>)>) -> Result<()> {
    let mut errors = results.filter_map(|(name, result)| Some((name, result.err()?)));
    let Some((name, first)) = errors.next() else {
        return Ok(());
    };
    let others: Vec<_> = errors
        .map(|(name, error)| format!("store '{name}': {error}"))
        .collect();
    let first = first.in_store(name);
    if others.is_empty() {
        return Err(first);
    }
    let message = format!("several stores failed; also {}", others.join("; "));
    Err(Error::new(first.kind(), "close", message).with_source(first))
}
