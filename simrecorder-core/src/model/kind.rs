//! What a key is, and what the records of a series are.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// It holds other keys.
    Group,
    /// One value, overwritten by the next `set`.
    Value,
    /// Records, one after the other.
    Series,
}

impl NodeKind {
    /// `group`, `value` or `series`.
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

/// What the records of a series are.
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

    /// `array`, `ragged`, `text`, `bytes` or `object`.
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
