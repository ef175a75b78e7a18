//! What the columns engine of the core asks of a backend: reading datasets and changing them.

pub(crate) mod changes;
pub(crate) mod reading;
