//! Converts LMDB errors into the project's error type.

use std::path::Path;

use heed::MdbError;
use simrecorder_core::{Error, ErrorKind};

use super::folder;

/// The error of `operation` on the recording at `path`.
pub(super) fn from_heed(operation: &'static str, path: &Path, error: heed::Error) -> Error {
    use ErrorKind as Kind;
    let (kind, message) = match &error {
        heed::Error::Io(_) => {
            let heed::Error::Io(error) = error else {
                unreachable!("matched just above");
            };
            return from_io(operation, path, error);
        }
        heed::Error::EnvAlreadyOpened => (
            Kind::Locked,
            "this process already has it open through another path or library; close it there \
             first",
        ),
        heed::Error::Encoding(_) | heed::Error::Decoding(_) => {
            (Kind::Internal, "an entry could not be passed to LMDB")
        }
        heed::Error::Mdb(error) => match error {
            MdbError::PageNotFound | MdbError::Corrupted | MdbError::Invalid => {
                (Kind::Corrupt, "LMDB reports that the data file is damaged")
            }
            MdbError::VersionMismatch => (
                Kind::Unsupported,
                "a program with another version of LMDB has it open; close it there first",
            ),
            MdbError::MapFull => (Kind::StorageFull, ADDRESS_SPACE),
            MdbError::Panic => (
                Kind::Io,
                "LMDB stopped after an earlier failure of the disk; close and open it again",
            ),
            MdbError::ReadersFull => (
                Kind::Locked,
                "too many readers at a time: every slot of its lock file is taken",
            ),
            MdbError::BadValSize => (Kind::InvalidKey, "the key is longer than LMDB allows"),
            MdbError::Incompatible => (
                Kind::Corrupt,
                "a key holds a named LMDB database, which is not part of a recording",
            ),
            _ => (
                Kind::Internal,
                "LMDB reported an error that should not occur",
            ),
        },
    };
    Error::new(kind, operation, message)
        .with_key(path.display().to_string())
        .with_source(error)
}

pub(super) const ADDRESS_SPACE: &str = "the recording does not fit into the address space that \
    this process may use; raise its limit (ulimit -v)";

pub(super) fn from_io(operation: &'static str, path: &Path, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::OutOfMemory {
        return Error::new(ErrorKind::Io, operation, ADDRESS_SPACE)
            .with_key(path.display().to_string())
            .with_source(error);
    }
    Error::io(operation, path, error)
}

/// Like [`from_heed`], for a failed commit: if the disk takes only a part of a write, LMDB reports
/// `EIO`, which is how a disk that becomes full appears.
pub(super) fn from_commit(path: &Path, bytes: u64, error: heed::Error) -> Error {
    if let heed::Error::Io(io) = &error
        && folder::is_short_write(io)
    {
        let message = match () {
            () if folder::lacks_space(path, bytes) => "the file system is full; free some space",
            () if folder::may_not_grow(path, bytes) => "the file cannot grow further (ulimit -f)",
            () => return from_heed("commit", path, error),
        };
        return Error::new(ErrorKind::StorageFull, "commit", message)
            .with_key(path.display().to_string())
            .with_source(error);
    }
    from_heed("commit", path, error)
}
