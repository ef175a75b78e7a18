//! Reading a whole recording to find damage.

use std::fmt;
use std::ops::{ControlFlow, Range};

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::{DType, Element};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::reading::group::Group;
use crate::reading::view::View;
use crate::recorder::timeline_of;
use crate::store::array_view::ArrayView;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::Node;

/// About how many bytes are read at once.
const READ_BYTES: u64 = 16 << 20;

/// After this many damaged chunks in a row, only samples are read, since a damaged length may be any number.
const PATIENCE: u32 = 1000;

/// Records without a fixed size are reported in groups of this many.
const LEAST_RECORDS: u64 = 64;

/// Reads everything in a store, and reports for each key which parts cannot be read.
///
/// It changes nothing and continues after damage, so that the report names all of it. (After a thousand damaged chunks
/// in a row, it reads only samples, further and further apart, until one is sound.) It finds data that is missing or
/// cannot be decoded, and data that does not match its checksum. `docs/reliability.md` in the repository says what the
/// backends check. For each timeline, it checks that all series have the same length and that the coordinate increases.
/// If the recording is written at the same time, each key is read as it is when `verify` reaches it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, verify};
///
/// let store = InMemoryDataStore::new();
/// let recorder = Recorder::new(store.clone());
/// recorder.record("net/rate", 0.5)?;
/// recorder.flush()?;
///
/// let report = verify(&store)?;
/// assert!(report.is_sound());
/// for key in report.damaged() {
///     println!("{key}");
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Errors
/// The error of the store if the root cannot be listed. The report contains all errors below it.
pub fn verify(store: &dyn DataStore) -> Result<VerifyReport> {
    verify_with(store, VerifyOptions::new())
}

/// Does what [`verify`] does, with options.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::ops::ControlFlow;
///
/// use simrecorder::{InMemoryDataStore, VerifyOptions, verify_with};
///
/// let options = VerifyOptions::new().on_progress(|progress| {
///     eprintln!("{progress}");
///     ControlFlow::Continue(())
/// });
/// assert!(verify_with(&InMemoryDataStore::new(), options)?.is_sound());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Errors
/// As for [`verify`], and [`ErrorKind::Cancelled`].
pub fn verify_with(store: &dyn DataStore, options: VerifyOptions<'_>) -> Result<VerifyReport> {
    let mut verifier = Verifier {
        store,
        on_progress: options.on_progress,
        progress: VerifyProgress {
            key: Key::ROOT,
            key_count: 0,
            record_count: 0,
        },
    };
    let mut keys = Vec::new();
    let mut open: Vec<_> = store.children(&Key::ROOT)?;
    open.reverse();
    keys.push(verifier.verify_key(Key::ROOT, NodeKind::Group)?);
    while let Some(child) = open.pop() {
        let mut verified = verifier.verify_key(child.key, child.kind)?;
        if child.kind == NodeKind::Group {
            match store.children(&verified.key) {
                Ok(children) => open.extend(children.into_iter().rev()),
                Err(error) => verified.add(None, error),
            }
        }
        keys.push(verified);
    }
    Ok(VerifyReport { keys })
}

type OnProgress<'a> = Box<dyn FnMut(&VerifyProgress) -> ControlFlow<()> + 'a>;

/// Options of [`verify_with`].
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::ops::ControlFlow;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// use simrecorder::VerifyOptions;
///
/// let is_stopped = AtomicBool::new(false); // a signal handler or a button sets it
/// let options = VerifyOptions::new().on_progress(|_| match is_stopped.load(Ordering::Relaxed) {
///     true => ControlFlow::Break(()),
///     false => ControlFlow::Continue(()),
/// });
/// ```
///
/// | option | default |
/// |---|---|
/// | [`on_progress`](Self::on_progress) | no callback |
#[derive(Default)]
#[must_use]
pub struct VerifyOptions<'a> {
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> VerifyOptions<'a> {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `on_progress` before each key, and about every 16 MiB within a series. With
    /// [`ControlFlow::Break`] the verification ends with [`ErrorKind::Cancelled`].
    pub fn on_progress(
        mut self,
        on_progress: impl FnMut(&VerifyProgress) -> ControlFlow<()> + 'a,
    ) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }
}

impl fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions").finish_non_exhaustive()
    }
}

/// The progress of a verification.
///
/// `Display` prints one line: `net/v: 3 keys, 12000 records`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::ops::ControlFlow;
///
/// use simrecorder::{VerifyOptions, VerifyProgress};
///
/// let options = VerifyOptions::new().on_progress(|progress: &VerifyProgress| {
///     eprintln!("reading {} after {} records", progress.key, progress.record_count);
///     ControlFlow::Continue(())
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The key that is read next.
    pub key: Key,
    /// The number of keys before it.
    pub key_count: u64,
    /// The number of records that were read, including those of this key.
    pub record_count: u64,
}

impl fmt::Display for VerifyProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, records) = (self.key_count, self.record_count);
        write!(f, "{}: {keys} keys, {records} records", self.key)
    }
}

struct Verifier<'a> {
    store: &'a dyn DataStore,
    on_progress: Option<OnProgress<'a>>,
    progress: VerifyProgress,
}

impl Verifier<'_> {
    fn tell(&mut self) -> Result<()> {
        if let Some(on_progress) = &mut self.on_progress
            && on_progress(&self.progress).is_break()
        {
            let message = "the caller stopped the verification before everything was read";
            return Err(Error::new(ErrorKind::Cancelled, "verify", message));
        }
        Ok(())
    }

    fn verify_key(&mut self, key: Key, kind: NodeKind) -> Result<VerifiedKey> {
        self.progress.key = key.clone();
        self.tell()?;
        let mut verified = VerifiedKey {
            key,
            kind,
            record_count: 0,
            damage: Vec::new(),
        };
        let result = match self.store.node(&verified.key) {
            Ok(Some(Node::Series(view))) => {
                let before = self.progress.record_count;
                verified.check_series(&*view, |record| {
                    self.progress.record_count = before.saturating_add(record);
                    self.tell()
                })?;
                Ok(())
            }
            Ok(Some(Node::Value { value, .. })) => value.map(drop),
            Ok(Some(Node::Group { attributes })) => match timeline_of(&attributes) {
                Some(coordinate) => verified.check_timeline(self.store, coordinate),
                None => Ok(()),
            },
            Ok(None) => Err(gone()),
            Ok(Some(Node::Unreadable { error, .. })) | Err(error) => Err(error),
        };
        if let Err(error) = result {
            verified.add(None, error);
        }
        self.progress.key_count += 1;
        Ok(verified)
    }
}

fn gone() -> Error {
    let message = "the key is listed, but nothing is stored there";
    Error::new(ErrorKind::NotFound, "verify", message)
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, "verify", message)
}

/// The first tick whose coordinate is not larger than the previous one.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if the series is not a coordinate of a timeline; otherwise the error of the store.
pub(super) fn disorder_of(ticks: &View) -> Result<Option<u64>> {
    match ticks.dtype() {
        Some(DType::F64) => first_disorder::<f64>(ticks),
        Some(DType::I64) => first_disorder::<i64>(ticks),
        Some(DType::U64) => first_disorder::<u64>(ticks),
        _ => {
            let (name, schema) = (ticks.key().name(), ticks.schema());
            Err(corrupt(format!("the coordinate '{name}' holds {schema}")))
        }
    }
}

/// The first element that is not larger than the previous one.
fn first_disorder<T: Element + PartialOrd>(ticks: &View) -> Result<Option<u64>> {
    let mut last = None;
    let mut start = 0;
    while start < ticks.len() {
        let end = ticks.len().min(start + READ_BYTES / size_of::<T>() as u64);
        let part = ticks.select(start as isize..end as isize)?.read::<T>()?;
        for (index, &tick) in part.iter().enumerate() {
            if last.is_some_and(|last| last >= tick) || tick.partial_cmp(&tick).is_none() {
                return Ok(Some(start + index as u64));
            }
            last = Some(tick);
        }
        start = end;
    }
    Ok(None)
}

/// The result of [`verify()`].
///
/// `Display` prints a line for each damaged key, and a line with the totals.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, verify};
///
/// let store = InMemoryDataStore::new();
/// Recorder::new(store.clone()).record("net/rate", 0.5)?;
/// let report = verify(&store)?;
/// assert!(report.is_sound());
/// assert_eq!(report.keys.len(), 3); // the root, net and net/rate
/// println!("{report}");
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// All keys, sound and damaged, including the root; groups are before their contents.
    pub keys: Vec<VerifiedKey>,
}

impl VerifyReport {
    /// Whether everything could be read.
    pub fn is_sound(&self) -> bool {
        self.damaged().next().is_none()
    }

    /// Iterates over the damaged keys.
    pub fn damaged(&self) -> impl Iterator<Item = &VerifiedKey> {
        self.keys.iter().filter(|key| !key.is_sound())
    }
}

/// A line for each damaged key, and a line with the totals.
impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in self.damaged() {
            writeln!(f, "{key}")?;
        }
        let records = self.keys.iter().map(|key| key.record_count);
        let records = records.fold(0, u64::saturating_add);
        let (keys, damaged) = (self.keys.len(), self.damaged().count());
        write!(f, "{keys} keys with {records} records, {damaged} damaged")
    }
}

/// A key in a [`VerifyReport`]. `Display` prints its kind and what is damaged.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, verify};
///
/// let store = InMemoryDataStore::new();
/// Recorder::new(store.clone()).record("net/rate", 0.5)?;
/// for key in verify(&store)?.keys {
///     println!("{}: {} records, {} damaged parts", key.key, key.record_count, key.damage.len());
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifiedKey {
    /// The key.
    pub key: Key,
    /// The kind of the node.
    pub kind: NodeKind,
    /// The number of records of a series, including damaged ones.
    pub record_count: u64,
    /// The damaged parts, in order.
    pub damage: Vec<Damage>,
}

/// A damaged part of a key.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::VerifyReport;
///
/// fn print_lost_records(report: &VerifyReport) {
///     for key in report.damaged() {
///         for records in key.damage.iter().filter_map(|damage| damage.records.clone()) {
///             println!("{}: records {} to {}", key.key, records.start, records.end - 1);
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// The indices of the records, as for [`View::get`](crate::View#method.get): all records in damaged chunks, or up
    /// to 64 records of variable size around a damaged one. `None` if the key itself, its value or its attributes are
    /// damaged.
    pub records: Option<Range<u64>>,
    /// The error of reading them; of several chunks, that of the first.
    pub error: Error,
}

impl VerifiedKey {
    /// Whether everything could be read.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    fn add(&mut self, records: Option<Range<u64>>, error: Error) {
        // Merges damage in a row, so that a million damaged chunks are one entry.
        let last = self.damage.last_mut().and_then(|it| it.records.as_mut());
        match (last, &records) {
            (Some(last), Some(records)) if last.end == records.start => last.end = records.end,
            _ => self.damage.push(Damage { records, error }),
        }
    }

    /// Checks that all series of a timeline have as many records as it has ticks, and that its coordinate
    /// increases.
    fn check_timeline(&mut self, store: &dyn DataStore, coordinate: &str) -> Result<()> {
        let Some(Ok(group)) = Group::load(store, &self.key)? else {
            return Err(gone());
        };
        let Some(ticks) = group.view(coordinate) else {
            let message = format!("the coordinate '{coordinate}' of this timeline is missing");
            return Err(corrupt(message));
        };
        let end = |view: &View| view.first_record() + view.len();
        for (name, view) in group.series().filter(|(_, view)| end(view) != end(ticks)) {
            let message = format!(
                "the series '{name}' has {} records, its timeline has {} ticks",
                end(view),
                end(ticks)
            );
            self.add(None, corrupt(message));
        }
        match disorder_of(ticks)? {
            Some(tick) => {
                let message = format!(
                    "the coordinate '{coordinate}' does not increase at tick {}",
                    ticks.first_record() + tick
                );
                Err(corrupt(message))
            }
            None => Ok(()),
        }
    }

    /// Reads the records of a series: many at once while they are sound, fewer and fewer near damage, and only samples
    /// after many damaged ones. Calls `tell` before each part with its first record.
    fn check_series(
        &mut self,
        view: &dyn ArrayView,
        mut tell: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        self.record_count = view.len();
        let chunk = view.chunk_shape().first().copied().unwrap_or(1).max(1);
        let record_bytes = view.schema().record_bytes().unwrap_or(0).max(1) as u64;
        let (least, span) = match view.schema().kind().is_fixed() {
            true => (chunk, READ_BYTES / record_bytes),
            // A chunk of ends covers very many records, whose items are in other chunks.
            false => (chunk.min(LEAST_RECORDS), chunk),
        };
        let span = (span / least).max(1).saturating_mul(least);
        // Filled records are not stored.
        let first = view.filled() / least * least;
        let (mut start, mut step, mut failures) = (first, span, 0_u32);
        while start < self.record_count {
            tell(start)?;
            let growth = failures.saturating_sub(PATIENCE).min(63);
            let len = match growth {
                0 => step,
                _ => least.saturating_mul(1 << growth),
            };
            let end = self.record_count.min(start.saturating_add(len));
            let sample = match growth {
                0 => start..end,
                _ => start.max((end - 1) / least * least)..end,
            };
            match view.check_records(sample) {
                // Goes back to the records before the sound sample.
                Ok(()) if growth > 0 => failures = 0,
                Ok(()) => {
                    (start, failures) = (end, 0);
                    step = span.min(step.saturating_mul(2));
                }
                Err(_) if growth == 0 && step > least => step = (step / 2 / least).max(1) * least,
                Err(error) => {
                    self.add(Some(start..end), error);
                    start = end;
                    failures += 1;
                }
            }
        }
        tell(self.record_count)
    }
}

/// The kind and the key, and a line for each damaged part.
impl fmt::Display for VerifiedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.kind, self.key)?;
        if self.kind == NodeKind::Series {
            write!(f, " of {} records", self.record_count)?;
        }
        if self.is_sound() {
            return write!(f, ": sound");
        }
        for Damage { records, error } in &self.damage {
            match records {
                Some(Range { start, end }) => write!(f, "\n  records {start}..{end}: {error}")?,
                None => write!(f, "\n  {error}")?,
            }
        }
        Ok(())
    }
}
