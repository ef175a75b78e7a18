//! Paths of nodes in the file.

use simrecorder_core::Key;

/// The dataset with the end of each record of a ragged series.
pub(crate) const ENDS: &str = "ends";
/// The dataset with the items of all records of a ragged series.
pub(crate) const ITEMS: &str = "values";

/// The path of a key in the file.
pub(crate) fn path_of(key: &Key) -> String {
    format!("/{}", key.as_str())
}

/// The path of a part of a series.
pub(crate) fn part_path(path: &str, part: &str) -> String {
    format!("{path}/{part}")
}
