//! Moving records from a store that many write to into one that keeps them.

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

/// Moves the records of all series from one store into another, whatever the two are, while
/// others may continue to write to the first: from a server into a file, before its memory is full.
///
/// Records are freed in the source as soon as the target has committed them. Views of the source
/// then begin at the first record that is left, and tell its index as
/// [`first_record`](crate::backend::SharedView::first_record). Groups, values and attributes are copied and stay.
/// Series are cut into chunks and compressed as the target is set to.
///
/// One call moves what is there when it begins; call it again for what came since. It may end at
/// any moment, also by a kill: the length of a series in the target says how far it came, so that
/// the next call neither loses nor doubles a record. So the target holds nothing else at these
/// keys, nobody else writes to it there, and one drain runs at a time. What the target has
/// already is freed in the source only after a comparison of all its records, as the target rounds
/// them.
///
/// - Series of a timeline are moved together, so that they have the same ticks in the target at every moment,
///   and in the source if all are selected. With a selected series, its coordinate is selected.
/// - Only what the source cannot lose any more is moved: see [`SharedStore::read_durable`]. For a
///   server that syncs every second that takes a second or two.
/// - What the target's commit survives, the records survive: see [`Durability`](crate::Durability).
/// - It takes about 30 MiB of memory, and a few times the largest record or value if that is more.
/// - It does no checkpoint: call [`DataStore::checkpoint`], or close the target, when other
///   software is to read the last records.
///
/// ```no_run
/// # fn stores() -> (simrecorder_core::InMemoryDataStore, simrecorder_core::InMemoryDataStore) {
/// #     Default::default()
/// # }
/// use std::ops::ControlFlow;
/// use std::time::Duration;
///
/// use simrecorder_core::{DrainOptions, drain};
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
/// - [`ErrorKind::NotFound`] if the source has nothing at the key that [`DrainOptions::only`] names, or
///   nothing that a pattern [includes](DrainOptions::include); [`ErrorKind::InvalidArgument`] names a
///   pattern that is none.
/// - [`ErrorKind::KindMismatch`] or [`ErrorKind::SchemaMismatch`] if the target has something else
///   at a key.
/// - [`ErrorKind::Diverged`] if the target has not the records that were freed, has more than the
///   source, or has other ones. Nothing of that series is freed then.
/// - [`ErrorKind::Cancelled`], and what either store reports. What was moved by then is moved.
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

/// How often a source is looked at again because a key was created or removed meanwhile.
const MAX_LOOKS: usize = 8;

/// What the patterns select. A series that joins a timeline meanwhile is seen, or all others before it did.
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
    /// How far it is when all changes so far are committed.
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
        // The attributes of a value that this commit makes are there only after it.
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

    /// Adds a change, and commits all of them once they are enough.
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

/// What [`drain`] moves.
///
/// | option | default |
/// |---|---|
/// | [`only`](Self::only) | everything |
/// | [`include`](Self::include), [`exclude`](Self::exclude) | all keys |
/// | [`on_progress`](Self::on_progress) | nobody is told |
#[must_use]
pub struct DrainOptions<'a> {
    patterns: KeyPatterns,
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> DrainOptions<'a> {
    /// Everything.
    pub fn new() -> Self {
        Self {
            patterns: KeyPatterns::new(),
            on_progress: None,
        }
    }

    /// Moves only what is at `key` and below.
    pub fn only(mut self, key: Key) -> Self {
        self.patterns.only = key;
        self
    }

    /// Moves the values and series whose keys match `pattern`, or a pattern of another call, as
    /// [`CopyOptions::include`](crate::CopyOptions::include) says. The next drain may have other
    /// patterns. A pattern that matches nothing yet is [`ErrorKind::NotFound`].
    pub fn include(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.include.push(pattern.into());
        self
    }

    /// Leaves the values and series whose keys match `pattern` where they are, also those that are
    /// [included](Self::include).
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

/// How far a drain has come: what is committed, and freed in the source.
///
/// `Display` gives one line: `net/v: 3 keys, 12000 records, 34.1 MiB`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainProgress {
    /// The key that was worked on last; the root if there was none.
    pub key: Key,
    /// How many values and series were done.
    pub key_count: u64,
    /// How many records were moved, of all series together.
    pub record_count: u64,
    /// The bytes of the records and values that the target was given.
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
