//! simrecorder on a Redis server, and other software that moves as many bytes to or from one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use simrecorder::ndarray::ArrayView2;
use simrecorder::{Key, Recorder, RedisDataStore, RedisServer, View};
use tempfile::TempDir;

use super::simrecorder_store::KEY;
use crate::candidate::{Candidate, Outcome, Result, checksum, checksum_f32, timed};
use crate::data::Frames;
use crate::load::Load;
use crate::workloads::{FrameWork, Scalars, Vectors, scratch};

/// A separate server for each run. Its append-only file is on, synced every second, in `folder`.
#[derive(Debug)]
pub struct Server {
    server: RedisServer,
    /// Removed when this is dropped.
    folder: TempDir,
}

impl Server {
    /// Starts a server in a folder within `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let folder = scratch(folder)?;
        // A rewrite of the file in the middle of a run would distort the measurement.
        let options = RedisServer::options().setting("auto-aof-rewrite-percentage", "0");
        Ok(Self {
            server: options.start(folder.path())?,
            folder,
        })
    }

    /// The URL of the server.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// The folder with its append-only file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it once its append-only file is synced, and returns the folder.
    pub fn stop(self) -> Result<TempDir> {
        self.server.stop()?;
        Ok(self.folder)
    }
}

/// Records on a new server, measured until the recorder is closed. Then `check` reads the
/// recording.
fn record(
    folder: &Path,
    work: impl FnOnce(&Recorder) -> Result<()>,
    check: impl FnOnce(&Recorder) -> Result<u64>,
) -> Result<Outcome> {
    let server = Server::start(folder)?;
    let (elapsed, ()) = timed(|| {
        let recorder = Recorder::new(RedisDataStore::connect(server.url())?);
        work(&recorder)?;
        Ok(recorder.close()?)
    })?;
    let checksum = check(&Recorder::new(RedisDataStore::open(server.url())?))?;
    Outcome::new(elapsed, checksum).stored_at(server.folder())
}

/// The records.
#[derive(Debug)]
pub enum RedisWork {
    /// Scalars by key.
    Scalars(Arc<Scalars>),
    /// Vectors of one key.
    Vectors(Arc<Vectors>),
    /// Frames of one key.
    Frames(Arc<FrameWork>),
}

impl RedisWork {
    /// The records, for peers.
    pub fn load(&self) -> Load {
        match self {
            Self::Scalars(work) => work.load(),
            Self::Vectors(work) => work.load(),
            Self::Frames(work) => work.load(),
        }
    }

    fn record(&self, recorder: &Recorder) -> Result<()> {
        match self {
            Self::Scalars(work) => {
                work.each(|key, value| Ok(recorder.record(&work.keys[key], value)?))
            }
            Self::Vectors(work) => work.each(|v| Ok(recorder.record(KEY, v)?)),
            Self::Frames(work) => {
                for frame in work.frames.iter().cycle().take(work.count) {
                    let frame = ArrayView2::from_shape((Frames::SIDE, Frames::SIDE), frame)?;
                    recorder.record(KEY, frame)?;
                }
                Ok(())
            }
        }
    }

    fn checksum_of(&self, recorder: &Recorder) -> Result<u64> {
        let f64_of = |key: &str| -> Result<u64> {
            let values = recorder.get_all(key)?.read::<f64>()?;
            Ok(checksum(values.as_slice().unwrap_or_default()))
        };
        match self {
            Self::Scalars(work) => work
                .keys
                .iter()
                .try_fold(0, |sum: u64, key| Ok(sum.wrapping_add(f64_of(key)?))),
            Self::Vectors(_) => f64_of(KEY),
            Self::Frames(_) => {
                let values = recorder.get_all(KEY)?.read::<f32>()?;
                Ok(checksum_f32(values.as_slice().unwrap_or_default()))
            }
        }
    }
}

/// simrecorder recording to a server.
#[derive(Debug)]
pub struct IntoRedis {
    work: RedisWork,
    folder: PathBuf,
}

impl IntoRedis {
    /// To servers that keep their data within `folder`.
    pub fn new(work: RedisWork, folder: &Path) -> Self {
        Self {
            work,
            folder: folder.to_owned(),
        }
    }
}

impl Candidate for IntoRedis {
    fn name(&self) -> String {
        "simrecorder, Redis".to_owned()
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let work = &self.work;
        record(
            &self.folder,
            |it| work.record(it),
            |it| work.checksum_of(it),
        )
    }
}

/// `redis-benchmark` with one client, which pushes as many bytes onto one list, in payloads of the
/// fastest size.
#[derive(Debug)]
pub struct RedisBenchmark {
    bytes: usize,
    checksum: u64,
    folder: PathBuf,
    /// The sizes that are tried until the best one is known.
    sizes: Vec<usize>,
}

impl RedisBenchmark {
    /// Pushes as many bytes as `load` records.
    pub fn new(load: &Load, folder: &Path) -> Self {
        Self {
            bytes: load.bytes(),
            checksum: load.checksum(),
            folder: folder.to_owned(),
            sizes: vec![16 << 10, 64 << 10, 256 << 10, 1 << 20],
        }
    }

    fn push(&self, size: usize) -> Result<Duration> {
        let server = Server::start(&self.folder)?;
        let count = self.bytes.div_ceil(size);
        let (port, count) = (server.server.port().to_string(), count.to_string());
        let size = size.to_string();
        let arguments = [
            "-p", &port, "-c", "1", "-P", "16", "-n", &count, "-d", &size, "-t", "rpush", "--csv",
        ];
        let output = Command::new("redis-benchmark").args(arguments).output()?;
        let text = String::from_utf8(output.stdout)?;
        // "RPUSH","12345.67",…
        let line = text.lines().find(|line| line.starts_with("\"RPUSH\""));
        let speed = line.and_then(|line| line.split('"').nth(3)?.parse::<f64>().ok());
        let errors = String::from_utf8_lossy(&output.stderr);
        let speed = speed.ok_or_else(|| format!("no speed in {text:?}; {errors}"))?;
        let pushes = self.bytes as f64 / size.parse::<f64>()?;
        Ok(Duration::from_secs_f64(pushes / speed))
    }
}

impl Candidate for RedisBenchmark {
    fn name(&self) -> String {
        match self.sizes[..] {
            [size] => format!("redis-benchmark, RPUSH of {} KiB", size >> 10),
            _ => "redis-benchmark, RPUSH".to_owned(),
        }
    }

    fn run(&mut self) -> Result<Outcome> {
        let runs = self.sizes.iter().map(|&size| Ok((self.push(size)?, size)));
        let runs = runs.collect::<Result<Vec<_>>>()?;
        let best = runs.into_iter().min().ok_or("nothing was tried")?;
        self.sizes = vec![best.1];
        Ok(Outcome::new(best.0, self.checksum))
    }
}

/// A recording on a server that all candidates read.
#[derive(Debug)]
pub struct OnServer {
    server: Server,
    view: View,
}

impl OnServer {
    /// The URL of the server.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Records `work`.
    pub fn new(work: &Vectors, folder: &Path) -> Result<Arc<Self>> {
        let server = Server::start(folder)?;
        let recorder = Recorder::new(RedisDataStore::connect(server.url())?);
        work.each(|v| Ok(recorder.record(KEY, v)?))?;
        recorder.close()?;
        let store = RedisDataStore::open(server.url())?;
        let view = simrecorder::DataStoreExt::view(&store, &Key::new(KEY)?)?;
        let view = view.ok_or("nothing was recorded")?;
        Ok(Arc::new(Self { server, view }))
    }
}

/// simrecorder reading all.
#[derive(Debug)]
pub struct ReadRedis(pub Arc<OnServer>);

impl Candidate for ReadRedis {
    fn name(&self) -> String {
        "simrecorder, Redis".to_owned()
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self) -> Result<Outcome> {
        let (elapsed, values) = timed(|| Ok(self.0.view.read::<f64>()?))?;
        let checksum = checksum(values.as_slice().unwrap_or_default());
        Ok(Outcome::new(elapsed, checksum))
    }
}
