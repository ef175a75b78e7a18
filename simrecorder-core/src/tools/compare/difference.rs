//! What differs between two recordings.

use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::short::shortened;
use crate::model::value::{ObjectValue, Value};
use crate::tools::compare::criterion::Criterion;

/// What [`compare`](crate::compare()) found.
///
/// `Display` gives a line for each difference, one that counts, and one with the criterion.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Comparison {
    /// When two numbers count as the same.
    pub criterion: Criterion,
    /// How many values and series both recordings have.
    pub key_count: u64,
    /// How many records of these series were compared.
    pub record_count: u64,
    /// What differs, by key.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether a part could not be read, so that nobody knows whether it differs.
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

/// One of two recordings that are compared.
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

/// A difference at one key. `Display` gives it as one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The key.
    pub key: Key,
    /// What differs there.
    pub kind: DifferenceKind,
}

/// What differs at a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// One recording has the key, the other has nothing there.
    OnlyIn {
        /// The recording that has it.
        side: Side,
        /// What it is.
        kind: NodeKind,
        /// How many values and series it is, with those below it.
        key_count: u64,
    },
    /// One is a group, a value or a series, the other is another of the three.
    NodeKind {
        /// The first.
        a: NodeKind,
        /// The second.
        b: NodeKind,
    },
    /// The values, or the records, are of another kind, element type or shape. They are not compared.
    Type {
        /// What the first are, in words.
        a: String,
        /// What the second are.
        b: String,
    },
    /// The names of the axes.
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
        /// What the first has.
        a: Option<serde_json::Value>,
        /// What the second has.
        b: Option<serde_json::Value>,
    },
    /// The series have records of other indices. Those that both have are compared.
    Records {
        /// The indices of the first.
        a: Range<u64>,
        /// Those of the second.
        b: Range<u64>,
    },
    /// One timeline has ticks that the other does not have. The series are compared at the ticks that
    /// both have.
    Ticks {
        /// The name of the coordinate.
        coordinate: String,
        /// The recording that has them.
        side: Side,
        /// How many there are.
        count: u64,
        /// The coordinate of the first of them.
        first: Value,
        /// The coordinate of the last of them.
        last: Value,
    },
    /// Elements of arrays, or records of another kind.
    Values(ValueDifference),
    /// One of the two could not be read, or not whole.
    Unreadable {
        /// The recording that has it.
        side: Side,
        /// Why.
        error: Error,
    },
}

/// How the values at a key differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ValueDifference {
    /// How many differ: elements of arrays; of text, bytes, objects and ragged rows, records.
    pub differing: u64,
    /// How many were compared.
    pub compared: u64,
    /// How many of those that differ are NaN on both sides.
    pub both_nan: u64,
    /// The largest `|a - b|` of numbers that differ; `None` if there are none.
    pub largest_absolute: Option<f64>,
    /// The largest `|a - b| / max(|a|, |b|)` of them.
    pub largest_relative: Option<f64>,
    /// The index of the first that differs, in the first recording: of a record, then of the element in it.
    pub index: Vec<u64>,
    /// The index of that record in the second recording; `None` for values.
    pub record_in_b: Option<u64>,
    /// What the first recording has there.
    pub a: Value,
    /// What the second one has there.
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
    // In one short line, as objects are.
    let object = ObjectValue::new(value).map(Value::Object);
    object.map_or_else(|_| value.to_string(), |object| object.to_string())
}
