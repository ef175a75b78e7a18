//! Moving records from a store with many writers into another store.

mod series;
mod timeline;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use timeline::Timelines;

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::record::IntoValue;
use crate::model::schema::Attributes;
use crate::reading::view::View;
use crate::recorder::timeline_of;
use crate::store::commit::{Change, Commit};
use crate::store::data_store::DataStore;
use crate::store::data_store::DataStoreExt;
use crate::store::errors;
use crate::store::node::{Child, Node};
use crate::store::shared::SharedStore;
use crate::tools::copy::reader::{CHANGE_BYTES, COMMIT_BYTES, prepare};
use crate::tools::key_patterns::KeyPatterns;
use crate::tools::target_clash;

/// Moves the records of all series from one store into another, even while processes write to the first. Use it to
/// move records from a server into a file before the server's memory is full.
///
/// The source frees records as soon as the target has committed them. New views of the source then begin at the first
/// remaining record, whose index is [`first_record`](crate::backend::SharedView::first_record). Groups, values and
/// attributes are copied and remain. Records are cut into chunks and compressed as the target was set to.
///
/// One call moves the records that exist when it begins; call it again to move later ones. If it is interrupted at any
/// point, even by a kill, the next call continues without losing or duplicating a record, because the length of a
/// series in the target says how many of its records were moved. Therefore the target must contain nothing else at
/// these keys, no other program may write there, and only one drain may run at a time. Records that the target already
/// has are freed in the source only after a comparison of all of them, as the target rounds them.
///
/// - The series of a timeline are moved together. They have the same ticks in the target at every moment, and in the
///   source too if all of them are selected. Selecting one of them also selects the coordinate.
/// - Only records that are durable in the source are moved: see [`SharedStore::read_durable`]. With a server that
///   syncs every second, this takes a second or two.
/// - Moved records are as durable as commits of the target: see [`Durability`](crate::Durability).
/// - It uses about 30 MiB of memory, or a few times the largest record or value if that is more.
/// - It does no checkpoint. Call [`DataStore::checkpoint`] or close the target so that other software sees the last
///   records.
///
/// ```no_run
/// # use simrecorder_core as simrecorder;
/// # fn stores() -> (simrecorder_core::InMemoryDataStore, simrecorder_core::InMemoryDataStore) {
/// #     Default::default()
/// # }
/// use std::ops::ControlFlow;
/// use std::time::Duration;
///
/// use simrecorder::{DrainOptions, drain};
///
/// let (server, file) = stores(); // RedisDataStore::append(url)?, ZarrDataStore::append(path)?
/// loop {
///     let options = DrainOptions::new().on_progress(|progress| {
///         eprintln!("{progress}");
///         ControlFlow::Continue(())
///     });
///     drain(&server, &file, options)?;
///     std::thread::sleep(Duration::from_secs(10));
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::Unsupported`] if the source cannot free records; [`ErrorKind::ReadOnly`] or
///   [`ErrorKind::Closed`] if one of the two is not open for writing.
/// - [`ErrorKind::NotFound`] if the source has nothing at the key of [`DrainOptions::only`], or if a pattern of
///   [`DrainOptions::include`] matches no key; [`ErrorKind::InvalidArgument`] names a pattern that is not valid.
/// - [`ErrorKind::KindMismatch`] or [`ErrorKind::SchemaMismatch`] if the target has another node or other records at a
///   key.
/// - [`ErrorKind::Diverged`] if the target lacks records that were freed, has more records than the source, or has
///   different ones. Then nothing of that series is freed.
/// - [`ErrorKind::Cancelled`], and the errors of both stores. Records that were moved before remain in the target.
pub fn drain(
    from: &dyn DataStore,
    to: &dyn DataStore,
    options: DrainOptions<'_>,
) -> Result<DrainProgress> {
    if to.is_read_only() {
        return Err(errors::read_only("drain"));
    }
    let Some(shared) = from.as_shared() else {
        let message = "this store cannot free records; copy from it instead";
        return Err(Error::new(ErrorKind::Unsupported, "drain", message));
    };
    let DrainOptions {
        patterns,
        on_progress,
    } = options;
    let mut drain = Drain {
        from,
        shared,
        to,
        on_progress,
        progress: DrainProgress {
            key: Key::ROOT,
            key_count: 0,
            record_count: 0,
            bytes: 0,
        },
        changes: Vec::new(),
        bytes: 0,
        moved: BTreeMap::new(),
    };
    let mut found = Vec::new();
    shared.read_durable(&mut || {
        found = look(from, &patterns)?;
        Ok(())
    })?;
    let mut timelines = Timelines::default();
    for (key, found) in found {
        let done = match found {
            SourceNode::Group(timeline) => {
                timelines.add_group(&key, timeline);
                drain.copy_group(&key)
            }
            SourceNode::Value => drain.copy_value(&key),
            SourceNode::Series(view) => match timelines.add_series(view) {
                None => Ok(()),
                Some(view) => drain.move_series(&view),
            },
        };
        done.map_err(|e| e.with_key(key.as_str()))?;
    }
    for (key, views) in timelines.into_views() {
        let moved = drain.move_timeline(&views);
        moved.map_err(|e| e.with_key(key.as_str()))?;
    }
    drain.commit()?;
    Ok(drain.progress)
}

/// A node of the source.
enum SourceNode {
    /// A group, and whether it is a timeline.
    Group(bool),
    Value,
    Series(View),
}

/// How often the source is listed again because a key was created or removed in between.
const MAX_LOOKS: usize = 8;

/// Lists what the patterns select. If a series joins a timeline in between, the list has either all series of the
/// timeline, or those from before.
fn look(from: &dyn DataStore, patterns: &KeyPatterns) -> Result<Vec<(Key, SourceNode)>> {
    let mut selected = patterns.select_for_copy(from, "drain")?;
    for _ in 1..MAX_LOOKS {
        let found = look_at(from, &selected)?;
        let now = patterns.select_for_copy(from, "drain")?;
        if now == selected {
            return Ok(found);
        }
        selected = now;
    }
    look_at(from, &selected)
}

fn look_at(from: &dyn DataStore, selected: &[Child]) -> Result<Vec<(Key, SourceNode)>> {
    let mut found = Vec::new();
    for key in selected.iter().map(|child| child.key.clone()) {
        let node = from
            .node(&key)?
            .ok_or_else(|| errors::nothing_at("drain").with_key(key.as_str()))?;
        let what = match node {
            Node::Group { attributes } => SourceNode::Group(timeline_of(&attributes).is_some()),
            Node::Value { .. } => SourceNode::Value,
            Node::Series(view) => SourceNode::Series(view),
            Node::Unreadable { error, .. } => return Err(error),
        };
        found.push((key, what));
    }
    Ok(found)
}

type OnProgress<'a> = Box<dyn FnMut(&DrainProgress) -> ControlFlow<()> + 'a>;

struct Drain<'a> {
    from: &'a dyn DataStore,
    shared: &'a dyn SharedStore,
    to: &'a dyn DataStore,
    on_progress: Option<OnProgress<'a>>,
    /// The progress once all changes so far are committed.
    progress: DrainProgress,
    /// The changes of the next commit, and what they count.
    changes: Vec<Change>,
    bytes: usize,
    /// Up to which record the source may free each series after that commit.
    moved: BTreeMap<Key, u64>,
}

impl Drain<'_> {
    fn copy_group(&mut self, key: &Key) -> Result<()> {
        if let Some(there) = self.to.node(key)?.map(|node| node.kind())
            && there != NodeKind::Group
        {
            return Err(target_clash("drain", NodeKind::Group, there));
        }
        let before = self.to.attributes(key)?;
        let now = self.from.attributes(key)?.unwrap_or_default();
        let mut attributes = before.clone().unwrap_or_default();
        attributes.extend(now);
        self.set_attributes(key, before, attributes)
    }

    fn set_attributes(
        &mut self,
        key: &Key,
        before: Option<Attributes>,
        attributes: Attributes,
    ) -> Result<()> {
        if before.is_some_and(|before| before == attributes) {
            return Ok(());
        }
        let set = Change::SetAttributes {
            key: key.clone(),
            attributes: Arc::new(attributes),
        };
        self.add(set, 0)
    }

    fn copy_value(&mut self, key: &Key) -> Result<()> {
        // It may have been set to another value, but not removed.
        let Some(Node::Value { value, attributes }) = self.from.node(key)? else {
            return Ok(());
        };
        let value = value?;
        // A value that this commit creates has attributes only after the commit.
        let (is_new, before) = match self.to.node(key)? {
            Some(Node::Value {
                value: there,
                attributes,
            }) => {
                let there = there?;
                let is_new = there != value || there.dimension_names() != value.dimension_names();
                (is_new, Some(attributes))
            }
            Some(other) => return Err(target_clash("drain", NodeKind::Value, other.kind())),
            None => (true, Some(Attributes::new())),
        };
        if is_new {
            self.to.plan(key, None)?;
            let bytes = value.as_record()?.data.len();
            let set = Change::Set {
                key: key.clone(),
                value: Arc::new(value),
            };
            self.add(set, bytes)?;
        }
        self.progress.key_count += 1;
        self.set_attributes(key, before, attributes)
    }

    /// Adds a change, and commits all changes once they have the size of a commit.
    fn add(&mut self, change: Change, bytes: usize) -> Result<()> {
        self.push(change, bytes);
        self.commit_if_large()
    }

    /// Adds a change, which is committed with those that follow.
    fn push(&mut self, change: Change, bytes: usize) {
        self.progress.key = change.key().clone();
        self.progress.bytes += bytes as u64;
        self.changes.push(change);
        self.bytes += bytes + CHANGE_BYTES;
    }

    fn commit_if_large(&mut self) -> Result<()> {
        match self.bytes >= COMMIT_BYTES {
            true => self.commit(),
            false => Ok(()),
        }
    }

    /// Commits to the target, and then frees in the source.
    fn commit(&mut self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut changes = std::mem::take(&mut self.changes);
        self.bytes = 0;
        prepare(self.to, changes.iter_mut())?;
        self.to.commit(Commit::new(changes))?;
        let moved: Vec<_> = std::mem::take(&mut self.moved).into_iter().collect();
        self.shared.free(&moved)?;
        if let Some(on_progress) = &mut self.on_progress
            && on_progress(&self.progress).is_break()
        {
            let message = "the drain was stopped; another drain continues from there";
            return Err(Error::new(ErrorKind::Cancelled, "drain", message));
        }
        Ok(())
    }
}

/// Options of [`drain`].
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{DrainOptions, Key};
///
/// // Everything in the group of this worker except its log.
/// let options = DrainOptions::new().only(Key::new("workers/7")?).exclude("**/log");
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// | option | default |
/// |---|---|
/// | [`only`](Self::only) | everything |
/// | [`include`](Self::include), [`exclude`](Self::exclude) | all keys |
/// | [`on_progress`](Self::on_progress) | no callback |
#[must_use]
pub struct DrainOptions<'a> {
    patterns: KeyPatterns,
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> DrainOptions<'a> {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self {
            patterns: KeyPatterns::new(),
            on_progress: None,
        }
    }

    /// Moves only `key` and the keys below it.
    pub fn only(mut self, key: Key) -> Self {
        self.patterns.only = key;
        self
    }

    /// Moves only values and series whose keys match `pattern`, or the pattern of another call. Patterns are those of
    /// [`CopyOptions::include`](crate::CopyOptions::include). The next drain may have other patterns. A pattern that
    /// matches no key yet is [`ErrorKind::NotFound`].
    pub fn include(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.include.push(pattern.into());
        self
    }

    /// Does not move the values and series whose keys match `pattern`, even those that are [included](Self::include).
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.exclude.push(pattern.into());
        self
    }

    /// Calls `on_progress` after each commit, on the thread that called [`drain`]. With
    /// [`ControlFlow::Break`] the drain ends with [`ErrorKind::Cancelled`].
    pub fn on_progress(
        mut self,
        on_progress: impl FnMut(&DrainProgress) -> ControlFlow<()> + 'a,
    ) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }
}

impl Default for DrainOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DrainOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainOptions")
            .field("patterns", &self.patterns)
            .finish_non_exhaustive()
    }
}

/// The progress of a drain: what the target has committed and the source has freed. [`drain`] returns the last one.
///
/// `Display` prints one line: `net/v: 3 keys, 12000 records, 34.1 MiB`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::ops::ControlFlow;
///
/// use simrecorder::{DrainOptions, DrainProgress};
///
/// let options = DrainOptions::new().on_progress(|progress: &DrainProgress| {
///     eprintln!("{progress}");
///     match progress.record_count {
///         0..1_000_000 => ControlFlow::Continue(()),
///         _ => ControlFlow::Break(()), // enough for this time
///     }
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainProgress {
    /// The key that was moved last; the root if there was none.
    pub key: Key,
    /// The number of values and series that are done.
    pub key_count: u64,
    /// The number of moved records of all series.
    pub record_count: u64,
    /// The size in bytes of the records and values that were passed to the target.
    pub bytes: u64,
}

impl fmt::Display for DrainProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} keys, {} records, {:.1} MiB",
            self.key,
            self.key_count,
            self.record_count,
            self.bytes as f64 / (1 << 20) as f64
        )
    }
}
