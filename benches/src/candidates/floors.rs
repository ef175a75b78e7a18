//! The floors: one file that is written sequentially and synced, and memory that is copied.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::candidate::{Candidate, Outcome, Result, timed};
use crate::load::{Load, checksum_of_bytes};

/// Records written one after another, uncompressed.
#[derive(Debug)]
pub struct RawFile {
    load: Arc<Load>,
    path: PathBuf,
}

impl RawFile {
    /// Writes into a file in `folder`.
    pub fn new(load: &Arc<Load>, folder: &Path) -> Self {
        Self {
            load: Arc::clone(load),
            path: folder.join("peer.raw"),
        }
    }
}

impl Candidate for RawFile {
    fn name(&self) -> String {
        "one raw file, synced".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, ()) = timed(|| {
            let mut file = File::create(&self.path)?;
            self.load.steps(|record| file.write_all(record))?;
            Ok(file.sync_all()?)
        })?;
        let checksum =
            checksum_of_bytes(&std::fs::read(&self.path)?, self.load.numbers.item_bytes());
        let outcome = Outcome::new(elapsed, checksum).stored_at(&self.path)?;
        std::fs::remove_file(&self.path)?;
        Ok(outcome)
    }
}

/// Records copied one after another into memory that was used before.
#[derive(Debug)]
pub struct Memcpy {
    load: Arc<Load>,
    memory: Vec<u8>,
}

impl Memcpy {
    /// Allocates as much memory as the records need.
    pub fn new(load: &Arc<Load>) -> Self {
        // Not zeros, which would be fresh pages at the first write.
        let memory = vec![1; load.bytes()];
        let load = Arc::clone(load);
        Self { load, memory }
    }
}

impl Candidate for Memcpy {
    fn name(&self) -> String {
        "memcpy".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, ()) = timed(|| {
            let mut to = self.memory.chunks_exact_mut(self.load.record_bytes());
            self.load.steps(|record| {
                to.next()
                    .ok_or("too little memory")?
                    .copy_from_slice(record);
                Ok::<_, &str>(())
            })?;
            black_box(&mut self.memory);
            Ok(())
        })?;
        let checksum = checksum_of_bytes(&self.memory, self.load.numbers.item_bytes());
        Ok(Outcome::new(elapsed, checksum))
    }
}
