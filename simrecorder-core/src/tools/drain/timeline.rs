//! Moving timelines, whose series have the same ticks in the target.

use std::collections::BTreeMap;

use super::Drain;
use super::series::MovedSeries;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::reading::view::View;
use crate::tools::copy::reader::COMMIT_BYTES;

/// The series of the timelines to drain, by group.
#[derive(Default)]
pub(super) struct Timelines(BTreeMap<Key, Vec<View>>);

impl Timelines {
    pub(super) fn add_group(&mut self, key: &Key, is_timeline: bool) {
        if is_timeline {
            self.0.insert(key.clone(), Vec::new());
        }
    }

    /// Adds a series if it belongs to a timeline; otherwise returns it.
    pub(super) fn add_series(&mut self, view: View) -> Option<View> {
        match self.0.get_mut(&view.key().parent().unwrap_or(Key::ROOT)) {
            Some(views) => {
                views.push(view);
                None
            }
            None => Some(view),
        }
    }

    pub(super) fn into_views(self) -> impl Iterator<Item = (Key, Vec<View>)> {
        self.0.into_iter()
    }
}

impl Drain<'_> {
    /// Moves the series of a timeline; each commit has the same ticks of all of them.
    pub(super) fn move_timeline(&mut self, views: &[View]) -> Result<()> {
        let series = views.iter().map(|view| {
            let begun = self.begin(view);
            begun.map_err(|e| e.with_key(view.key().as_str()))
        });
        let series = series.collect::<Result<Vec<_>>>()?;
        let done = series.iter().find_map(|series| series.done).unwrap_or(0);
        if let Some(other) = series
            .iter()
            .find(|it| it.done.is_some_and(|it| it != done))
        {
            return Err(out_of_step(other.key(), other.done.unwrap_or(0), done));
        }
        // Records that the target already has are freed in all series at the same moment too.
        let is_begun = |series: &&MovedSeries<'_>| series.done.is_some();
        let kept = series.iter().filter(is_begun).map(MovedSeries::kept);
        self.shared.free(&kept.collect::<Vec<_>>())?;
        // A series that joined late is declared at its first tick, when the others are as long as that.
        let (mut moved, mut late): (Vec<_>, Vec<_>) =
            series.iter().partition(|series| series.done.is_some());
        late.sort_by_key(|series| std::cmp::Reverse(series.filled()));
        // The views may end at different ticks.
        let end = series.iter().map(MovedSeries::end).min().unwrap_or(0);
        let mut at = done;
        while at < end || late.last().is_some_and(|series| series.filled() == at) {
            while let Some(series) = late.pop_if(|series| series.filled() <= at) {
                if series.filled() < at {
                    return Err(out_of_step(series.key(), 0, at));
                }
                self.declare(series, at);
                moved.push(series);
            }
            let until = late.last().map_or(end, |series| series.filled().min(end));
            let wanted = block_end(&moved, at, until);
            at = self.move_ticks(&moved, at, wanted)?;
            self.commit_if_large()?;
        }
        self.progress.key_count += series.len() as u64;
        Ok(())
    }

    /// Adds ticks from `at` up to at most `until`, as many as all series return in one read; returns where they end.
    fn move_ticks(&mut self, series: &[&MovedSeries<'_>], at: u64, until: u64) -> Result<u64> {
        if at == until {
            return Ok(at);
        }
        // Reads series with records of unknown size first, since they decide the number of ticks.
        let is_fixed = |series: &&MovedSeries<'_>| series.record_bytes().is_some();
        let (fixed, variable): (Vec<&MovedSeries<'_>>, Vec<_>) =
            series.iter().copied().partition(is_fixed);
        let max_bytes = COMMIT_BYTES / variable.len().max(1);
        let mut read = Vec::new();
        let mut count = until - at;
        for series in variable.into_iter().chain(fixed) {
            let records = series.read(at..at + count, max_bytes)?;
            count = count.min(records.len());
            read.push((series, records));
        }
        for (series, records) in read {
            match records.len() == count {
                true => self.append(series, at, &records),
                false => self.append(series, at, &records.slice(0..count)),
            }
        }
        if count == 0 {
            let message = "the source returned no records";
            return Err(Error::new(ErrorKind::Internal, "drain", message));
        }
        Ok(at + count)
    }
}

/// Where the next ticks end, so that they have about the size of a commit and fill chunks of the largest series.
fn block_end(series: &[&MovedSeries<'_>], at: u64, end: u64) -> u64 {
    let bytes = series.iter().filter_map(|series| series.record_bytes());
    let ticks = (COMMIT_BYTES / bytes.sum::<usize>().max(1)).max(1) as u64;
    let fixed = series
        .iter()
        .filter(|series| series.record_bytes().is_some());
    let batch = fixed.map(|series| series.batch()).min().unwrap_or(1);
    let ticks = (ticks / batch * batch).max(ticks.min(batch));
    ((at / ticks + 1).saturating_mul(ticks)).min(end)
}

fn out_of_step(key: &Key, len: u64, ticks: u64) -> Error {
    let message = format!(
        "the target has {len} records of this series, and {ticks} ticks of its timeline; drain into the \
         recording that was drained into before, with the same patterns"
    );
    Error::new(ErrorKind::Diverged, "drain", message).with_key(key.as_str())
}
