//! The floor: the minimum that a loop has to do to store values by key for other threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::candidate::{Candidate, Outcome, Result, checksum, timed};
use crate::workloads::Scalars;

/// Scalars pushed into vectors under locks.
#[derive(Debug)]
pub struct BareLoop {
    work: Arc<Scalars>,
    by_key: bool,
}

impl BareLoop {
    /// With a hash map from keys to vectors.
    pub fn by_key(work: &Arc<Scalars>) -> Self {
        let work = Arc::clone(work);
        Self { work, by_key: true }
    }

    /// With direct access to the vectors.
    pub fn by_handle(work: &Arc<Scalars>) -> Self {
        let work = Arc::clone(work);
        Self {
            work,
            by_key: false,
        }
    }
}

impl Candidate for BareLoop {
    fn name(&self) -> String {
        let how = match self.by_key {
            true => "hash map, lock, push",
            false => "lock, push",
        };
        format!("bare loop ({how})")
    }

    fn run(&mut self) -> Result<Outcome> {
        let Scalars { keys, .. } = &*self.work;
        let mut series: HashMap<String, Mutex<Vec<f64>>> = HashMap::new();
        for key in keys {
            series.insert(key.clone(), Mutex::default());
        }
        let push = |series: &Mutex<Vec<f64>>, value| -> Result<()> {
            let mut series = series.lock().unwrap_or_else(PoisonError::into_inner);
            series.push(value);
            Ok(())
        };
        let (elapsed, ()) = timed(|| {
            if self.by_key {
                self.work
                    .each(|key, value| push(&series[&*keys[key]], value))
            } else {
                let handles: Vec<_> = keys.iter().map(|key| &series[key]).collect();
                self.work.each(|key, value| push(handles[key], value))
            }
        })?;
        let mut sum = 0_u64;
        for values in series.into_values() {
            let values = values.into_inner().unwrap_or_else(PoisonError::into_inner);
            sum = sum.wrapping_add(checksum(&values));
        }
        Ok(Outcome::new(elapsed, sum))
    }
}
