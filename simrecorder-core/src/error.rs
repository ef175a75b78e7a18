//! The error type of all crates.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A result with the [`Error`] of all simrecorder crates.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Recorder, Result};
///
/// fn record_step(recorder: &Recorder, rate: f64) -> Result<()> {
///     recorder.record("net/rate", rate)?;
///     recorder.record("log", "a step")
/// }
/// # record_step(&Recorder::disabled(), 0.5)?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an [`Error`], for programs that react to it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{ErrorKind, InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.record("net/v", [-65.0, -64.5])?;
/// match recorder.record("net/v", [-65.0, -64.5, -64.0]) {
///     Err(error) if error.kind() == ErrorKind::SchemaMismatch => println!("left out: {error}"),
///     result => result?,
/// }
/// # assert_eq!(recorder.get_all("net/v")?.len(), 1);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A key breaks one of the rules of [`Key`](crate::Key), or the backend cannot store it.
    InvalidKey,
    /// An argument other than a key is wrong: a path, an option, a selection, a schema.
    InvalidArgument,
    /// There is nothing at this key or path.
    NotFound,
    /// A recording already exists and the open mode does not allow replacing it.
    AlreadyExists,
    /// The key is a group, a value or a series, and the operation needs another one of these.
    KindMismatch,
    /// A record differs from its series in element type, shape or kind.
    SchemaMismatch,
    /// The data has another element type than the one that was requested.
    TypeMismatch,
    /// A selection or an index is outside the data.
    OutOfBounds,
    /// The requested data does not fit into memory.
    TooLarge,
    /// The store was opened read only.
    ReadOnly,
    /// The recorder or store was closed.
    Closed,
    /// This process was forked from the one that opened the recording or created the recorder.
    Forked,
    /// Another writer has the recording open, or has taken over the timeline.
    Locked,
    /// Stored data cannot be decoded.
    Corrupt,
    /// The recording was written by a newer version or with a feature that this build does not read, or the store
    /// does not support the operation.
    Unsupported,
    /// The file system is full.
    StorageFull,
    /// The memory bound is reached, with [`MemoryPolicy::Error`](crate::MemoryPolicy::Error).
    BufferFull,
    /// The stores of one recorder do not have the same records.
    Diverged,
    /// The system denied access.
    PermissionDenied,
    /// The caller stopped the operation before it was complete.
    Cancelled,
    /// Another failure of the operating system or of a server.
    Io,
    /// A defect of simrecorder or of a store: please report it.
    Internal,
}

impl ErrorKind {
    /// Returns the name for messages, such as `schema mismatch`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidKey => "invalid key",
            Self::InvalidArgument => "invalid argument",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::KindMismatch => "kind mismatch",
            Self::SchemaMismatch => "schema mismatch",
            Self::TypeMismatch => "type mismatch",
            Self::OutOfBounds => "out of bounds",
            Self::TooLarge => "too large",
            Self::ReadOnly => "read only",
            Self::Closed => "closed",
            Self::Forked => "forked",
            Self::Locked => "locked",
            Self::Corrupt => "corrupt data",
            Self::Unsupported => "unsupported",
            Self::StorageFull => "storage full",
            Self::BufferFull => "buffer full",
            Self::Diverged => "stores diverged",
            Self::PermissionDenied => "permission denied",
            Self::Cancelled => "cancelled",
            Self::Io => "i/o error",
            Self::Internal => "internal error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that names the operation, the key or path, and the cause.
///
/// `Display` prints one line, `operation 'key': what is wrong; what to do`, followed by all causes.
/// [`source`](StdError::source) returns the cause, if there is one. An error is one word wide and cheap to clone.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{ErrorKind, Key};
///
/// let error = Key::new("net/../v").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidKey);
/// assert_eq!(error.key(), Some("net/../v"));
/// assert!(error.to_string().contains("'net/../v'"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    key: Option<Box<str>>,
    message: Box<str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind` in `operation` (a verb such as `record` or `open`).
    ///
    /// `message` says what is wrong and, if the user can do something, what to do.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation,
            key: None,
            message: message.into().into_boxed_str(),
            source: None,
        }))
    }

    /// Creates an error of the file system, with the kind of `source` and `path` as the key.
    pub fn io(operation: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, message) = match source.kind() {
            Io::NotFound => (ErrorKind::NotFound, "there is nothing at this path"),
            Io::AlreadyExists => (
                ErrorKind::AlreadyExists,
                "something already exists at this path",
            ),
            Io::PermissionDenied => (ErrorKind::PermissionDenied, "permission denied"),
            Io::ReadOnlyFilesystem => (ErrorKind::PermissionDenied, "the file system is read only"),
            Io::StorageFull => (
                ErrorKind::StorageFull,
                "the file system is full; free some space",
            ),
            Io::QuotaExceeded => (ErrorKind::StorageFull, "the disk quota is used up"),
            Io::FileTooLarge => (ErrorKind::StorageFull, "the file cannot grow further"),
            // An error of this library, whose message says what is wrong.
            Io::InvalidInput if source.get_ref().is_some() => {
                return Self::new(ErrorKind::InvalidArgument, operation, source.to_string())
                    .with_key(path.display().to_string());
            }
            _ => (ErrorKind::Io, "the file system reported an error"),
        };
        Self::new(kind, operation, message)
            .with_key(path.display().to_string())
            .with_source(source)
    }

    /// Sets the key or path, unless there is one.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        if self.0.key.is_some() {
            return self;
        }
        self.edit(|inner| inner.key = Some(key.into().into_boxed_str()))
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.edit(|inner| inner.source = Some(source.into()))
    }

    /// Replaces the operation with the one that the user called.
    #[must_use]
    pub fn with_operation(self, operation: &'static str) -> Self {
        self.edit(|inner| inner.operation = operation)
    }

    /// Adds the name of the store that failed.
    #[must_use]
    pub(crate) fn in_store(self, name: &str) -> Self {
        self.edit(|inner| inner.message = format!("store '{name}': {}", inner.message).into())
    }

    fn edit(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = match Arc::try_unwrap(self.0) {
            Ok(inner) => inner,
            // The new error has the cause of the shared one as its own.
            Err(shared) => Inner {
                kind: shared.kind,
                operation: shared.operation,
                key: shared.key.clone(),
                message: shared.message.clone(),
                source: shared
                    .source
                    .is_some()
                    .then(|| Box::new(SharedSource(shared)) as _),
            },
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without a change by the caller: another program has the recording open,
    /// a queue is full, or a server or the system did not answer.
    ///
    /// A recorder that [stopped](crate::OnStoreError::Stop) keeps returning its first error, of any kind: open the
    /// recording again.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{Error, ErrorKind};
    ///
    /// let locked = Error::new(ErrorKind::Locked, "open", "another recorder writes it");
    /// assert!(locked.is_retryable());
    /// let corrupt = Error::new(ErrorKind::Corrupt, "read", "a checksum differs");
    /// assert!(!corrupt.is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{BufferFull, Io, Locked};
        matches!(self.kind(), BufferFull | Io | Locked)
    }

    /// Returns the operation that failed, such as `record`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns the key or path that the error is about.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Returns the message without operation, key and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// The cause of an error that shares it with its clones.
struct SharedSource(Arc<Inner>);

impl SharedSource {
    fn source(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.0.source.as_deref().unwrap_or(&fmt::Error)
    }
}

impl fmt::Debug for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.source(), f)
    }
}

impl fmt::Display for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.source(), f)
    }
}

impl StdError for SharedSource {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source().source()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            operation,
            key,
            message,
            source,
            ..
        } = &*self.0;
        f.write_str(operation)?;
        if let Some(key) = key {
            write!(f, " '{}'", key.escape_debug())?;
        }
        write!(f, ": {message}")?;
        let mut cause: Option<&(dyn StdError + 'static)> = source.as_ref().map(|e| &**e as _);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            // An `Error` prints its causes itself.
            cause = if error.is::<Self>() {
                None
            } else {
                error.source()
            };
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|error| &**error as _)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            ErrorKind::NotFound => Io::NotFound,
            ErrorKind::AlreadyExists => Io::AlreadyExists,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnly => Io::PermissionDenied,
            ErrorKind::StorageFull => Io::StorageFull,
            ErrorKind::Corrupt => Io::InvalidData,
            ErrorKind::InvalidKey | ErrorKind::InvalidArgument => Io::InvalidInput,
            _ => Io::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn editing_a_shared_error_keeps_its_cause() {
        let first = Error::io("open", "a".as_ref(), std::io::Error::other("below"));
        let second = first.clone().with_operation("flush");
        assert_eq!(first.operation(), "open");
        assert_eq!(second.operation(), "flush");
        assert!(second.to_string().ends_with("below"), "{second}");
        assert_eq!(second.key(), Some("a"));
    }
}
