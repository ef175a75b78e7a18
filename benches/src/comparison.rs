//! Comparisons: candidates that do the same work in turn, and the results.

use std::fmt;

use serde::Serialize;

use crate::candidate::{Candidate, Outcome, Result};
use crate::disk::written_bytes;

/// A piece of work and its candidates. Ratios are relative to the first candidate.
pub struct Comparison {
    /// The description of the work.
    pub title: String,
    /// The amount of work in one run, in `unit`s.
    pub amount: f64,
    /// The unit of speeds, such as `million records/s`.
    pub unit: &'static str,
    /// The total size of the recorded or read data, with which sizes are compared.
    pub bytes: Option<usize>,
    /// Whether the work writes to a disk, so that writes and syncs are counted.
    pub on_disk: bool,
    /// The candidates, beginning with the reference.
    pub candidates: Vec<Box<dyn Candidate>>,
}

impl Comparison {
    /// A piece of work without candidates.
    pub fn new(title: &str, amount: f64, unit: &'static str) -> Self {
        Self {
            title: title.to_owned(),
            amount,
            unit,
            bytes: None,
            on_disk: false,
            candidates: Vec::new(),
        }
    }

    /// Sets the total size of the recorded or read data.
    #[must_use]
    pub fn of_bytes(self, bytes: usize) -> Self {
        Self {
            bytes: Some(bytes),
            ..self
        }
    }
}

impl fmt::Debug for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comparison")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// The results of a comparison.
#[derive(Clone, Debug)]
pub struct Results {
    /// The candidates that completed all rounds.
    pub standings: Vec<Standing>,
    /// Why the others did not.
    pub failures: Vec<String>,
}

/// The results of one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its index among the candidates.
    #[serde(skip)]
    pub index: usize,
    /// The candidate.
    pub name: String,
    /// The part of the work that it does, if not all.
    pub fraction: Option<f64>,
    /// Work per second in each round.
    pub rounds: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// Its speed relative to the first candidate, computed within each round: the median.
    pub ratio: f64,
    /// The lowest of these ratios.
    pub lowest_ratio: f64,
    /// The highest of these ratios.
    pub highest_ratio: f64,
    /// The speed of the first candidate of simrecorder relative to this one, computed within each
    /// round: the median.
    pub ours: Option<f64>,
    /// The size of what it wrote or read, in the last round.
    pub stored_bytes: Option<u64>,
    /// The same for each recorded byte.
    pub stored_ratio: Option<f64>,
    /// The bytes that it wrote to a disk: the median.
    pub written_bytes: Option<f64>,
    /// The number of syncs, in a run that was not measured.
    pub syncs: Option<u64>,
}

/// The results of one candidate in one round.
struct Run {
    speed: f64,
    written: f64,
    stored: Option<u64>,
}

impl Runs {
    fn add(&mut self, run: Run) {
        self.speeds.push(run.speed);
        self.written.push(run.written);
        self.stored = run.stored;
    }
}

/// The results of one candidate in all rounds.
#[derive(Clone, Default)]
struct Runs {
    speeds: Vec<f64>,
    written: Vec<f64>,
    stored: Option<u64>,
    failure: Option<String>,
}

impl Comparison {
    /// Runs all candidates in turn, `rounds` times, after one round that is not counted. A
    /// candidate that fails, or has other data than the first, does not run again. Ratios are
    /// relative to the first one that does not fail.
    pub fn run(mut self, rounds: usize) -> Results {
        let mut runs = vec![Runs::default(); self.candidates.len()];
        let mut checksum = None;
        for round in 0..=rounds {
            // Every second round in the opposite order, so that none always follows another.
            let mut order: Vec<usize> = (0..self.candidates.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            order.retain(|&index| runs[index].failure.is_none());
            for index in order {
                match self.run_once(index, &mut checksum) {
                    Ok(run) if round > 0 => runs[index].add(run),
                    Ok(_) => {}
                    Err(error) => runs[index].failure = Some(error.to_string()),
                }
            }
        }
        let failures = runs.iter().filter_map(|run| run.failure.clone());
        Results {
            failures: failures.collect(),
            standings: self.standings(runs),
        }
    }

    /// The speed of a candidate, and the sizes of what it wrote and stored.
    fn run_once(&mut self, index: usize, checksum: &mut Option<u64>) -> Result<Run> {
        let before = self.written(index)?;
        let (outcome, fraction) = self.run_one(index, checksum)?;
        Ok(Run {
            speed: self.amount * fraction / outcome.elapsed.as_secs_f64(),
            written: (self.written(index)? - before) as f64,
            stored: outcome.stored,
        })
    }

    /// Runs one candidate once.
    ///
    /// # Errors
    ///
    /// What the candidate reports; there is no such candidate.
    pub fn run_only(mut self, index: usize) -> Result<()> {
        if index >= self.candidates.len() {
            return Err(format!("there are {} candidates", self.candidates.len()).into());
        }
        self.run_one(index, &mut None).map(drop)
    }

    /// Runs a candidate, verifies its data, and returns the part of the work that it did.
    fn run_one(&mut self, index: usize, checksum: &mut Option<u64>) -> Result<(Outcome, f64)> {
        let candidate = &mut self.candidates[index];
        let outcome = candidate
            .run()
            .map_err(|error| format!("{}: {error}", candidate.name()))?;
        let part = candidate.part();
        let expected = match part {
            Some(part) => part.checksum,
            None => *checksum.get_or_insert(outcome.checksum),
        };
        if outcome.checksum != expected {
            return Err(format!("{} has other data", candidate.name()).into());
        }
        Ok((outcome, part.map_or(1.0, |part| part.fraction)))
    }

    /// The number of bytes that the process of a candidate has written so far.
    fn written(&self, index: usize) -> Result<u64> {
        match self.candidates[index].process() {
            Some(process) if self.on_disk => written_bytes(process),
            _ => Ok(0),
        }
    }

    fn standings(&self, runs: Vec<Runs>) -> Vec<Standing> {
        let candidates = self.candidates.iter().map(|it| &**it);
        let all = candidates.zip(runs).enumerate();
        let done: Vec<_> = all.filter(|(_, (_, own))| own.failure.is_none()).collect();
        let Some((_, (_, first))) = done.first() else {
            return Vec::new();
        };
        let first = first.speeds.clone();
        let ours = done.iter().find(|(_, (candidate, _))| candidate.is_ours());
        let ours = ours.map(|(_, (_, own))| own.speeds.clone());
        let quotients =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a / b).collect() };
        let standing = |(index, (candidate, own)): (usize, (&dyn Candidate, Runs))| {
            let fraction = candidate.part().map(|part| part.fraction);
            let ratios = quotients(&own.speeds, &first);
            let recorded = self.bytes.map(|it| it as f64 * fraction.unwrap_or(1.0));
            let stored = own.stored.map(|it| it as f64).zip(recorded);
            Standing {
                index,
                name: candidate.name(),
                fraction,
                median: median(own.speeds.clone()),
                lowest_ratio: ratios.iter().copied().fold(f64::INFINITY, f64::min),
                highest_ratio: ratios.iter().copied().fold(0.0, f64::max),
                ratio: median(ratios),
                ours: ours.as_ref().map(|it| median(quotients(it, &own.speeds))),
                stored_bytes: own.stored,
                stored_ratio: stored.map(|(stored, recorded)| stored / recorded),
                written_bytes: self.on_disk.then(|| median(own.written)),
                syncs: None,
                rounds: own.speeds,
            }
        };
        done.into_iter().map(standing).collect()
    }
}

/// The median; of an even number of values, the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::candidate::Part;

    struct Fixed(u64, u64);

    impl Candidate for Fixed {
        fn name(&self) -> String {
            format!("{} ms", self.0)
        }

        fn run(&mut self) -> Result<Outcome> {
            Ok(Outcome::new(Duration::from_millis(self.0), self.1))
        }

        fn part(&self) -> Option<Part> {
            let (fraction, checksum) = (0.25, 9);
            (self.1 == 9).then_some(Part { fraction, checksum })
        }
    }

    fn comparison(candidates: Vec<Box<dyn Candidate>>) -> Comparison {
        Comparison {
            candidates,
            ..Comparison::new("", 1.0, "")
        }
    }

    #[test]
    fn ratios_are_to_the_first_candidate() {
        let pair = comparison(vec![Box::new(Fixed(200, 1)), Box::new(Fixed(100, 1))]);
        let standings = pair.run(3).standings;
        assert_eq!((standings[0].ratio, standings[1].ratio), (1.0, 2.0));
        assert_eq!(standings[1].median, 10.0);
    }

    #[test]
    fn a_part_of_the_work_counts_as_such() {
        let pair = comparison(vec![Box::new(Fixed(200, 1)), Box::new(Fixed(100, 9))]);
        let standings = pair.run(1).standings;
        assert_eq!(standings[1].ratio, 0.5);
    }

    #[test]
    fn a_candidate_with_other_data_fails_alone() {
        let all = [Fixed(1, 1), Fixed(1, 2), Fixed(2, 1)];
        let all = all.map(|it| Box::new(it) as Box<dyn Candidate>);
        let results = comparison(all.into()).run(1);
        let names: Vec<_> = results.standings.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["1 ms", "2 ms"]);
        assert_eq!(results.failures, ["1 ms has other data"]);
    }
}
