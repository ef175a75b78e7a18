//! The contract between the recorder and its stores.

pub(crate) mod array_view;
pub(crate) mod commit;
pub(crate) mod data_store;
pub(crate) mod encoded;
pub mod errors;
pub(crate) mod home;
pub(crate) mod node;
pub(crate) mod open_mode;
pub(crate) mod recording_info;
pub(crate) mod shared;
