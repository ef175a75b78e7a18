//! Copying from one store into another.

mod plan;
mod progress;
pub(crate) mod reader;

use std::fmt;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

pub(in crate::tools) use plan::select;
pub use progress::CopyProgress;
use progress::{cancelled, no_thread};
use reader::Reader;

use crate::backend::fork::check_threads_start;
use crate::error::Result;
use crate::model::key::Key;
use crate::reading::coordinate::CoordinateRange;
use crate::store::commit::Commit;
use crate::store::data_store::DataStore;
use crate::store::encoded::EncodedChange;
use crate::store::errors;
use crate::store::node::Child;
use crate::tools::key_patterns::KeyPatterns;
use crate::tools::verify::VerifyOptions;

/// Copies a recording, or a part of it, from any store into any other.
///
/// It copies groups, values and series, with their attributes and schemas. Between two Zarr recordings, in LMDB or in a
/// directory, it copies chunks without decoding them, so the copy has the chunk shapes and the compression of the
/// original. All other records are decoded, and encoded as the target was set to.
///
/// When the function returns, the copy is complete, durable, and in the form that other software reads, since it ends
/// with a [`checkpoint`](DataStore::checkpoint). It closes neither store.
///
/// - The target may contain other keys. A group in both gets the attributes of both; for equal names, those of the
///   source.
/// - The source may be written at the same time, even by another process. Each series is copied up to the length that
///   it had when the copy began. New keys are left out. Each value is copied as it is when the copy reaches it.
/// - All series of a timeline are copied up to the same tick. Selecting one of them also selects the coordinate. The
///   group in the target becomes a timeline when all series are complete.
/// - It uses about 100 MiB of memory, or a few times the largest record, chunk or value if that is more. The target
///   gets commits of about 8 MiB.
/// - Damage in chunks that are not decoded is copied too, and is found when the copy is read. With
///   [`reencode`](CopyOptions::reencode), every chunk is decoded.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::ops::ControlFlow;
///
/// use simrecorder::{CopyOptions, InMemoryDataStore, Recorder, copy, prelude::*};
///
/// let (from, to) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// let recorder = Recorder::new(from.clone());
/// recorder.record("net/rate", 0.5)?;
/// recorder.close()?;
///
/// let options = CopyOptions::new().on_progress(|progress| {
///     eprintln!("{progress}");
///     ControlFlow::Continue(())
/// });
/// let copied = copy(&from, &to, options)?;
/// assert_eq!((copied.key_count, copied.record_count), (1, 1));
/// assert_eq!(Recorder::new(to).get_all("net/rate")?.shape(), [1]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Errors
/// Before anything is written:
/// - [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if the target already has one of the values or
///   series, or series in the group of a timeline,
///   [`ErrorKind::KindMismatch`](crate::ErrorKind::KindMismatch) if it has a node of another kind there;
/// - [`ErrorKind::InvalidKey`](crate::ErrorKind::InvalidKey) or another error of [`DataStore::plan`] if the target does
///   not support a key or a schema;
/// - [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) or [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the
///   target is not open for writing;
/// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the source has nothing at the key of [`CopyOptions::only`],
///   if a pattern of [`CopyOptions::include`] matches no key, or if all keys are excluded;
/// - [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) names a pattern that is not valid.
///
/// Later: the errors of both stores, and [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). The target then contains
/// a partial copy: a part of the keys, the last of which may be incomplete. Delete it and copy again.
pub fn copy(
    from: &dyn DataStore,
    to: &dyn DataStore,
    options: CopyOptions<'_>,
) -> Result<CopyProgress> {
    let selected = select(from, &options.patterns, "copy")?;
    copy_selected(from, to, selected, options)
}

/// Copies these keys, and ignores the patterns.
pub(in crate::tools) fn copy_selected(
    from: &dyn DataStore,
    to: &dyn DataStore,
    selected: Vec<Child>,
    options: CopyOptions<'_>,
) -> Result<CopyProgress> {
    if to.is_read_only() {
        return Err(errors::read_only("copy"));
    }
    let CopyOptions {
        ranges,
        reencode,
        on_progress,
        ..
    } = options;
    let planned = plan::plan(from, to, selected, &ranges, reencode)?;
    let start = CopyProgress::start(&planned);
    // Reads and encodes one commit while the target writes the previous one.
    let (sender, commits) = sync_channel(0);
    let reader = Reader::new(from, to, reencode, sender, start.clone());
    let copied = thread::scope(|scope| {
        let thread = thread::Builder::new().name("simrecorder-copy".to_owned());
        let reading = check_threads_start()
            .and_then(|()| thread.spawn_scoped(scope, || reader.run(planned)))
            .map_err(no_thread)?;
        let committed = commit_all(to, commits, start, on_progress);
        // Had a commit failed, the reader would have stopped because of that.
        let read = reading.join().unwrap_or_else(|panic| resume_unwind(panic));
        committed.and_then(|copied| read.map(|()| copied))
    })?;
    to.checkpoint()?;
    Ok(copied)
}

type OnProgress<'a> = Box<dyn FnMut(&CopyProgress) -> ControlFlow<()> + 'a>;

/// Commits what the reader sends; returns the progress.
fn commit_all(
    to: &dyn DataStore,
    commits: Receiver<(Vec<EncodedChange>, CopyProgress)>,
    mut copied: CopyProgress,
    mut on_progress: Option<OnProgress<'_>>,
) -> Result<CopyProgress> {
    for (changes, progress) in commits {
        match to.as_encoded() {
            Some(to) => to.commit_encoded(changes)?,
            None => {
                let plain = changes.into_iter().filter_map(EncodedChange::into_plain);
                to.commit(Commit::new(plain.collect()))?;
            }
        }
        copied = progress;
        if let Some(on_progress) = &mut on_progress
            && on_progress(&copied).is_break()
        {
            return Err(cancelled());
        }
    }
    Ok(copied)
}

/// Options of [`copy`], and of [`recover`](crate::recover()).
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CopyOptions, InMemoryDataStore, Recorder, copy};
///
/// let (from, to) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// let recorder = Recorder::new(from.clone());
/// recorder.record("net/rate", 0.5)?;
/// recorder.record("net/spikes", 12_u32)?;
/// recorder.close()?;
/// let copied = copy(&from, &to, CopyOptions::new().include("**/rate"))?;
/// assert_eq!(copied.key_count, 1);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// | option | default |
/// |---|---|
/// | [`only`](Self::only) | everything |
/// | [`include`](Self::include), [`exclude`](Self::exclude) | all keys |
/// | [`select_by`](Self::select_by) | all ticks |
/// | [`reencode`](Self::reencode) | chunks are copied without decoding |
/// | [`on_progress`](Self::on_progress) | no callback |
#[must_use]
pub struct CopyOptions<'a> {
    patterns: KeyPatterns,
    ranges: Vec<(String, CoordinateRange)>,
    reencode: bool,
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> CopyOptions<'a> {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self {
            patterns: KeyPatterns::new(),
            ranges: Vec::new(),
            reencode: false,
            on_progress: None,
        }
    }

    pub(in crate::tools) fn patterns(&self) -> &KeyPatterns {
        &self.patterns
    }

    /// Options that report the progress of a verification as that of a copy that has not begun.
    pub(in crate::tools) fn while_verifying(&mut self) -> VerifyOptions<'_> {
        let Some(on_progress) = &mut self.on_progress else {
            return VerifyOptions::new();
        };
        VerifyOptions::new().on_progress(|verified| {
            on_progress(&CopyProgress {
                key: verified.key.clone(),
                ..CopyProgress::start(&[])
            })
        })
    }

    /// Copies only `key` and the keys below it, to the same keys of the target. Missing groups above are created without
    /// attributes.
    pub fn only(mut self, key: Key) -> Self {
        self.patterns.only = key;
        self
    }

    /// Copies only values and series whose keys match `pattern`, or the pattern of another call.
    ///
    /// In a pattern, `*` matches any characters of one level, `?` one character, `**` any number of levels, and `[a-c]`
    /// one of some characters; `[*]`, `[?]` and `[[]` match these characters literally. Patterns match values and
    /// series, not groups: `net/**` matches everything in `net`. The groups above a copied key are copied with their
    /// attributes; other groups are left out.
    ///
    /// It is an error if a pattern matches no value and no series of the source. Nothing is written then.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{CopyOptions, InMemoryDataStore, Recorder, copy};
    ///
    /// let (from, to) = (InMemoryDataStore::new(), InMemoryDataStore::new());
    /// let recorder = Recorder::new(from.clone());
    /// for key in ["net/e/rate", "net/e/spikes", "net/i/rate", "log"] {
    ///     recorder.record(key, 1)?;
    /// }
    /// recorder.close()?;
    ///
    /// copy(&from, &to, CopyOptions::new().include("net/**").exclude("**/spikes"))?;
    /// assert_eq!(
    ///     Recorder::new(to).to_string(),
    ///     "\
    /// /
    /// └── net           group
    ///     ├── e         group
    ///     │   └── rate  series  int32  [1]
    ///     └── i         group
    ///         └── rate  series  int32  [1]"
    /// );
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn include(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.include.push(pattern.into());
        self
    }

    /// Leaves out the values and series whose keys match `pattern`, even those that are
    /// [included](Self::include). They are not read.
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.exclude.push(pattern.into());
        self
    }

    /// Copies, of timelines with the coordinate `name`, only the ticks in `range`, any of Rust's ranges of numbers.
    /// Everything else is copied completely.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{Coordinate, CopyOptions, InMemoryDataStore, Recorder, copy};
    ///
    /// let (from, to) = (InMemoryDataStore::new(), InMemoryDataStore::new());
    /// let recorder = Recorder::new(from.clone());
    /// let mut net = recorder.timeline("net", Coordinate::new("time").units("ms"))?;
    /// for step in 0..100 {
    ///     net.tick(f64::from(step), (("rate", 0.5), ("v", [1.0, 2.0])))?;
    /// }
    /// recorder.close()?;
    ///
    /// copy(&from, &to, CopyOptions::new().include("**/v").select_by("time", 10.0..20.0))?;
    /// let copied = Recorder::new(to);
    /// assert_eq!(copied.get_all("net/v")?.shape(), [10, 2]);
    /// assert_eq!(copied.get_all("net/time")?.get(0)?.scalar::<f64>()?, 10.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`copy`] returns [`NotFound`](crate::ErrorKind::NotFound) if no timeline that it copies has such a coordinate.
    pub fn select_by(mut self, name: impl Into<String>, range: impl Into<CoordinateRange>) -> Self {
        self.ranges.push((name.into(), range.into()));
        self
    }

    /// Decodes every chunk, and encodes it with the chunk shape and the compression of the target. A damaged chunk is
    /// an error.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{CopyOptions, InMemoryDataStore, copy};
    ///
    /// let (from, to) = (InMemoryDataStore::new(), InMemoryDataStore::new());
    /// copy(&from, &to, CopyOptions::new().reencode(true))?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn reencode(mut self, reencode: bool) -> Self {
        self.reencode = reencode;
        self
    }

    /// Calls `on_progress` after each commit, on the thread that called [`copy`]. With
    /// [`ControlFlow::Break`] the copy ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn on_progress(
        mut self,
        on_progress: impl FnMut(&CopyProgress) -> ControlFlow<()> + 'a,
    ) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }
}

impl Default for CopyOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOptions")
            .field("patterns", &self.patterns)
            .field("ranges", &self.ranges)
            .field("reencode", &self.reencode)
            .finish_non_exhaustive()
    }
}
