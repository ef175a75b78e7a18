//! Parts that backends build on: logs of records in files, and locks on files.
//!
//! Programs that record need none of this.

mod files;
mod record_log;

pub use files::{Lock, lock_file, names, sync_directory};
pub use record_log::{
    Format, HEADER_LEN, Position, Record, Scanned, Sealed, generation, scan, u32_at, u64_at,
};
