//! Reading all of a recording to find out what of it is damaged.

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

/// About so many bytes are read at once.
const READ_BYTES: u64 = 16 << 20;

/// If so many chunks in a row are damaged, not all that follow are tried: a damaged length may be
/// anything.
const PATIENCE: u32 = 1000;

/// Of records without a fixed size, so many in a row are damaged if one of them is.
const LEAST_RECORDS: u64 = 64;

/// Reads everything in a store, and reports for each key what can be read and what cannot.
///
/// It continues after any damage, so that the report names all damage. (Only after a thousand
/// damaged chunks in a row, samples decide about more and more of what follows, until one is
/// sound.) Nothing is changed.
/// Which damage shows depends on the backend: whatever is not found or cannot be decoded, and what
/// differs from its checksum where there is one, as `docs/reliability.md` says. What is written
/// meanwhile is read as it is when its turn comes. At the group of a timeline, the report says which series
/// are out of step, and whether the coordinate increases.
///
/// ```
/// use simrecorder_core::{InMemoryDataStore, Recorder, verify};
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
/// If not even the root can be listed. Whatever fails below it is in the report.
pub fn verify(store: &dyn DataStore) -> Result<VerifyReport> {
    verify_with(store, VerifyOptions::new())
}

/// Does what [`verify`] does, and tells how far it is.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use simrecorder_core::{InMemoryDataStore, VerifyOptions, verify_with};
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
/// As [`verify`], and [`ErrorKind::Cancelled`].
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

/// How [`verify_with`] works.
///
/// | option | default |
/// |---|---|
/// | [`on_progress`](Self::on_progress) | nobody is told |
#[derive(Default)]
#[must_use]
pub struct VerifyOptions<'a> {
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> VerifyOptions<'a> {
    /// Everything is read, and nobody is told how far it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `on_progress` before each key, and about every 16 MiB within one. With
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

/// How far a verification is.
///
/// `Display` gives one line: `net/v: 3 keys, 12000 records`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The key that is read.
    pub key: Key,
    /// How many keys were read before it.
    pub key_count: u64,
    /// How many records were read, those of this key included.
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
            let message = "the caller stopped it before everything was read";
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

/// The first tick whose coordinate is not larger than the one before.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if this is no coordinate of a timeline; else what the store reports.
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

/// The first element that is not larger than the one before.
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

/// What [`verify()`] found: each key of a store, groups before what is in them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// All keys, the root among them, sound and damaged.
    pub keys: Vec<VerifiedKey>,
}

impl VerifyReport {
    /// Whether everything could be read.
    pub fn is_sound(&self) -> bool {
        self.damaged().next().is_none()
    }

    /// The keys of which something could not be read.
    pub fn damaged(&self) -> impl Iterator<Item = &VerifiedKey> {
        self.keys.iter().filter(|key| !key.is_sound())
    }
}

/// One line for each damaged key, and one that counts.
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

/// What [`verify()`] found at one key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifiedKey {
    /// The key.
    pub key: Key,
    /// What is there.
    pub kind: NodeKind,
    /// How many records a series has, damaged ones included.
    pub record_count: u64,
    /// What could not be read, in order.
    pub damage: Vec<Damage>,
}

/// What could not be read at a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// The records, counted as [`View::get`](crate::View) counts them: all in the chunks that are
    /// damaged; of records without a fixed size, up to 64 around one that is. `None` if it is the
    /// key itself, its value or its attributes.
    pub records: Option<Range<u64>>,
    /// What reading them reported; for records in many chunks, what the first one did.
    pub error: Error,
}

impl VerifiedKey {
    /// Whether everything could be read.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    fn add(&mut self, records: Option<Range<u64>>, error: Error) {
        // A million damaged chunks in a row are one entry.
        let last = self.damage.last_mut().and_then(|it| it.records.as_mut());
        match (last, &records) {
            (Some(last), Some(records)) if last.end == records.start => last.end = records.end,
            _ => self.damage.push(Damage { records, error }),
        }
    }

    /// Looks whether all series of a timeline have as many records as it has ticks, and whether its
    /// coordinate increases.
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

    /// Reads the records of a series, many at once while they are sound, fewer and fewer of them where
    /// some are not, and samples after many damaged ones. Before each part, `tell` gets its first record.
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
            // A chunk of ends has very many records, whose items are in other chunks.
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
                // So the records before the sample are to be looked at.
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

/// `Key: kind, what is damaged`.
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
