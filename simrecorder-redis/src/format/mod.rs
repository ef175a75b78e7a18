//! What a recording looks like on a server: the names of its keys, documents about them, the index
//! of a series, and frames of records.

pub(crate) mod document;
pub(crate) mod frame;
pub(crate) mod index;
pub(crate) mod names;
