//! Modes of opening a recording, and the durability of commits.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// Whether a recording is read, continued or created.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, OpenMode};
///
/// let store = InMemoryDataStore::new();
/// let again = store.open(OpenMode::Append)?;
/// assert_eq!("create-new".parse::<OpenMode>()?, OpenMode::CreateNew); // as in URLs
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenMode {
    /// Read only; it must exist.
    #[default]
    Read,
    /// Continue writing; it must exist.
    Append,
    /// Continue writing if it exists; otherwise create it.
    OpenOrCreate,
    /// Create it; it must not exist.
    CreateNew,
    /// Delete an existing recording and create a new one. Only a recording of this library, or an empty file, folder or
    /// database, is deleted; anything else is an error that names what is there.
    Truncate,
}

impl OpenMode {
    const ALL: [Self; 5] = [
        Self::Read,
        Self::Append,
        Self::OpenOrCreate,
        Self::CreateNew,
        Self::Truncate,
    ];

    /// Whether records can be written in this mode.
    pub fn is_writable(self) -> bool {
        self != Self::Read
    }

    /// Returns the name in URLs: `read`, `append`, `open-or-create`, `create-new` or `truncate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Append => "append",
            Self::OpenOrCreate => "open-or-create",
            Self::CreateNew => "create-new",
            Self::Truncate => "truncate",
        }
    }
}

impl fmt::Display for OpenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OpenMode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == name);
        found.ok_or_else(|| {
            let message = format!(
                "unknown mode '{}'; the modes are {}",
                name.escape_debug(),
                Self::ALL.map(Self::as_str).join(", ")
            );
            Error::new(ErrorKind::InvalidArgument, "read mode", message)
        })
    }
}

/// What a commit survives once it has returned.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Durability;
///
/// // For a run whose recording may be lost in a power failure: faster on slow disks.
/// let durability = Durability::Process;
/// assert_ne!(durability, Durability::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// A killed process, a crash of the system and a power failure: each commit ends with a
    /// sync of the disk.
    #[default]
    Power,
    /// Only a killed process. Commits are not synced, which is faster on slow disks. After a crash of the system or a
    /// power failure, the whole recording may be lost.
    Process,
}
