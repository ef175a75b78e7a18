//! Ticks of several series, recorded as a timeline and as independent series.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder::ndarray::ArrayView2;
use simrecorder::{Coordinate, Recorder, Series};

use crate::candidate::{Candidate, Outcome, Result, checksum, checksum_f32};
use crate::candidates::simrecorder_store::{Store, record};
use crate::data::{Frames, random_walk};

/// Scalars of some series in each tick, its time, and optionally a frame.
#[derive(Debug)]
pub struct Ticks {
    names: Vec<String>,
    values: Vec<f64>,
    frames: Vec<Vec<f32>>,
    /// The number of ticks.
    pub count: usize,
}

impl Ticks {
    /// `count` ticks of `series` series of scalars.
    pub fn new(series: usize, count: usize) -> Self {
        Self {
            names: (0..series).map(|i| format!("mean_rate_{i:04}")).collect(),
            values: random_walk(1 << 16),
            frames: Vec::new(),
            count,
        }
    }

    /// Adds a frame of 1 MiB to each tick.
    #[must_use]
    pub fn with_frames(self) -> Self {
        let frames = Frames::Smooth.make(self.count.min(8));
        Self { frames, ..self }
    }

    /// The number of records in a tick.
    pub fn records(&self) -> usize {
        self.names.len() + 1 + usize::from(!self.frames.is_empty())
    }

    /// The size of a tick.
    pub fn bytes(&self) -> usize {
        (self.names.len() + 1) * 8
            + self
                .frames
                .first()
                .map_or(0, |frame| size_of_val(&frame[..]))
    }

    fn frame(&self, tick: usize) -> Result<Option<ArrayView2<'_, f32>>> {
        let shape = (Frames::SIDE, Frames::SIDE);
        let frame = self.frames.get(tick % self.frames.len().max(1));
        let frame = frame.map(|frame| ArrayView2::from_shape(shape, frame));
        Ok(frame.transpose()?)
    }

    /// Calls `record` for each tick, with its number and the value of its scalars.
    #[inline]
    fn each(&self, mut record: impl FnMut(usize, f64) -> Result<()>) -> Result<()> {
        let values = self.values.iter().cycle().take(self.count);
        values
            .enumerate()
            .try_for_each(|(tick, value)| record(tick, *value))
    }
}

/// How ticks are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Into independent series, through typed handles.
    Handles,
    /// Into independent series, by key.
    Keys,
    /// Into a timeline, by the tokens of its series.
    Members,
    /// Into a timeline, by the names of its series.
    Names,
}

/// Ticks, in Zarr over LMDB.
#[derive(Debug)]
pub struct TicksInto {
    work: Arc<Ticks>,
    how: How,
    folder: PathBuf,
}

impl TicksInto {
    /// Records into a folder within `folder`.
    pub fn new(work: &Arc<Ticks>, how: How, folder: &Path) -> Self {
        Self {
            work: Arc::clone(work),
            how,
            folder: folder.to_owned(),
        }
    }

    fn record(&self, recorder: &Recorder) -> Result<()> {
        let work = &*self.work;
        let coordinate = Coordinate::new("time").units("ms");
        let keys: Vec<_> = work
            .names
            .iter()
            .map(|name| format!("net/{name}"))
            .collect();
        match self.how {
            How::Handles => {
                let time = recorder.series::<f64>("net/time")?;
                let series = keys.iter().map(|key| recorder.series::<f64>(key));
                let series: Vec<Series<f64>> = series.collect::<simrecorder::Result<_>>()?;
                let frames = recorder.series::<f32>("net/frame")?;
                work.each(|tick, value| {
                    time.record(tick as f64)?;
                    for series in &series {
                        series.record(value)?;
                    }
                    if let Some(frame) = work.frame(tick)? {
                        frames.record(frame)?;
                    }
                    Ok(())
                })
            }
            How::Keys => work.each(|tick, value| {
                recorder.record("net/time", tick as f64)?;
                for key in &keys {
                    recorder.record(key, value)?;
                }
                if let Some(frame) = work.frame(tick)? {
                    recorder.record("net/frame", frame)?;
                }
                Ok(())
            }),
            How::Members => {
                let mut net = recorder.timeline("net", coordinate)?;
                let members = work.names.iter().map(|name| net.member(name));
                let members = members.collect::<simrecorder::Result<Vec<_>>>()?;
                let frames = net.member("frame")?;
                work.each(|tick, value| {
                    net.advance(tick as f64)?;
                    for member in &members {
                        net.push(*member, value)?;
                    }
                    if let Some(frame) = work.frame(tick)? {
                        net.push(frames, frame)?;
                    }
                    Ok(())
                })?;
                Ok(net.finish()?)
            }
            How::Names => {
                let mut net = recorder.timeline("net", coordinate)?;
                work.each(|tick, value| {
                    net.advance(tick as f64)?;
                    for name in &work.names {
                        net.record(name, value)?;
                    }
                    if let Some(frame) = work.frame(tick)? {
                        net.record("frame", frame)?;
                    }
                    Ok(())
                })?;
                Ok(net.finish()?)
            }
        }
    }
}

impl Candidate for TicksInto {
    fn name(&self) -> String {
        let how = match self.how {
            How::Handles => "series, by handle",
            How::Keys => "series, by key",
            How::Members => "timeline, by member",
            How::Names => "timeline, by name",
        };
        format!("{}, {how}", Store::Lmdb.name())
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let work = |recorder: &Recorder| self.record(recorder);
        record(Store::Lmdb, &self.folder, work, |recorder| {
            let mut sum = 0_u64;
            for (_, view) in recorder.group("net")?.series() {
                sum = sum.wrapping_add(match view.dtype() {
                    Some(simrecorder::DType::F32) => {
                        checksum_f32(view.read()?.as_slice().unwrap_or_default())
                    }
                    _ => checksum(view.read()?.as_slice().unwrap_or_default()),
                });
            }
            Ok(sum)
        })
    }
}
