//! The contract between the recorder and its stores.

pub(crate) mod data_store;
pub(crate) mod home;
pub(crate) mod open_mode;
