//! The differences between two recordings.

use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::short::shortened;
use crate::model::value::{ObjectValue, Value};
use crate::tools::compare::criterion::Criterion;

/// The result of [`compare`](crate::compare()).
///
/// `Display` prints a line for each difference, a line with the totals, and a line with the criterion.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CompareOptions, InMemoryDataStore, Recorder, compare};
///
/// let (a, b) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// Recorder::new(a.clone()).record("net/rate", 0.5)?;
/// Recorder::new(b.clone()).record("net/rate", 0.5)?;
/// let comparison = compare(&a, &b, &CompareOptions::new())?;
/// assert!(comparison.is_same() && !comparison.is_incomplete());
/// assert_eq!((comparison.key_count, comparison.record_count), (1, 1));
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Comparison {
    /// The criterion for equal numbers.
    pub criterion: Criterion,
    /// The number of values and series that both recordings have.
    pub key_count: u64,
    /// The number of records of these series that were compared.
    pub record_count: u64,
    /// The differences, by key.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether there are no differences.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether a part could not be read, and therefore not compared.
    pub fn is_incomplete(&self) -> bool {
        let mut kinds = self.differences.iter().map(|difference| &difference.kind);
        kinds.any(|kind| matches!(kind, DifferenceKind::Unreadable { .. }))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        let count = self.differences.len();
        let (keys, records) = (self.key_count, self.record_count);
        writeln!(
            f,
            "{count} differences; {keys} keys with {records} records compared"
        )?;
        write!(f, "numbers are the same if {}", self.criterion)
    }
}

/// One of two recordings that are compared. `Display` prints `A` or `B`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Side;
///
/// assert_eq!(format!("only in {}", Side::B), "only in B");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first one.
    A,
    /// The second one.
    B,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// A difference at one key, in [`Comparison::differences`]. `Display` prints it as one line.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CompareOptions, InMemoryDataStore, Recorder, compare};
///
/// let (a, b) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// Recorder::new(a.clone()).set("meta/seed", 42_u64)?;
/// Recorder::new(b.clone()).set("meta/seed", 43_u64)?;
/// let found = compare(&a, &b, &CompareOptions::new())?;
/// assert_eq!(found.differences[0].key.as_str(), "meta/seed");
/// println!("{}", found.differences[0]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The key.
    pub key: Key,
    /// What differs.
    pub kind: DifferenceKind,
}

/// What differs at a key. `Display` prints it as one line.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CompareOptions, DifferenceKind, InMemoryDataStore, Recorder, Side, compare};
///
/// let (a, b) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// Recorder::new(a.clone()).record("net/rate", 0.5)?;
/// let found = compare(&a, &b, &CompareOptions::new())?;
/// match &found.differences[0].kind {
///     DifferenceKind::OnlyIn { side: Side::A, key_count, .. } => println!("B lacks {key_count} keys"),
///     kind => println!("{kind}"),
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// Only one recording has the key.
    OnlyIn {
        /// The recording that has it.
        side: Side,
        /// The kind of the node.
        kind: NodeKind,
        /// The number of values and series at the key and below it.
        key_count: u64,
    },
    /// The nodes are of different kinds: group, value or series.
    NodeKind {
        /// The first.
        a: NodeKind,
        /// The second.
        b: NodeKind,
    },
    /// The values or the records have different kinds, element types or shapes. They are not compared.
    Type {
        /// A description of those of the first.
        a: String,
        /// A description of those of the second.
        b: String,
    },
    /// The names of the axes differ.
    DimensionNames {
        /// Those of the first.
        a: Option<Vec<Option<String>>>,
        /// Those of the second.
        b: Option<Vec<Option<String>>>,
    },
    /// An attribute differs, or only one has it.
    Attribute {
        /// Its name.
        name: String,
        /// The value in the first.
        a: Option<serde_json::Value>,
        /// The value in the second.
        b: Option<serde_json::Value>,
    },
    /// The series have records with different indices. The common ones are compared.
    Records {
        /// The indices of the first.
        a: Range<u64>,
        /// Those of the second.
        b: Range<u64>,
    },
    /// One timeline has ticks that the other does not have. The series are compared at the common ticks.
    Ticks {
        /// The name of the coordinate.
        coordinate: String,
        /// The recording that has them.
        side: Side,
        /// The number of these ticks.
        count: u64,
        /// The coordinate of the first of them.
        first: Value,
        /// The coordinate of the last of them.
        last: Value,
    },
    /// Elements of arrays, or records of another kind, differ.
    Values(ValueDifference),
    /// One of the two could not be read completely.
    Unreadable {
        /// The recording that could not be read.
        side: Side,
        /// The reason.
        error: Error,
    },
}

/// How the values or records at a key differ. `Display` prints it as one line.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CompareOptions, DifferenceKind, InMemoryDataStore, Recorder, compare};
///
/// let (a, b) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// Recorder::new(a.clone()).set("weights", [1.0, 2.0])?;
/// Recorder::new(b.clone()).set("weights", [1.0, 2.5])?;
/// let found = compare(&a, &b, &CompareOptions::new())?;
/// if let DifferenceKind::Values(values) = &found.differences[0].kind {
///     assert_eq!((values.differing, values.compared), (1, 2));
///     assert_eq!(values.largest_absolute, Some(0.5));
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ValueDifference {
    /// The number of elements of arrays that differ; for text, bytes, objects and ragged rows, the number of records.
    pub differing: u64,
    /// The number of elements or records that were compared.
    pub compared: u64,
    /// How many of those that differ are NaN on both sides.
    pub both_nan: u64,
    /// The largest `|a - b|` of numbers that differ; `None` if there are none.
    pub largest_absolute: Option<f64>,
    /// The largest `|a - b| / max(|a|, |b|)` of these numbers.
    pub largest_relative: Option<f64>,
    /// The index in the first recording of the first difference: that of the record, then that of the element in it.
    pub index: Vec<u64>,
    /// The index of that record in the second recording; `None` for values.
    pub record_in_b: Option<u64>,
    /// The value of the first recording there.
    pub a: Value,
    /// The value of the second recording there.
    pub b: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.is_root() {
            true => write!(f, "/: {}", self.kind),
            false => write!(f, "{}: {}", self.key.as_str().escape_debug(), self.kind),
        }
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyIn {
                side,
                kind,
                key_count,
            } => match kind {
                NodeKind::Group => write!(f, "group with {key_count} keys only in {side}"),
                _ => write!(f, "{kind} only in {side}"),
            },
            Self::NodeKind { a, b } => write!(f, "{a} in A, {b} in B"),
            Self::Type { a, b } => write!(f, "{a} in A, {b} in B"),
            Self::DimensionNames { a, b } => {
                write!(f, "axes named {} in A, {} in B", names(a), names(b))
            }
            Self::Attribute { name, a, b } => {
                let name = name.escape_debug();
                write!(f, "attribute '{name}': {} in A, {} in B", json(a), json(b))
            }
            Self::Records { a, b } => write!(
                f,
                "records {}..{} in A, {}..{} in B",
                a.start, a.end, b.start, b.end
            ),
            Self::Ticks {
                coordinate,
                side,
                count,
                first,
                last,
            } => {
                let name = coordinate.escape_debug();
                write!(
                    f,
                    "{count} ticks only in {side}, from {name} {first} to {last}"
                )
            }
            Self::Values(values) => write!(f, "{values}"),
            Self::Unreadable { side, error } => write!(f, "cannot be read in {side}: {error}"),
        }
    }
}

impl fmt::Display for ValueDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} differ", self.differing, self.compared)?;
        if let (Some(absolute), Some(relative)) = (self.largest_absolute, self.largest_relative) {
            write!(f, ", by up to {absolute:.3e} ({relative:.3e} relative)")?;
        }
        if self.both_nan > 0 {
            write!(f, ", {} are NaN in both", self.both_nan)?;
        }
        let Self { index, a, b, .. } = self;
        match index.is_empty() {
            true => write!(f, ": {a} in A, {b} in B")?,
            false => write!(f, "; first at {index:?}: {a} in A, {b} in B")?,
        }
        match self.record_in_b {
            Some(record) if index.first() != Some(&record) => {
                write!(f, ", where it is record {record}")
            }
            _ => Ok(()),
        }
    }
}

fn names(names: &Option<Vec<Option<String>>>) -> String {
    let Some(names) = names else {
        return "nothing".to_owned();
    };
    let names = names
        .iter()
        .map(|name| name.as_deref().map_or("-".into(), shortened));
    names.collect::<Vec<_>>().join(", ")
}

fn json(value: &Option<serde_json::Value>) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    // As one short line, like objects.
    let object = ObjectValue::new(value).map(Value::Object);
    object.map_or_else(|_| value.to_string(), |object| object.to_string())
}
