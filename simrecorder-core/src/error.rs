//! The one error type of the project.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Result with the one [`Error`] of the project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, for programs that react to it.
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
    /// The key is a group, a value or a series, and the operation needs another of these.
    KindMismatch,
    /// A record differs from its series in element type, shape or kind.
    SchemaMismatch,
    /// Data was requested as another element type than it has.
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
    /// Written by a newer version, or with a feature that this build does not read.
    Unsupported,
    /// The file system is full.
    StorageFull,
    /// The memory bound is reached and the policy is to fail.
    BufferFull,
    /// The stores of one recorder do not hold the same records.
    Diverged,
    /// No permission.
    PermissionDenied,
    /// The caller stopped the operation before it was complete.
    Cancelled,
    /// Any other failure of the operating system or a server.
    Io,
    /// A defect of simrecorder or of a store: please report it.
    Internal,
}

impl ErrorKind {
    /// The name as it is printed, such as `schema mismatch`.
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
/// It is one word wide and cheap to clone. `Display` gives one line with the whole chain of
/// causes; [`source`](StdError::source) gives the error below, if there is one.
///
/// ```
/// use simrecorder_core::{ErrorKind, Key};
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
    /// An error of `kind` in `operation` (a verb such as `record` or `open`).
    ///
    /// `message` says what is wrong and, where something can be done, what to do.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation,
            key: None,
            message: message.into().into_boxed_str(),
            source: None,
        }))
    }

    /// An error of the file system, its kind taken from `source`; `path` is shown as the key.
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
            // One of ours, which says what it is.
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

    /// Names the key or path, unless one is named already.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        if self.0.key.is_some() {
            return self;
        }
        self.edit(|inner| inner.key = Some(key.into().into_boxed_str()))
    }

    /// Attaches the error below this one.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.edit(|inner| inner.source = Some(source.into()))
    }

    /// Names another operation: the one that the user called.
    #[must_use]
    pub fn with_operation(self, operation: &'static str) -> Self {
        self.edit(|inner| inner.operation = operation)
    }

    /// Says in which store of a recorder it happened.
    #[must_use]
    pub(crate) fn in_store(self, name: &str) -> Self {
        self.edit(|inner| inner.message = format!("store '{name}': {}", inner.message).into())
    }

    fn edit(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = match Arc::try_unwrap(self.0) {
            Ok(inner) => inner,
            // A shared error becomes the cause of a new one, so that no part of it is lost.
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

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later although nothing was changed: another program has the
    /// recording open, a queue is full, or a server or the system did not answer.
    ///
    /// A recorder that [stopped](crate::OnStoreError::Stop) keeps returning its first error, whatever
    /// that was: open the recording again.
    ///
    /// ```
    /// use simrecorder_core::{Error, ErrorKind};
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

    /// The operation that failed, such as `record`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The key or path that the error is about.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The message alone, without operation, key and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// The source of an error that is shared with other clones of it.
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
            // An `Error` below has printed its own causes already.
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
