//! The time of single calls of `record` while chunks are being committed.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use serde::Serialize;
use simrecorder::{OpenMode, Recorder};

use crate::backend::{Backend, Place};
use crate::candidate::Result;
use crate::comparison::median;
use crate::workloads::{Scalars, Setting};

/// The loop alone, then with each store.
fn targets() -> Vec<Option<Backend>> {
    let backends = Backend::ALL.into_iter().map(Some);
    std::iter::once(None).chain(backends).collect()
}

fn name(target: Option<Backend>) -> String {
    match target {
        None => "the loop without a recorder".to_owned(),
        Some(backend) => format!("simrecorder, {}", backend.id()),
    }
}

/// Times of calls in microseconds: medians of all rounds, except for the longest call.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// The target of the scalars.
    pub name: String,
    /// The number of calls in a round.
    pub calls: usize,
    /// The time within which half of the calls returned.
    pub median: f64,
    /// The time within which 99 % of the calls returned.
    pub p99: f64,
    /// The time within which 99.9 % of the calls returned.
    pub p99_9: f64,
    /// The longest call of all rounds.
    pub longest: f64,
    /// The number of commits meanwhile, in the last round.
    pub commits: u64,
}

/// The sorted times of one round in nanoseconds, and the number of commits meanwhile.
type Round = (Vec<u32>, u64);

/// Records scalars by key, ten keys in turn, and measures each call.
///
/// # Errors
///
/// What a recorder reports.
pub fn run(setting: &Setting, rounds: usize) -> Result<Vec<Latency>> {
    let work = Scalars::new(setting.scaled(10_000_000));
    let mut of_rounds: Vec<Vec<Round>> = vec![Vec::new(); targets().len()];
    for round in 0..=rounds {
        for (target, of_rounds) in targets().into_iter().zip(&mut of_rounds) {
            let (times, commits) = measure(target, &work, setting)?;
            let percentiles = [0.5, 0.99, 0.999, 1.0].map(|part| percentile(&times, part));
            if round > 0 {
                of_rounds.push((percentiles.to_vec(), commits));
            }
        }
    }
    let latencies = targets().into_iter().zip(of_rounds);
    Ok(latencies
        .map(|(target, of_rounds)| latency(target, &work, &of_rounds))
        .collect())
}

fn latency(target: Option<Backend>, work: &Scalars, rounds: &[Round]) -> Latency {
    let all = |index: usize| {
        let of_round = move |round: &Round| f64::from(round.0[index]) / 1e3;
        rounds.iter().map(of_round).collect::<Vec<f64>>()
    };
    Latency {
        name: name(target),
        calls: work.records * work.keys.len(),
        median: median(all(0)),
        p99: median(all(1)),
        p99_9: median(all(2)),
        longest: all(3).into_iter().fold(0.0, f64::max),
        commits: rounds.last().map_or(0, |round| round.1),
    }
}

/// The time that `part` of all sorted times do not exceed.
fn percentile(sorted: &[u32], part: f64) -> u32 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn measure(target: Option<Backend>, work: &Scalars, setting: &Setting) -> Result<Round> {
    let recorded = |recorder: &Recorder| {
        let keys = &work.keys;
        let times = times(work, |key, value| Ok(recorder.record(&keys[key], value)?))?;
        let commits = recorder
            .status()
            .stores
            .iter()
            .map(|it| it.commit_count)
            .sum();
        recorder.close()?;
        Ok((times, commits))
    };
    let Some(backend) = target else {
        let nothing = |key, value| {
            black_box((&work.keys[key], value));
            Ok(())
        };
        return Ok((times(work, nothing)?, 0));
    };
    let place = Place::within(backend, &setting.memory)?;
    recorded(&Recorder::new(place.open(OpenMode::CreateNew)?))
}

/// Calls `record` for all of the work. Returns the sorted times of the calls in nanoseconds.
fn times(work: &Scalars, mut record: impl FnMut(usize, f64) -> Result<()>) -> Result<Vec<u32>> {
    let len = work.records * work.keys.len();
    // Not zeros, which would be fresh pages at the first write.
    let mut times = vec![1; len];
    let mut next = times.iter_mut();
    work.each(|key, value| {
        let start = Instant::now();
        record(key, value)?;
        let nanos = start.elapsed().as_nanos();
        if let Some(time) = next.next() {
            *time = u32::try_from(nanos).unwrap_or(u32::MAX);
        }
        Ok(())
    })?;
    times.sort_unstable();
    Ok(times)
}

/// The table of all.
///
/// # Errors
/// None in practice.
pub fn table(latencies: &[Latency]) -> Result<String> {
    let calls = latencies.first().map_or(0, |it| it.calls);
    let mut text = format!(
        "\n## Single calls of `record`\n\n`latency`, {calls} scalars, ten keys in turn, by key, as \
         fast as they are taken; microseconds\n\n| | median | 99 % | 99.9 % | longest | commits |\n\
         |---|--:|--:|--:|--:|--:|\n"
    );
    for it in latencies {
        writeln!(
            text,
            "| {} | {:.3} | {:.3} | {:.3} | {:.0} | {} |",
            it.name, it.median, it.p99, it.p99_9, it.longest, it.commits
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let sorted: Vec<u32> = (1..=1000).collect();
        let found = [0.5, 0.99, 0.999, 1.0].map(|part| percentile(&sorted, part));
        assert_eq!(found, [500, 990, 999, 1000]);
        assert_eq!(percentile(&[7], 0.5), 7);
    }
}
