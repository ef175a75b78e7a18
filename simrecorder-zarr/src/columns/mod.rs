//! The columns of series, as arrays.

pub(crate) mod append;
pub(crate) mod column;
pub(crate) mod encoded;
pub(crate) mod view;
