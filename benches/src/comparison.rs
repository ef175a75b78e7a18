//! Contenders doing the same work in turn, and what came of it.

use std::fmt;

use crate::contender::{Contender, Result};

/// A piece of work and those who do it. Ratios are to the first contender.
pub struct Comparison {
    /// What is done.
    pub title: String,
    /// How much of it one run does, in `unit`s.
    pub amount: f64,
    /// What speeds count, such as `million records/s`.
    pub unit: &'static str,
    /// Who does it, the yardstick first.
    pub contenders: Vec<Box<dyn Contender>>,
}

impl fmt::Debug for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comparison")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// Medians of one contender.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The contender.
    pub name: String,
    /// Work per second.
    pub speed: f64,
    /// How often its speed is that of the first contender, taken within each round.
    pub ratio: f64,
    /// The lowest and the highest ratio of all rounds.
    pub range: (f64, f64),
}

impl Comparison {
    /// Runs all contenders in turn, `rounds` times, after one round that does not count.
    ///
    /// # Errors
    /// What a contender reports; contenders that do not agree on the checksum.
    pub fn run(mut self, rounds: usize) -> Result<Vec<Standing>> {
        let mut speeds = vec![Vec::with_capacity(rounds); self.contenders.len()];
        let mut checksum = None;
        for round in 0..=rounds {
            // Every second round in the opposite order, so that none always follows another.
            let mut order: Vec<usize> = (0..self.contenders.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let contender = &mut self.contenders[index];
                let outcome = contender
                    .run()
                    .map_err(|error| format!("{}: {error}", contender.name()))?;
                if *checksum.get_or_insert(outcome.checksum) != outcome.checksum {
                    return Err(format!("{} has other data", contender.name()).into());
                }
                if round > 0 {
                    speeds[index].push(self.amount / outcome.elapsed.as_secs_f64());
                }
            }
        }
        let mut standings = Vec::new();
        for (contender, own) in self.contenders.iter().zip(&speeds) {
            let mut ratios: Vec<f64> = own.iter().zip(&speeds[0]).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            standings.push(Standing {
                name: contender.name(),
                speed: median(own.clone()),
                range: (ratios[0], ratios[ratios.len() - 1]),
                ratio: median(ratios),
            });
        }
        Ok(standings)
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
    use crate::Outcome;

    struct Fixed(u64, u64);

    impl Contender for Fixed {
        fn name(&self) -> String {
            format!("{} ms", self.0)
        }

        fn run(&mut self) -> Result<Outcome> {
            Ok(Outcome {
                elapsed: Duration::from_millis(self.0),
                checksum: self.1,
            })
        }
    }

    fn comparison(contenders: Vec<Box<dyn Contender>>) -> Comparison {
        Comparison {
            title: String::new(),
            amount: 1.0,
            unit: "",
            contenders,
        }
    }

    #[test]
    fn ratios_are_to_the_first_contender() {
        let pair = comparison(vec![Box::new(Fixed(200, 1)), Box::new(Fixed(100, 1))]);
        let standings = pair.run(3).unwrap();
        assert_eq!((standings[0].ratio, standings[1].ratio), (1.0, 2.0));
        assert_eq!(standings[1].speed, 10.0);
    }

    #[test]
    fn contenders_with_other_data_are_refused() {
        let pair = comparison(vec![Box::new(Fixed(1, 1)), Box::new(Fixed(1, 2))]);
        assert!(pair.run(1).is_err());
    }
}
