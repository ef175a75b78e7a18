//! What works on whole recordings: copying, draining and verifying them.

pub(crate) mod copy;
pub(crate) mod drain;
pub(crate) mod verify;
