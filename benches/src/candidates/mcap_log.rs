//! MCAP, the log format of robotics, as in its own documentation.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcap::records::MessageHeader;

use crate::candidate::{Candidate, Outcome, Part, Result, timed};
use crate::load::{Load, checksum_of_bytes};

/// One message for each record, compressed with lz4 by default.
#[derive(Debug)]
pub struct McapLog {
    load: Load,
    part: Option<Part>,
    path: PathBuf,
    synced: bool,
    compression: mcap::Compression,
}

impl McapLog {
    /// Logs one of `divisor` records into a file in `folder`.
    pub fn new(load: &Arc<Load>, divisor: usize, folder: &Path) -> Self {
        let (load, part) = Part::of(load, divisor);
        Self {
            load,
            part,
            path: folder.join("peer.mcap"),
            synced: false,
            compression: mcap::Compression::Lz4,
        }
    }

    /// With one sync at the end.
    #[must_use]
    pub fn synced(self) -> Self {
        Self {
            synced: true,
            ..self
        }
    }

    /// Compressed with zstd.
    #[must_use]
    pub fn zstd(self) -> Self {
        let compression = mcap::Compression::Zstd;
        Self {
            compression,
            ..self
        }
    }

    fn write(&self) -> Result<()> {
        let file = BufWriter::new(File::create(&self.path)?);
        let mut writer = mcap::WriteOptions::new()
            .compression(Some(self.compression))
            .create(file)?;
        let mut channels = Vec::new();
        for key in &self.load.keys {
            channels.push(writer.add_channel(0, key, "raw", &BTreeMap::new())?);
        }
        let mut number = 0;
        self.load.steps(|record| {
            for &channel_id in &channels {
                number += 1;
                let header = MessageHeader {
                    channel_id,
                    sequence: number as u32,
                    log_time: number,
                    publish_time: number,
                };
                writer.write_to_known_channel(&header, record)?;
            }
            Ok::<_, mcap::McapError>(())
        })?;
        writer.finish()?;
        let mut file = writer.into_inner();
        file.flush()?;
        if self.synced {
            file.get_ref().sync_all()?;
        }
        Ok(())
    }

    fn checksum(&self) -> Result<u64> {
        let data = std::fs::read(&self.path)?;
        let mut sum = 0_u64;
        for message in mcap::MessageStream::new(&data)? {
            let record = checksum_of_bytes(&message?.data, self.load.numbers.item_bytes());
            sum = sum.wrapping_add(record);
        }
        Ok(sum)
    }
}

impl Candidate for McapLog {
    fn name(&self) -> String {
        match self.compression {
            mcap::Compression::Lz4 => "mcap, lz4".to_owned(),
            _ => "mcap, zstd".to_owned(),
        }
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, ()) = timed(|| self.write())?;
        let outcome = Outcome::new(elapsed, self.checksum()?).stored_at(&self.path)?;
        std::fs::remove_file(&self.path)?;
        Ok(outcome)
    }

    fn part(&self) -> Option<Part> {
        self.part
    }
}
