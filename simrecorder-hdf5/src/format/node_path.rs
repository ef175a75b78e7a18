//! Where nodes are in the file: from keys to paths.

use simrecorder_core::Key;

/// The dataset of a ragged series that says where each record ends.
pub(crate) const ENDS: &str = "ends";
/// The dataset of a ragged series that holds the items of all records.
pub(crate) const ITEMS: &str = "values";

/// The path of a key in the file.
pub(crate) fn path_of(key: &Key) -> String {
    format!("/{}", key.as_str())
}

/// The path of a part of a series.
pub(crate) fn part_path(path: &str, part: &str) -> String {
    format!("{path}/{part}")
}
