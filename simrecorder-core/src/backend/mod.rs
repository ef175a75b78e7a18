//! Parts that backends share: grids of chunks, rows in memory, ragged records, names of dimensions, logs of
//! records in files, and locks on files.
//!
//! Programs that record do not need it. It may change with any version; the backends of this project require the core
//! of their own version.

mod chunk_grid;
pub mod columns;
pub mod dimensions;
mod disk_usage;
mod files;
mod filled;
pub mod fork;
mod memory;
pub mod parallel;
mod ragged;
mod record_log;
mod rows;
pub mod sync;
mod writer_lock;

pub use crate::model::key::is_path_within;
pub use crate::store::array_view::SharedView;
pub use crate::store::encoded::{Encoded, EncodedChange, EncodedStore, EncodedView, StoredForm};
pub use crate::store::errors;
pub use crate::store::shared::SharedStore;
pub use chunk_grid::ChunkGrid;
pub use disk_usage::{allocated, disk_usage};
pub use files::{
    FileHandle, Lock, check_not_deleted, check_plain_file, deleted, folder_of, is_locked,
    lock_file, lock_file_within, names, open_inside, path_inside, sync_directory,
};
pub use filled::{fill_elements, fill_records};
pub(crate) use memory::return_freed;
pub use memory::{room, too_large, with_buffer, with_scratch, zeroed};
pub use ragged::{count_records, read_fixed, read_ragged, read_record_ends};
pub use record_log::{
    Format, HEADER_LEN, Position, Record, Scanned, Sealed, SealedStart, generation, scan, u32_at,
    u64_at,
};
pub use rows::{
    FrameSize, Gathered, RowSize, Rows, RowsRef, count_rows, frame_sizes, read_frames, write_frame,
};
pub use writer_lock::{LOCK_PATIENCE, WriterLock, holder};

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns a random number to identify a recording or writer; never 0.
///
/// It is not suitable for secrets.
pub fn random_number() -> u64 {
    // The system chooses random keys for hash maps.
    let mut hasher = RandomState::new().build_hasher();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    hasher.write_u128(now.map_or(0, |now| now.as_nanos()));
    hasher.write_u32(std::process::id());
    hasher.finish().max(1)
}
