//! Paths of nodes in the Zarr hierarchy.

use simrecorder_core::{Error, ErrorKind, Key, Result};

use crate::lmdb::MAX_KEY_BYTES;

/// Precedes a name that Zarr reserves.
pub(crate) const ESCAPE: char = '%';
/// The longest file name on common file systems.
const MAX_NAME_BYTES: usize = 255;
/// LMDB's longest key, minus room for `/values/c/` and the index of a chunk.
const MAX_PATH_BYTES: usize = MAX_KEY_BYTES - 71;

/// The names of metadata documents of Zarr V2.
pub(crate) const METADATA_OF_ZARR_V2: [&str; 2] = [".zarray", ".zgroup"];

/// The array with the end of each record, in a series of two columns.
pub(crate) const ENDS: &str = "ends";
/// The array with the items of all records, in a series of two columns.
pub(crate) const ITEMS: &str = "values";

/// The path of the node of `key`, without slashes at its ends; empty for the root.
///
/// Zarr V3 reserves names that begin with `__` and the name `zarr.json`. These names, and names
/// that begin with `%`, get a `%` in front.
pub(crate) fn node_path(key: &Key) -> Result<String> {
    let mut path = String::with_capacity(key.as_str().len() + 4);
    for name in key.parts() {
        if !path.is_empty() {
            path.push('/');
        }
        if is_reserved(name) {
            path.push(ESCAPE);
        }
        let start = path.len();
        path.push_str(name);
        let bytes = path.len() - start + 1;
        if bytes > MAX_NAME_BYTES {
            let message = format!(
                "one level of the key has {} bytes, Zarr recordings allow {}",
                bytes - 1,
                MAX_NAME_BYTES - 1
            );
            return Err(too_long(key, message));
        }
    }
    if path.len() > MAX_PATH_BYTES {
        let message = format!(
            "the key has {} bytes, Zarr recordings allow {MAX_PATH_BYTES}",
            path.len()
        );
        return Err(too_long(key, message));
    }
    Ok(path)
}

/// Whether a name gets a `%` in front.
fn is_reserved(name: &str) -> bool {
    name.starts_with("__") || name.starts_with(ESCAPE) || name == "zarr.json"
}

/// The name in a path for `name`.
pub(crate) fn escaped(name: String) -> String {
    match is_reserved(&name) {
        true => format!("{ESCAPE}{name}"),
        false => name,
    }
}

fn too_long(key: &Key, message: String) -> Error {
    let text: String = key.as_str().chars().take(64).collect();
    Error::new(ErrorKind::InvalidKey, "check key", message).with_key(format!("{text}…"))
}

/// The key of the child `name` of `group`; `None` if it is not a key, such as a folder of other
/// software.
pub(crate) fn child_key(group: &Key, name: &str) -> Option<Key> {
    let plain = match name.strip_prefix(ESCAPE) {
        Some(plain) => plain,
        None if name.starts_with("__") => return None,
        None => name,
    };
    let key = group.join(plain).ok()?;
    let path = node_path(&key).ok()?;
    let stands_there = path.rsplit('/').next() == Some(name);
    (stands_there && key.parent().as_ref() == Some(group)).then_some(key)
}

/// The parent of `key`, if that may be a series of which `key` is a part.
pub(crate) fn parent_of_part(key: &Key) -> Option<Key> {
    match key.name() {
        ENDS | ITEMS => key.parent().filter(|parent| !parent.is_root()),
        _ => None,
    }
}

/// The entry with the metadata of the node at `path`.
pub(crate) fn metadata_entry(path: &str) -> String {
    entry(path, "zarr.json")
}

/// Whether an entry is the metadata of a node.
pub(crate) fn is_metadata(entry: &[u8]) -> bool {
    entry
        .strip_suffix(b"zarr.json")
        .is_some_and(|path| path.is_empty() || path.ends_with(b"/"))
}

/// The entry `name` of the node at `path`.
pub(crate) fn entry(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_zarr_reserves_are_encoded_and_come_back() {
        for (name, path) in [
            ("__x", "%__x"),
            ("zarr.json", "%zarr.json"),
            ("%a", "%%a"),
            ("c", "c"),
            ("_x", "_x"),
        ] {
            let key = Key::new(name).unwrap();
            assert_eq!(node_path(&key).unwrap(), path);
            assert_eq!(child_key(&Key::ROOT, path), Some(key));
        }
        // Other software put it there, under a name that no key leads to.
        assert_eq!(child_key(&Key::ROOT, "__other"), None);
        assert_eq!(child_key(&Key::ROOT, "%other"), None);
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused() {
        for key in ["x".repeat(255), ["y"; 300].join("/")] {
            let error = node_path(&Key::new(key).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey);
        }
        assert!(node_path(&Key::new("x".repeat(254)).unwrap()).is_ok());
    }

    proptest! {
        #[test]
        fn every_name_round_trips_through_its_path(name in "[^/\\p{Cc}]{1,40}") {
            prop_assume!(name != "." && name != "..");
            let key = Key::new(&name).unwrap();
            let path = node_path(&key).unwrap();
            prop_assert_eq!(child_key(&Key::ROOT, &path), Some(key));
        }
    }
}
