//! How a recording is opened, and how safe a commit is.

/// What to do with the recording that is, or is not, already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenMode {
    /// Read only; it must exist.
    #[default]
    Read,
    /// Go on writing; it must exist.
    Append,
    /// Go on writing if it exists, else create it.
    OpenOrCreate,
    /// Create it; it must not exist.
    CreateNew,
    /// Delete what exists and create it anew.
    Truncate,
}

impl OpenMode {
    /// Whether records can be written in this mode.
    pub fn is_writable(self) -> bool {
        self != Self::Read
    }

    /// The name as it stands in URLs: `read`, `append`, `open-or-create`, `create-new`,
    /// `truncate`.
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

/// What a commit survives once it has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// A killed process, a crash of the system and a power failure: each commit ends with a
    /// sync of the disk.
    #[default]
    Power,
    /// A killed process only. Commits are not synced, which is faster on slow disks; after a
    /// crash of the system or a power failure the recording may be lost.
    Process,
}
