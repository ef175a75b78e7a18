//! What the columns engine of the core requires of a backend: reading and changing datasets.

pub(crate) mod changes;
pub(crate) mod reading;
