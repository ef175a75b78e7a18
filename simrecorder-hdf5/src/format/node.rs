//! Finds nodes in the file, and their kind.

use hdf5_metno_sys::h5g::H5Gcreate2;
use hdf5_metno_sys::h5i::H5I_type_t;
use hdf5_metno_sys::h5p::H5P_DEFAULT;
use hdf5_metno_sys::h5r::hobj_ref_t;
use serde_json::Value as Json;
use simrecorder_core::{Error, ErrorKind, Key, Kind, NodeKind, Result};

use crate::format::attributes::{Metadata, read_metadata, read_metadata_at};
use crate::format::dataset::{Dataset, link_creation};
use crate::format::node_path::{ENDS, ITEMS};
use crate::format::scales::is_dimension;
use crate::library::{Handle, c_string, has_link, locked, open_object, reference};

/// The format that this version writes.
pub(crate) const FORMAT: u64 = 1;

/// An object of the file that is a node.
#[derive(Debug)]
pub(crate) struct StoredNode {
    pub(crate) object: Handle,
    pub(crate) kind: NodeKind,
    /// `None` for an object of other software.
    pub(crate) metadata: Option<Metadata>,
}

/// The object at `key`; `None` if there is none.
pub(crate) fn find_object(root: &Handle, key: &Key) -> Result<Option<Handle>> {
    let mut object = open_object(root, "/")?;
    for part in key.parts() {
        if object.kind() != H5I_type_t::H5I_GROUP || !has_link(&object, part)? {
            return Ok(None);
        }
        object = open_object(&object, part)?;
    }
    Ok(Some(object))
}

/// The groups on the path of `key`, including `key` itself: the place of each in the file.
pub(crate) fn groups_on_the_way(root: &Handle, key: &Key) -> Result<Vec<hobj_ref_t>> {
    let mut object = open_object(root, "/")?;
    let mut groups = vec![reference(&object, ".")?];
    for part in key.parts() {
        object = open_object(&object, part)?;
        groups.push(reference(&object, ".")?);
    }
    Ok(groups)
}

/// The node at `key`. The parts of a series and dimensions are not nodes.
pub(crate) fn find(root: &Handle, key: &Key) -> Result<Option<StoredNode>> {
    locked(|| {
        if matches!(key.name(), ENDS | ITEMS)
            && let Some(parent) = key.parent().filter(|parent| !parent.is_root())
            && let Some(parent) = find_object(root, &parent)?
            && is_series(read_metadata(&parent)?.as_ref())
        {
            return Ok(None);
        }
        match find_object(root, key)? {
            Some(object) => StoredNode::of(object),
            None => Ok(None),
        }
    })
}

/// Whether the object at a link is a series or a value, from its metadata alone: opening datasets
/// takes most of the time of a listing. `None` if the object has to be opened.
pub(crate) fn kind_at(group: &Handle, link: &str) -> Option<NodeKind> {
    let metadata = read_metadata_at(group, link).ok()?;
    check_version(&metadata).ok()?;
    match metadata.get("node")?.as_str()? {
        "value" => Some(NodeKind::Value),
        "series" => Some(NodeKind::Series),
        _ => None,
    }
}

impl StoredNode {
    /// The node of an object; `None` if it is not a node.
    pub(crate) fn of(object: Handle) -> Result<Option<Self>> {
        let is_dataset = match object.kind() {
            H5I_type_t::H5I_DATASET => true,
            H5I_type_t::H5I_GROUP => false,
            _ => return Ok(None),
        };
        let metadata = read_metadata(&object)?;
        if let Some(metadata) = &metadata {
            check_version(metadata)?;
        }
        let stored = metadata
            .as_ref()
            .and_then(|metadata| metadata.get("node")?.as_str());
        let kind = match stored {
            Some("value") => NodeKind::Value,
            Some("series") => NodeKind::Series,
            Some("dimension") => return Ok(None),
            _ if !is_dataset => NodeKind::Group,
            _ => {
                let Some(dataset) = Dataset::from_handle(object) else {
                    return Ok(None);
                };
                let kind = match dataset.shape()?.is_empty() {
                    true => NodeKind::Value,
                    false => NodeKind::Series,
                };
                let object = dataset.into_handle();
                if is_dimension(&object)? {
                    return Ok(None);
                }
                return Ok(Some(Self {
                    object,
                    kind,
                    metadata,
                }));
            }
        };
        Ok(Some(Self {
            object,
            kind,
            metadata,
        }))
    }

    /// The kind of records or value in the metadata.
    pub(crate) fn stored_kind(&self) -> Result<Option<Kind>> {
        let kind = self
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get("kind"));
        kind.map(|kind| kind.as_str().unwrap_or_default().parse())
            .transpose()
    }

    /// The names that the user gave to the axes.
    pub(crate) fn dimension_names(&self) -> Option<Vec<Option<String>>> {
        dimension_names_of(self.metadata.as_ref()?)
    }

    /// Whether the metadata has a flag.
    pub(crate) fn has_flag(&self, name: &str) -> bool {
        let flag = self
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get(name));
        flag == Some(&Json::Bool(true))
    }
}

/// The names that the user gave to the axes of a node.
pub(crate) fn dimension_names_of(metadata: &Metadata) -> Option<Vec<Option<String>>> {
    let names = metadata.get("dimension_names")?.as_array()?;
    let names = names.iter().map(|name| name.as_str().map(str::to_owned));
    Some(names.collect())
}

fn is_series(metadata: Option<&Metadata>) -> bool {
    metadata.and_then(|metadata| metadata.get("node")?.as_str()) == Some("series")
}

/// Checks that the version in the metadata is supported.
pub(crate) fn check_version(metadata: &Metadata) -> Result<()> {
    let unsupported = |what: String| Err(Error::new(ErrorKind::Unsupported, "open", what));
    match metadata.get("format") {
        None => {}
        Some(format)
            if format
                .as_u64()
                .is_some_and(|format| (1..=FORMAT).contains(&format)) => {}
        Some(format) => {
            return unsupported(format!(
                "this was written in format {format}; this build reads format {FORMAT}"
            ));
        }
    }
    match metadata.get("requires") {
        None => Ok(()),
        Some(Json::Array(names)) if names.is_empty() => Ok(()),
        Some(names) => unsupported(format!(
            "this needs features that this build does not know: {names}"
        )),
    }
}

/// Creates a group.
pub(crate) fn create_group(parent: &Handle, name: &str) -> Result<Handle> {
    let name = c_string(name)?;
    locked(|| {
        let links = link_creation()?;
        // SAFETY: the name ends with a NUL and outlives the call.
        let id = unsafe {
            H5Gcreate2(
                parent.id(),
                name.as_ptr(),
                links.id(),
                H5P_DEFAULT,
                H5P_DEFAULT,
            )
        };
        Handle::write(id, "make a group")
    })
}
