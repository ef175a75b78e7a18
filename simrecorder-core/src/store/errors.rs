//! Errors that several stores report.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::{Kind, NodeKind};
use crate::model::schema::Schema;

/// The key has a node of another kind than `wanted`.
pub fn clash(operation: &'static str, key: &Key, is: NodeKind, wanted: NodeKind) -> Error {
    let message = format!("the key is a {is}, so it cannot be a {wanted}; use another key");
    Error::new(ErrorKind::KindMismatch, operation, message).with_key(key.as_str())
}

/// A key above `key` is not a group.
pub fn not_a_group(operation: &'static str, key: &Key, above: &Key, is: NodeKind) -> Error {
    let message = format!(
        "'{above}' is a {is}, not a group, so it cannot contain other keys; use another key"
    );
    Error::new(ErrorKind::KindMismatch, operation, message).with_key(key.as_str())
}

/// The node at a key was read as a node of another kind.
pub fn wrong_node(is: NodeKind, operation: &'static str) -> Error {
    let message = match is {
        NodeKind::Group => "this is a group; list it with children() or keys()",
        NodeKind::Value => "this is a value; read it with get()",
        NodeKind::Series => "this is a series; read it with get_all()",
    };
    Error::new(ErrorKind::KindMismatch, operation, message)
}

/// The node that should be truncated is not a series.
pub(crate) fn not_truncated(key: &Key, is: NodeKind) -> Error {
    let message = match is {
        NodeKind::Value => {
            "this is a value, which has no records to cut off; set() replaces it, remove() removes it"
        }
        _ => "this is a group; truncate each of its series",
    };
    Error::new(ErrorKind::KindMismatch, "truncate", message).with_key(key.as_str())
}

/// There is nothing at the key.
pub fn nothing_at(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        operation,
        "there is nothing at this key",
    )
}

/// Checks that a series of `schema` can begin with `filled` filled records.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
pub fn check_filled(schema: &Schema, filled: u64) -> Result<()> {
    let message = if filled > MAX_FILLED {
        format!("a series begins with at most 2^53 filled records, not {filled}")
    } else if filled > 0 && schema.kind() != Kind::Array {
        let kind = schema.kind();
        format!("a series of kind {kind} has no fill value, so it cannot begin with filled records")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidArgument, "commit", message))
}

/// Not every store counts more records exactly.
const MAX_FILLED: u64 = 1 << 53;

/// A commit appends to a series that was not declared.
pub fn not_declared(key: &Key) -> Error {
    let message = "the series was not declared";
    Error::new(ErrorKind::NotFound, "commit", message).with_key(key.as_str())
}

/// A change cannot describe the node at its key: there is none, or it is a group, or a value, which keeps the names
/// that it was set with.
pub fn not_described(key: &Key, is: Option<NodeKind>) -> Error {
    let (kind, message) = match is {
        None => (
            ErrorKind::NotFound,
            "there is nothing at this key to describe",
        ),
        Some(NodeKind::Group) => (
            ErrorKind::KindMismatch,
            "this is a group; only values and series can be described",
        ),
        Some(_) => (
            ErrorKind::InvalidArgument,
            "a value has the dimension names that it was set with; set it again",
        ),
    };
    Error::new(kind, "commit", message).with_key(key.as_str())
}

/// A batch does not begin where its series ends.
pub fn wrong_start(key: &Key, start: u64, len: u64) -> Error {
    let message = format!("a batch starts at record {start}, the series has {len}");
    Error::new(ErrorKind::Internal, "commit", message).with_key(key.as_str())
}

/// Records of a view were cut off, or their series removed, after the view was taken.
pub fn shortened() -> Error {
    let message = "records of this view were removed after it was taken; take a new view";
    Error::new(ErrorKind::OutOfBounds, "read", message)
}

/// The root cannot be removed, renamed or replaced.
pub fn root_stays(operation: &'static str) -> Error {
    let message = "the root of a recording cannot be removed or moved; name a key below it";
    Error::new(ErrorKind::InvalidArgument, operation, message)
}

/// Checks a renaming as far as that does not depend on the stored keys.
///
/// # Errors
/// `InvalidArgument` for the root, and for a key that would move into itself.
pub fn check_rename(from: &Key, to: &Key) -> Result<()> {
    let operation = "rename";
    if from.is_root() || to.is_root() {
        return Err(root_stays(operation));
    }
    if to != from && to.is_within(from) {
        let message = format!("the new key '{to}' is within this one; move it elsewhere first");
        let error = Error::new(ErrorKind::InvalidArgument, operation, message);
        return Err(error.with_key(from.as_str()));
    }
    Ok(())
}

/// The new key of a renaming exists.
pub fn already_there(key: &Key, is: NodeKind) -> Error {
    let message = format!("there is a {is} at the new key; remove it first, or use another key");
    Error::new(ErrorKind::AlreadyExists, "rename", message).with_key(key.as_str())
}

/// Another recording replaced the one of a view.
pub fn replaced() -> Error {
    let message = "another recording replaced this one; take a new view";
    Error::new(ErrorKind::OutOfBounds, "read", message)
}

/// Whether an error is about one node only, so that others may be readable.
pub fn is_of_one_node(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported)
}

/// The store was opened read only.
pub fn read_only(operation: &'static str) -> Error {
    let message = "the recording was opened read only; open it for appending";
    Error::new(ErrorKind::ReadOnly, operation, message)
}

/// `what`, a recorder or a store, was closed.
pub fn closed(operation: &'static str, what: &str) -> Error {
    let message = format!("the {what} was closed; open the recording again");
    Error::new(ErrorKind::Closed, operation, message)
}

/// Names the process with this number, if it is known.
pub fn process_name(id: Option<u32>) -> String {
    match id {
        Some(id) if id == std::process::id() => format!("this process ({id})"),
        Some(id) => format!("process {id}"),
        None => "another process".to_owned(),
    }
}

/// A process has the recording open for writing.
pub fn locked_by(process: Option<u32>, recording: &Path) -> Error {
    let message = format!(
        "{} is writing this recording; close it there first, or open it read only",
        process_name(process)
    );
    Error::new(ErrorKind::Locked, "open", message).with_key(recording.display().to_string())
}
