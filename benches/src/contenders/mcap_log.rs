//! MCAP, the log format of robotics, as its own documentation shows it, with lz4.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcap::records::MessageHeader;

use crate::contender::{Contender, Outcome, Result, timed};
use crate::works::{Scalars, Vectors};

/// What is logged.
#[derive(Clone, Debug)]
enum Work {
    Scalars(Arc<Scalars>),
    Vectors(Arc<Vectors>),
}

/// One message for each record.
#[derive(Debug)]
pub struct McapLog {
    work: Work,
    path: PathBuf,
}

impl McapLog {
    /// Logs scalars into a file in `folder`.
    pub fn scalars(work: &Arc<Scalars>, folder: &Path) -> Self {
        Self::new(Work::Scalars(Arc::clone(work)), folder)
    }

    /// Logs vectors into a file in `folder`.
    pub fn vectors(work: &Arc<Vectors>, folder: &Path) -> Self {
        Self::new(Work::Vectors(Arc::clone(work)), folder)
    }

    fn new(work: Work, folder: &Path) -> Self {
        let path = folder.join("peer.mcap");
        Self { work, path }
    }

    fn write(&self) -> Result<()> {
        let file = BufWriter::new(File::create(&self.path)?);
        let mut writer = mcap::WriteOptions::new()
            .compression(Some(mcap::Compression::Lz4))
            .create(file)?;
        let keys: &[String] = match &self.work {
            Work::Scalars(work) => &work.keys,
            Work::Vectors(_) => &["vector".to_owned()],
        };
        let mut channels = Vec::new();
        for key in keys {
            channels.push(writer.add_channel(0, key, "raw", &BTreeMap::new())?);
        }
        let mut number = 0;
        let mut log = |channel: usize, data: &[u8]| {
            number += 1;
            let header = MessageHeader {
                channel_id: channels[channel],
                sequence: number as u32,
                log_time: number,
                publish_time: number,
            };
            Ok(writer.write_to_known_channel(&header, data)?)
        };
        match &self.work {
            Work::Scalars(work) => work.each(|key, value| log(key, &value.to_le_bytes()))?,
            Work::Vectors(work) => {
                let mut data = Vec::new();
                work.each(|values| {
                    data.clear();
                    data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                    log(0, &data)
                })?;
            }
        }
        writer.finish()?;
        Ok(())
    }

    fn checksum(&self) -> Result<u64> {
        let data = std::fs::read(&self.path)?;
        let mut sum = 0_u64;
        for message in mcap::MessageStream::new(&data)? {
            for word in message?.data.as_chunks().0 {
                sum = sum.wrapping_add(u64::from_le_bytes(*word));
            }
        }
        Ok(sum)
    }
}

impl Contender for McapLog {
    fn name(&self) -> String {
        "mcap, lz4".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, ()) = timed(|| self.write())?;
        let checksum = self.checksum()?;
        std::fs::remove_file(&self.path)?;
        Ok(Outcome { elapsed, checksum })
    }
}
