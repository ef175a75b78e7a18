//! Candidates doing the same work in turn, and what came of it.

use std::fmt;

use serde::Serialize;

use crate::candidate::{Candidate, Outcome, Result};
use crate::disk::written_bytes;

/// A piece of work and those who do it. Ratios are to the first candidate.
pub struct Comparison {
    /// What is done.
    pub title: String,
    /// How much of it one run does, in `unit`s.
    pub amount: f64,
    /// What speeds count, such as `million records/s`.
    pub unit: &'static str,
    /// The bytes of all that is recorded or read, with which sizes are compared.
    pub bytes: Option<usize>,
    /// Whether a disk is written to, so that what is written and synced is counted.
    pub on_disk: bool,
    /// The candidates, the yardstick first.
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

    /// With the bytes of all that is recorded or read.
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

/// What one candidate achieved.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The candidate.
    pub name: String,
    /// How much of the work it does, if not all.
    pub fraction: Option<f64>,
    /// Work per second in each round.
    pub rounds: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// How often its speed is that of the first candidate, taken within each round: the median.
    pub ratio: f64,
    /// The lowest of these ratios.
    pub lowest_ratio: f64,
    /// The highest of these ratios.
    pub highest_ratio: f64,
    /// How often the speed of the first candidate of simrecorder is that of this one, taken
    /// within each round: the median.
    pub ours: Option<f64>,
    /// The bytes where it wrote to, or read from, in the last round.
    pub stored_bytes: Option<u64>,
    /// The same for each byte that was recorded.
    pub stored_ratio: Option<f64>,
    /// The bytes that it had the system write to a disk: the median.
    pub written_bytes: Option<f64>,
    /// How often it asked the system to sync, in a run that was not measured.
    pub syncs: Option<u64>,
}

/// What one candidate did in all rounds.
#[derive(Clone, Default)]
struct Runs {
    speeds: Vec<f64>,
    written: Vec<f64>,
    stored: Option<u64>,
}

impl Comparison {
    /// Runs all candidates in turn, `rounds` times, after one round that does not count.
    ///
    /// # Errors
    /// What a candidate reports; candidates that do not agree on the checksum.
    pub fn run(mut self, rounds: usize) -> Result<Vec<Standing>> {
        let mut runs = vec![Runs::default(); self.candidates.len()];
        let mut checksum = None;
        for round in 0..=rounds {
            // Every second round in the opposite order, so that none always follows another.
            let mut order: Vec<usize> = (0..self.candidates.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let before = self.written(index)?;
                let (outcome, fraction) = self.run_one(index, &mut checksum)?;
                let written = (self.written(index)? - before) as f64;
                if round > 0 {
                    let own = &mut runs[index];
                    let seconds = outcome.elapsed.as_secs_f64();
                    own.speeds.push(self.amount * fraction / seconds);
                    own.written.push(written);
                    own.stored = outcome.stored;
                }
            }
        }
        Ok(self.standings(runs))
    }

    /// Runs one candidate once.
    ///
    /// # Errors
    /// What it reports; there is no such candidate.
    pub fn run_only(mut self, index: usize) -> Result<()> {
        if index >= self.candidates.len() {
            return Err(format!("there are {} candidates", self.candidates.len()).into());
        }
        self.run_one(index, &mut None).map(drop)
    }

    /// Runs a candidate, checks its data, and says how much of the work it did.
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

    /// How many bytes the process of a candidate had the system write so far.
    fn written(&self, index: usize) -> Result<u64> {
        match self.candidates[index].process() {
            Some(process) if self.on_disk => written_bytes(process),
            _ => Ok(0),
        }
    }

    fn standings(&self, runs: Vec<Runs>) -> Vec<Standing> {
        let first = runs[0].speeds.clone();
        let ours = self.candidates.iter().position(|it| it.is_ours());
        let ours = ours.map(|index| runs[index].speeds.clone());
        let quotients =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a / b).collect() };
        let standing = |(candidate, own): (&dyn Candidate, Runs)| {
            let fraction = candidate.part().map(|part| part.fraction);
            let ratios = quotients(&own.speeds, &first);
            let recorded = self.bytes.map(|it| it as f64 * fraction.unwrap_or(1.0));
            let stored = own.stored.map(|it| it as f64).zip(recorded);
            Standing {
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
        let candidates = self.candidates.iter().map(|it| &**it);
        candidates.zip(runs).map(standing).collect()
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
        let standings = pair.run(3).unwrap();
        assert_eq!((standings[0].ratio, standings[1].ratio), (1.0, 2.0));
        assert_eq!(standings[1].median, 10.0);
    }

    #[test]
    fn a_part_of_the_work_counts_as_such() {
        let pair = comparison(vec![Box::new(Fixed(200, 1)), Box::new(Fixed(100, 9))]);
        let standings = pair.run(1).unwrap();
        assert_eq!(standings[1].ratio, 0.5);
    }

    #[test]
    fn candidates_with_other_data_are_refused() {
        let pair = comparison(vec![Box::new(Fixed(1, 1)), Box::new(Fixed(1, 2))]);
        assert!(pair.run(1).is_err());
    }
}
