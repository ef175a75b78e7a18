//! The floor of anything that writes to a disk: one file, written from end to end and synced.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::contender::{Contender, Outcome, Result, timed};
use crate::works::FrameWork;

/// Frames written one behind the other, uncompressed.
#[derive(Debug)]
pub struct RawFile {
    work: Arc<FrameWork>,
    path: PathBuf,
}

impl RawFile {
    /// Writes into a file in `folder`.
    pub fn new(work: &Arc<FrameWork>, folder: &Path) -> Self {
        Self {
            work: Arc::clone(work),
            path: folder.join("peer.raw"),
        }
    }
}

impl Contender for RawFile {
    fn name(&self) -> String {
        "one raw file, synced".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        // The bytes are at hand: the file alone is measured.
        let frames = self.work.frames.iter();
        let frames: Vec<Vec<u8>> = frames
            .map(|frame| frame.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let (elapsed, ()) = timed(|| {
            let mut file = File::create(&self.path)?;
            for index in 0..self.work.count {
                file.write_all(&frames[index % frames.len()])?;
            }
            Ok(file.sync_all()?)
        })?;
        let mut sum = 0_u64;
        for word in std::fs::read(&self.path)?.as_chunks().0 {
            sum = sum.wrapping_add(u32::from_le_bytes(*word).into());
        }
        std::fs::remove_file(&self.path)?;
        Ok(Outcome {
            elapsed,
            checksum: sum,
        })
    }
}
