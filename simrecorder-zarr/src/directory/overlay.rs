//! The contents of the journal, in memory, on top of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::node_path::is_metadata;
use crate::format::recording_id::RecordingId;
use crate::format::shards::{ShardIndex, index_len};
use crate::journal::{Data, Op, Places};

/// Longer bytes stay in the journal, and the overlay stores their place.
const INLINE: usize = 4096;
/// All tails together keep at most this many bytes inline, so that the tails of a hundred thousand
/// series take little memory. The rest stays in the journal.
const INLINE_TAILS: u64 = 8 << 20;
/// The memory for a piece of a tail that stays in the journal.
const PIECE: u64 = size_of::<Piece>() as u64;
/// The approximate memory for an entry, an erasure or a piece of a tail, in addition to its bytes.
const OVERHEAD: u64 = 64;

/// The contents of the journal. For the keys that it covers, it hides the files.
///
/// A clone is a snapshot. Names, values and tails are shared, so each costs a pointer.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    /// The journal that contains the located bytes.
    journal: Option<Arc<File>>,
    /// The recording that the journal names.
    recording: Option<RecordingId>,
    entries: BTreeMap<Arc<str>, Entry>,
    /// No file below one of these paths is visible. No path is below another.
    erased: BTreeSet<Arc<str>>,
    tails: BTreeMap<Arc<str>, Arc<Tail>>,
    held: u64,
    tail_bytes: u64,
    /// The bytes of all inline tails.
    inline_tails: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Set(Blob),
    /// A file of several chunks, with the places of all of them.
    Shard(Arc<ShardIndex>),
    Erased,
}

#[derive(Clone, Debug)]
pub(super) enum Blob {
    Inline(Bytes),
    InJournal { offset: u64, length: u64 },
}

#[derive(Clone, Debug, Default)]
struct Tail {
    pieces: Vec<Piece>,
    length: u64,
    /// The inline bytes.
    inline: u64,
}

#[derive(Clone, Debug)]
enum Piece {
    Inline(Vec<u8>),
    InJournal { offset: u64, length: u64 },
}

/// What the overlay contains for a key.
pub(super) enum Lookup<'a> {
    Set(&'a Blob),
    /// The file is valid, but its index is not.
    Shard(&'a Arc<ShardIndex>),
    Erased,
    /// Nothing: the file is valid.
    File,
}

impl Overlay {
    pub(super) fn new(journal: Option<Arc<File>>) -> Self {
        Self {
            journal,
            ..Self::default()
        }
    }

    /// The recording that the journal names.
    pub(super) fn recording(&self) -> Option<&RecordingId> {
        self.recording.as_ref()
    }

    /// Whether it hides or adds files.
    pub(super) fn has_entries(&self) -> bool {
        !self.entries.is_empty() || !self.erased.is_empty()
    }

    /// The total size of all tails in bytes.
    pub(super) fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    pub(super) fn has_tails(&self) -> bool {
        !self.tails.is_empty()
    }

    /// The approximate memory that it takes.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn lookup(&self, key: &str) -> Lookup<'_> {
        match self.entries.get(key) {
            Some(Entry::Set(blob)) => Lookup::Set(blob),
            Some(Entry::Shard(index)) => Lookup::Shard(index),
            Some(Entry::Erased) => Lookup::Erased,
            None if self.hides_below(parent(key)) => Lookup::Erased,
            None => Lookup::File,
        }
    }

    /// The total size of the entries below a path that are not in files, without metadata.
    pub(super) fn bytes_below(&self, path: &str) -> u64 {
        let first = first_below(path);
        let from = (Bound::Included(first.as_str()), Bound::Unbounded);
        let below = self.entries.range::<str, _>(from);
        let below = below.take_while(|(key, _)| is_below(key, path));
        let entries = below.filter(|(key, _)| !is_metadata(key.as_bytes()));
        let bytes = entries.map(|(_, entry)| match entry {
            Entry::Set(blob) => blob.length(),
            Entry::Shard(_) | Entry::Erased => 0,
        });
        bytes.sum()
    }

    /// Whether the overlay covers a key.
    pub(super) fn covers(&self, key: &str) -> bool {
        !matches!(self.lookup(key), Lookup::File)
    }

    /// Whether it hides the file of a shard for a reason other than its index.
    pub(super) fn hides_shard(&self, key: &str) -> bool {
        matches!(self.lookup(key), Lookup::Set(_) | Lookup::Erased)
    }

    /// Whether an erased path hides all files below `path`.
    pub(super) fn hides_below(&self, path: &str) -> bool {
        !self.erased.is_empty() && ancestors(path).any(|path| self.erased.contains(path))
    }

    /// Whether `path` itself was erased.
    pub(super) fn is_erased_path(&self, path: &str) -> bool {
        self.erased.contains(path)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn erased(&self) -> impl Iterator<Item = &Arc<str>> {
        self.erased.iter()
    }

    pub(super) fn tails(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tails.keys()
    }

    /// Adds the names below `path` that lead to entries of the overlay.
    pub(super) fn children(&self, path: &str, names: &mut BTreeSet<String>) {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let mut from = Bound::Included(prefix.clone());
        loop {
            let range = (from.as_ref().map(String::as_str), Bound::Unbounded);
            let Some((key, entry)) = self.entries.range::<str, _>(range).next() else {
                break;
            };
            let Some(rest) = key.strip_prefix(prefix.as_str()) else {
                break;
            };
            match rest.split_once('/') {
                Some((name, _)) if entry.is_there() => {
                    // `0` is the character after `/`, so this skips all other entries below the
                    // child.
                    from = Bound::Included(format!("{prefix}{name}0"));
                    names.insert(name.to_owned());
                }
                _ => from = Bound::Excluded(key.to_string()),
            }
        }
    }

    pub(super) fn load(&self, blob: &Blob, path: &Path) -> Result<Bytes> {
        match *blob {
            Blob::Inline(ref bytes) => Ok(bytes.clone()),
            Blob::InJournal { offset, length } => {
                let mut bytes = Vec::new();
                self.read(offset, length, &mut bytes, path)?;
                Ok(bytes.into())
            }
        }
    }

    /// The length of a tail in bytes; 0 if there is no tail.
    pub(super) fn tail_len(&self, array: &str) -> u64 {
        self.tails.get(array).map_or(0, |tail| tail.length)
    }

    /// The last `count` bytes of a tail, or all of it if it has fewer.
    pub(super) fn tail(&self, array: &str, count: u64, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let Some(tail) = self.tails.get(array) else {
            return Ok(bytes);
        };
        bytes.reserve_exact(usize::try_from(tail.length.min(count)).unwrap_or(0));
        let mut skipped = tail.length.saturating_sub(count);
        for piece in &tail.pieces {
            let skip = skipped.min(piece.length());
            skipped -= skip;
            match *piece {
                Piece::Inline(ref piece) => bytes.extend_from_slice(&piece[skip as usize..]),
                Piece::InJournal { offset, length } => {
                    self.read(offset + skip, length - skip, &mut bytes, path)?;
                }
            }
        }
        Ok(bytes)
    }

    fn read(&self, offset: u64, length: u64, bytes: &mut Vec<u8>, path: &Path) -> Result<()> {
        let (Some(journal), Ok(length)) = (&self.journal, usize::try_from(length)) else {
            return Err(Error::new(
                ErrorKind::Internal,
                "read",
                "the journal is not open",
            ));
        };
        let start = bytes.len();
        bytes.resize(start + length, 0);
        journal
            .read_exact_at(&mut bytes[start..], offset)
            .map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    Error::new(
                        ErrorKind::Corrupt,
                        "read",
                        "the journal was cut while it was read",
                    )
                    .with_key(path.display().to_string())
                } else {
                    Error::io("read", path, error)
                }
            })
    }

    /// Applies the changes of one record of its journal.
    pub(super) fn apply(&mut self, ops: &[Op<'_>]) {
        for op in ops {
            match *op {
                Op::Set { key, value } => {
                    self.insert(key, Entry::Set(Blob::new(value)));
                }
                Op::Erase { key } => {
                    if self.hides_below(parent(key)) {
                        self.remove(key);
                    } else {
                        self.insert(key, Entry::Erased);
                    }
                }
                Op::ErasePath { path } => self.erase_path(path),
                Op::AppendTail { array, bytes } => self.append_tail(array, bytes),
                Op::ReplaceTailEnd {
                    array,
                    dropped,
                    bytes,
                } => {
                    self.cut_tail(array, dropped);
                    self.append_tail(array, bytes);
                }
                Op::ClearTail { array } => self.remove_tail(array),
                Op::Shard { key, places } => self.set_places(key, places),
                Op::Recording { id } => self.recording = Some(RecordingId::of_text(id)),
            }
        }
    }

    fn set_places(&mut self, key: &str, places: Places<'_>) {
        let mut index = match self.entries.get(key) {
            Some(Entry::Shard(index)) if index.count() == places.count => Arc::clone(index),
            _ => Arc::new(ShardIndex::empty(places.count)),
        };
        let changed = Arc::make_mut(&mut index);
        for (slot, extent) in places.iter() {
            changed.set(slot, extent);
        }
        self.insert(key, Entry::Shard(index));
    }

    fn insert(&mut self, key: &str, entry: Entry) {
        self.held += weight(key, &entry);
        if let Some(old) = self.entries.get_mut(key) {
            self.held -= weight(key, old);
            *old = entry;
        } else {
            self.entries.insert(key.into(), entry);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.entries.remove(key) {
            self.held -= weight(key, &old);
        }
    }

    fn erase_path(&mut self, path: &str) {
        for key in below(self.entries.keys_from(path), path) {
            self.remove(&key);
        }
        for array in below(self.tails.keys_from(path), path) {
            self.remove_tail(&array);
        }
        self.remove_tail(path);
        if self.hides_below(path) {
            return;
        }
        let inner = below(self.erased.keys_from(path), path);
        for path in inner {
            self.held -= OVERHEAD + path.len() as u64;
            self.erased.remove(&path);
        }
        self.held += OVERHEAD + path.len() as u64;
        self.erased.insert(path.into());
    }

    fn append_tail(&mut self, array: &str, data: Data<'_>) {
        if data.bytes.is_empty() {
            return;
        }
        if !self.tails.contains_key(array) {
            self.held += OVERHEAD + array.len() as u64;
            self.tails.insert(array.into(), Arc::default());
        }
        if let Some(tail) = self.tails.get_mut(array) {
            let tail = Arc::make_mut(tail);
            let length = data.bytes.len() as u64;
            let inline = data.bytes.len() <= INLINE && self.inline_tails + length <= INLINE_TAILS;
            self.held -= tail.held();
            tail.push(data, inline);
            self.held += tail.held();
            self.tail_bytes += length;
            if inline {
                self.inline_tails += length;
            }
        }
    }

    /// Removes bytes from the end of a tail.
    fn cut_tail(&mut self, array: &str, dropped: u64) {
        let Some(tail) = self.tails.get_mut(array) else {
            return;
        };
        let tail = Arc::make_mut(tail);
        let (held, length, inline) = (tail.held(), tail.length, tail.inline);
        tail.cut(dropped);
        self.held -= held - tail.held();
        self.tail_bytes -= length - tail.length;
        self.inline_tails -= inline - tail.inline;
        if tail.length == 0 {
            self.remove_tail(array);
        }
    }

    fn remove_tail(&mut self, array: &str) {
        if let Some(tail) = self.tails.remove(array) {
            self.held -= tail.held() + OVERHEAD + array.len() as u64;
            self.tail_bytes -= tail.length;
            self.inline_tails -= tail.inline;
        }
    }
}

/// Reserves room for more elements. A vector would double its capacity, which costs too much in ten
/// thousand tails.
fn reserve<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.len() / 8));
    }
}

impl Tail {
    fn push(&mut self, data: Data<'_>, inline: bool) {
        let length = data.bytes.len() as u64;
        self.length += length;
        let piece = match (inline, self.pieces.last_mut()) {
            (true, Some(Piece::Inline(last))) => {
                self.inline += length;
                reserve(last, data.bytes.len());
                return last.extend_from_slice(data.bytes);
            }
            (true, _) => {
                self.inline += length;
                Piece::Inline(data.bytes.to_vec())
            }
            (false, _) => Piece::InJournal {
                offset: data.offset,
                length,
            },
        };
        reserve(&mut self.pieces, 1);
        self.pieces.push(piece);
    }

    fn cut(&mut self, mut dropped: u64) {
        while dropped > 0
            && let Some(last) = self.pieces.last_mut()
        {
            let cut = dropped.min(last.length());
            dropped -= cut;
            self.length -= cut;
            match last {
                Piece::Inline(bytes) => {
                    bytes.truncate(bytes.len() - cut as usize);
                    self.inline -= cut;
                }
                Piece::InJournal { length, .. } => *length -= cut,
            }
            if last.length() == 0 {
                self.pieces.pop();
            }
        }
    }

    /// The approximate memory that it takes.
    fn held(&self) -> u64 {
        self.inline + self.pieces.len() as u64 * PIECE
    }
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::InJournal { length, .. } => *length,
        }
    }
}

impl Entry {
    /// Whether it is visible.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Set(_) => true,
            Self::Shard(index) => !index.is_empty(),
            Self::Erased => false,
        }
    }
}

impl Blob {
    fn new(data: Data<'_>) -> Self {
        if data.bytes.len() > INLINE {
            Self::InJournal {
                offset: data.offset,
                length: data.bytes.len() as u64,
            }
        } else {
            Self::Inline(Bytes::copy_from_slice(data.bytes))
        }
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::InJournal { length, .. } => *length,
        }
    }
}

fn weight(key: &str, entry: &Entry) -> u64 {
    let inline = match entry {
        Entry::Set(Blob::Inline(bytes)) => bytes.len() as u64,
        Entry::Shard(index) => index_len(index.count()) as u64 * 2,
        _ => 0,
    };
    OVERHEAD + key.len() as u64 + inline
}

/// The path of the parent node; `""` is the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The path and its ancestors, ending with the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| (!path.is_empty()).then(|| parent(path)))
}

/// The leading keys that are below `path`.
fn below<'a>(keys: impl Iterator<Item = &'a Arc<str>>, path: &str) -> Vec<Arc<str>> {
    keys.take_while(|key| is_below(key, path))
        .cloned()
        .collect()
}

/// Whether `key` is `path/…`.
pub(super) fn is_below(key: &str, path: &str) -> bool {
    path.is_empty()
        || key
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Iteration over keys from the first one that may be below a path.
trait KeysFrom {
    fn keys_from<'a>(&'a self, path: &str) -> Box<dyn Iterator<Item = &'a Arc<str>> + 'a>;
}

fn first_below(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    }
}

impl<V> KeysFrom for BTreeMap<Arc<str>, V> {
    fn keys_from<'a>(&'a self, path: &str) -> Box<dyn Iterator<Item = &'a Arc<str>> + 'a> {
        let first = first_below(path);
        let range = (Bound::Included(first.as_str()), Bound::Unbounded);
        Box::new(self.range::<str, _>(range).map(|(key, _)| key))
    }
}

impl KeysFrom for BTreeSet<Arc<str>> {
    fn keys_from<'a>(&'a self, path: &str) -> Box<dyn Iterator<Item = &'a Arc<str>> + 'a> {
        let first = first_below(path);
        let range = (Bound::Included(first.as_str()), Bound::Unbounded);
        Box::new(self.range::<str, _>(range))
    }
}
