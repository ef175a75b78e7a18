//! The kinds of nodes, and the kinds of records.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// The kind of a node of the hierarchy.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, NodeKind, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.set("net/size", 100_u64)?;
/// recorder.record("net/rate", 0.5)?;
/// assert_eq!(recorder.kind_of("net")?, Some(NodeKind::Group));
/// assert_eq!(recorder.kind_of("net/size")?, Some(NodeKind::Value));
/// assert_eq!(recorder.kind_of("net/rate")?, Some(NodeKind::Series));
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// It contains other keys.
    Group,
    /// One value, overwritten by the next `set`.
    Value,
    /// Records, one after the other.
    Series,
}

impl NodeKind {
    /// Returns `group`, `value` or `series`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Value => "value",
            Self::Series => "series",
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind of the records of a series.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Blob, InMemoryDataStore, Kind, Object, Ragged, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.record("v", [-65.0, -64.5])?;
/// recorder.record("spikes", Ragged(&[3_u32, 1, 4]))?;
/// recorder.record("log", "started")?;
/// recorder.record("frames", Blob(b"a picture"))?;
/// recorder.record("events", Object(("stimulus", 1.5)))?;
/// let keys = ["v", "spikes", "log", "frames", "events"];
/// for (key, kind) in keys.into_iter().zip(Kind::ALL) {
///     assert_eq!(recorder.get_all(key)?.kind(), kind);
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Scalars, or arrays that all have the same shape.
    Array,
    /// Rows whose length differs.
    Ragged,
    /// Text of any length.
    Text,
    /// Opaque bytes of any length.
    Bytes,
    /// Serialised objects.
    Object,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Array,
        Self::Ragged,
        Self::Text,
        Self::Bytes,
        Self::Object,
    ];

    /// Returns `array`, `ragged`, `text`, `bytes` or `object`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Ragged => "ragged",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Object => "object",
        }
    }

    /// Whether all records have the same size.
    pub fn is_fixed(self) -> bool {
        self == Self::Array
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| {
                let message = format!("unknown kind '{}'", name.escape_debug());
                Error::new(ErrorKind::Unsupported, "read kind", message)
            })
    }
}
