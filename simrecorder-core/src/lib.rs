//! core
#![forbid(unsafe_code)]
mod error;
mod open_mode;
pub use error::{Error, ErrorKind, Result};
pub use open_mode::{Durability, OpenMode};
