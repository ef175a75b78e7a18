//! The columns of series: datasets of rows, how rows come into them and how they are read.

pub(crate) mod append;
pub(crate) mod column;
