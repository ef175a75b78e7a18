//! A recording in an HDF5 file: nodes and their metadata, datasets, chunks and tails.

pub(crate) mod attributes;
pub(crate) mod dataset;
pub(crate) mod dataset_format;
pub(crate) mod datatype;
pub(crate) mod declared;
pub(crate) mod filters;
pub(crate) mod foreign_dimensions;
pub(crate) mod node;
pub(crate) mod node_path;
pub(crate) mod replacement;
pub(crate) mod root;
pub(crate) mod scales;
mod shuffle;
pub(crate) mod tail;
pub(crate) mod value;
pub(crate) mod variable;
