//! The format of a recording on a server: the names of its keys, their metadata, the state and the
//! index of a series, and frames of records. `docs/format.md` specifies it.

pub(crate) mod document;
pub(crate) mod frame;
pub(crate) mod index;
pub(crate) mod names;
pub(crate) mod state;
