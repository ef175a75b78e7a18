//! The keys of a recording as text.

use std::borrow::Cow;
use std::fmt;

use unicode_width::UnicodeWidthStr;

use crate::error::{Error, Result};
use crate::model::key::Key;
use crate::model::kind::{Kind, NodeKind};
use crate::model::natural_order::natural_order;
use crate::model::short::units;
use crate::model::value::Value;
use crate::reading::view::View;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::{Child, Node};

/// Columns are aligned up to this width; a wider cell shifts the rest of its line.
const WIDEST: [usize; COLUMNS] = [60, 6, 20, 24];
/// The name, the kind, the type and the shape. The rest of a line is not aligned.
const COLUMNS: usize = 4;

/// The keys of a recording as text for people.
///
/// `Display` prints a line for each key: its kind, type and shape, and then the units of a series, or a value,
/// shortened. Names are in natural order: `demo_2` is before `demo_10`. The line of a key that cannot be read shows the
/// error.
///
/// `println!("{recorder}")` prints the tree of a [`Recorder`](crate::Recorder), and `println!("{store}")` that of a
/// store that [`open`] returned. [`tree`](crate::DataStoreExt::tree) returns the tree of any store.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, Schema, prelude::*};
///
/// let store = InMemoryDataStore::new();
/// let recorder = Recorder::new(store.clone());
/// recorder.declare("net/v", Schema::array::<f32>([100]).with_units("mV"))?;
/// recorder.set("meta/seed", 42_u64)?;
/// recorder.record("net/spikes", Ragged(&[3_u32, 1, 4]))?;
/// recorder.record("log", "started")?;
///
/// let tree = "\
/// /
/// ├── log         series  text           [1]
/// ├── meta        group
/// │   └── seed    value   uint64                   42
/// └── net         group
///     ├── spikes  series  ragged uint32  [1, var]
///     └── v       series  float32        [0, 100]  mV";
/// assert_eq!(recorder.to_string(), tree);
/// assert_eq!(store.tree().to_string(), tree);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// [`open`]: https://docs.rs/simrecorder/latest/simrecorder/fn.open.html
#[derive(Clone, Debug)]
pub struct Tree {
    /// The root first, each group before what it contains.
    rows: Vec<Row>,
}

/// A line of the tree.
#[derive(Clone, Debug)]
struct Row {
    /// How many groups are above it, the root included.
    depth: usize,
    /// Whether it is the last one of its group.
    is_last: bool,
    name: String,
    kind: &'static str,
    dtype: Cow<'static, str>,
    shape: String,
    note: String,
}

/// What is right below a group.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    entries: Vec<Entry>,
    /// Why entries may be missing.
    error: Option<Error>,
}

/// A key right below a group, and its row of the tree.
#[derive(Debug)]
struct Entry {
    child: Child,
    row: Row,
}

impl Entry {
    fn new(mut child: Child, node: Result<Node>) -> Self {
        if let Ok(node) = &node {
            child.kind = node.kind();
        }
        let row = Row::new(&child, node);
        Self { child, row }
    }
}

impl Listing {
    /// Lists a group of a store as of one commit.
    pub(crate) fn of<S: DataStore + ?Sized>(store: &S, group: &Key) -> Self {
        Self::load(store, group).unwrap_or_else(Self::failed)
    }

    fn load<S: DataStore + ?Sized>(store: &S, group: &Key) -> Result<Self> {
        let children = store.children(group)?;
        let keys: Vec<_> = children.iter().map(|child| child.key.clone()).collect();
        let nodes = match store.nodes(&keys) {
            Ok(nodes) => nodes.into_iter().map(Ok).collect(),
            Err(error) => {
                if error.is_retryable() {
                    // Does not ask for each key again if the server does not answer.
                    store.children(group)?;
                }
                let node = |key| Ok(store.nodes(std::slice::from_ref(key))?.pop().flatten());
                keys.iter().map(node).collect::<Vec<Result<_>>>()
            }
        };
        let listed = children.into_iter().zip(nodes);
        // A key that was removed in between has no node.
        let entries = listed.filter_map(|(child, node)| Some(Entry::new(child, node.transpose()?)));
        Ok(Self {
            entries: entries.collect(),
            error: None,
        })
    }

    /// Adds the keys of another store that this one does not have.
    pub(crate) fn merge(&mut self, other: Self) {
        self.error = self.error.take().or(other.error);
        self.entries.extend(other.entries);
        // The sort is stable: of equal keys, the one of this listing remains.
        self.entries.sort_by(|a, b| a.child.key.cmp(&b.child.key));
        self.entries.dedup_by(|b, a| a.child.key == b.child.key);
    }

    /// A group that cannot be listed.
    pub(crate) fn failed(error: Error) -> Self {
        Self {
            entries: Vec::new(),
            error: Some(error),
        }
    }
}

impl Tree {
    /// Collects the tree from the root; `list` returns the keys right below a group.
    pub(crate) fn collect(mut list: impl FnMut(&Key) -> Listing) -> Self {
        let root = Entry {
            child: Child::new(Key::ROOT, NodeKind::Group),
            row: Row::root(),
        };
        let mut rows = Vec::new();
        // A stack rather than recursion: a key may have two thousand levels.
        let mut open = vec![root];
        while let Some(Entry { child, mut row }) = open.pop() {
            if child.kind == NodeKind::Group {
                let mut listing = list(&child.key);
                if let Some(error) = listing.error {
                    row.note = cannot_be_read(&error);
                } else if child.key.is_root() && listing.entries.is_empty() {
                    row.note = "(empty)".to_owned();
                }
                let entries = &mut listing.entries;
                entries.sort_by(|a, b| natural_order(a.child.key.name(), b.child.key.name()));
                for entry in &mut *entries {
                    entry.row.depth = row.depth + 1;
                }
                if let Some(last) = entries.last_mut() {
                    last.row.is_last = true;
                }
                open.extend(listing.entries.into_iter().rev());
            }
            rows.push(row);
        }
        Self { rows }
    }

    /// A tree with a note that tells why it is empty.
    pub(crate) fn of_nothing(note: &str) -> Self {
        let note = note.to_owned();
        let root = Row {
            note,
            ..Row::root()
        };
        Self { rows: vec![root] }
    }
}

impl Row {
    fn root() -> Self {
        Self {
            depth: 0,
            is_last: true,
            name: "/".to_owned(),
            kind: "",
            dtype: Cow::Borrowed(""),
            shape: String::new(),
            note: String::new(),
        }
    }

    fn new(child: &Child, node: Result<Node>) -> Self {
        let row = Self {
            is_last: false,
            name: printable(child.key.name()),
            kind: child.kind.as_str(),
            ..Self::root()
        };
        match node {
            Ok(Node::Series(view)) => row.with_series(&view),
            Ok(Node::Value { value, attributes }) => match value {
                Ok(value) => row.with_value(&value, units(&attributes)),
                Err(error) => row.with_error(&error),
            },
            Ok(Node::Unreadable { error, .. }) => row.with_error(&error),
            // The kind of a key that cannot be read at all is unknown.
            Err(error) => Self { kind: "?", ..row }.with_error(&error),
            Ok(Node::Group { .. }) => row,
        }
    }

    fn with_error(self, error: &Error) -> Self {
        let note = cannot_be_read(error);
        Self { note, ..self }
    }

    fn with_series(self, view: &View) -> Self {
        let (schema, kind) = (view.schema(), view.kind());
        let dtype = schema.dtype().map_or("", |dtype| dtype.as_str());
        let (dtype, shape) = match kind {
            Kind::Array => (Cow::Borrowed(dtype), format!("{:?}", view.shape())),
            Kind::Ragged => {
                let item = schema.record_shape().iter().map(|len| format!(", {len}"));
                let shape = format!("[{}, var{}]", view.len(), item.collect::<String>());
                (Cow::Owned(format!("ragged {dtype}")), shape)
            }
            kind => (Cow::Borrowed(kind.as_str()), format!("{:?}", view.shape())),
        };
        Self {
            dtype,
            shape,
            note: units(schema.attributes()).unwrap_or_default(),
            ..self
        }
    }

    fn with_value(self, value: &Value, units: Option<String>) -> Self {
        let (dtype, shape) = match value {
            Value::Array(array) if array.shape().is_empty() => {
                (array.dtype().as_str(), String::new())
            }
            Value::Array(array) => (array.dtype().as_str(), format!("{:?}", array.shape())),
            Value::Text(_) => (Kind::Text.as_str(), String::new()),
            Value::Bytes(_) => (Kind::Bytes.as_str(), String::new()),
            Value::Object(_) => (Kind::Object.as_str(), String::new()),
        };
        let units = units.map(|units| format!(" {units}"));
        Self {
            dtype: Cow::Borrowed(dtype),
            shape,
            note: format!("{value}{}", units.unwrap_or_default()),
            ..self
        }
    }

    /// The columns that are aligned, each with its width.
    fn cells(&self) -> [(&str, usize); COLUMNS] {
        let [name, kind, dtype, shape] =
            [&*self.name, self.kind, &*self.dtype, &*self.shape].map(|cell| (cell, cell.width()));
        [(name.0, name.1 + 4 * self.depth), kind, dtype, shape]
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            let cells = row.cells().into_iter().zip(WIDEST);
            for (width, ((_, cell), widest)) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.min(widest));
            }
        }
        // For each group above the row, whether more of it follows below.
        let mut follows = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            follows.truncate(row.depth);
            if index > 0 {
                f.write_str("\n")?;
                let above = follows.get(1..).unwrap_or_default();
                for &follows in above {
                    f.write_str(if follows { "│   " } else { "    " })?;
                }
                f.write_str(if row.is_last {
                    "└── "
                } else {
                    "├── "
                })?;
            }
            follows.push(!row.is_last);
            // Spaces are written when something follows them, so that no line ends with one.
            let mut spaces = 0;
            for ((cell, cell_width), width) in row.cells().into_iter().zip(widths) {
                if !cell.is_empty() {
                    write!(f, "{:spaces$}{cell}", "")?;
                    spaces = 0;
                }
                spaces += width.saturating_sub(cell_width) + 2;
            }
            if !row.note.is_empty() {
                // The root has no other columns to be aligned with.
                let spaces = if row.depth == 0 { 2 } else { spaces };
                write!(f, "{:spaces$}{}", "", row.note)?;
            }
        }
        Ok(())
    }
}

/// What `println!("{store}")` prints: the [`Tree`] of the recording.
impl fmt::Display for dyn DataStore + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree().fmt(f)
    }
}

fn cannot_be_read(error: &Error) -> String {
    printable(&format!("cannot be read: {error}"))
}

/// The whole text, with what cannot be printed escaped.
fn printable(text: &str) -> String {
    let quoted = format!("{text:?}");
    let unquoted = &quoted[1..quoted.len() - 1];
    unquoted.replace("\\\"", "\"").replace("\\\\", "\\")
}
