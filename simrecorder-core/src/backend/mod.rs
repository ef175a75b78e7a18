//! Parts that backends share: grids of chunks, rows in memory, ragged records, logs of records in files, and locks
//! on files.
//!
//! Programs that record need none of it. It may change with any version: the backends of this
//! project ask for the core of their own version.

mod chunk_grid;
mod files;
mod ragged;
mod record_log;
mod rows;

pub use crate::store::encoded::{Encoded, EncodedChange, EncodedStore, EncodedView, StoredForm};
pub use crate::store::errors;
pub use crate::store::shared::{SharedStore, SharedView};
pub use chunk_grid::ChunkGrid;
pub use files::{
    Lock, check_not_deleted, check_plain_file, deleted, lock_file, names, path_inside,
    sync_directory,
};
pub use ragged::{count_records, read_ragged, read_stops};
pub use record_log::{
    Format, HEADER_LEN, Position, Record, Scanned, Sealed, generation, scan, u32_at, u64_at,
};
pub use rows::{Gathered, RowSize, Rows, RowsRef, count_rows, read_frames, write_frame};

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind, Result};

use crate::model::records::Records;

use crate::reading::selection::Region;

use crate::store::array_view::ArrayView;

/// A number that no other recording or writer has; never 0.
///
/// It is for telling them apart, not for secrets.
pub fn random_number() -> u64 {
    // The keys of hash maps are as random as the system makes them.
    let mut hasher = RandomState::new().build_hasher();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    hasher.write_u128(now.map_or(0, |now| now.as_nanos()));
    hasher.write_u32(std::process::id());
    hasher.finish().max(1)
}

/// Zeros.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if there is no memory for them.
pub fn zeroed(bytes: usize) -> Result<Vec<u8>> {
    bytemuck::allocation::try_zeroed_vec(bytes).map_err(|()| too_large(bytes))
}

/// Reads records of one size through [`read_into`](ArrayView::read_into), from the start of `range`
/// on, which lies within the view: at least one if it is not empty, and no more than `max_bytes` hold.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if there is no memory for them, and those of the view.
pub fn read_fixed(
    view: &(impl ArrayView + ?Sized),
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Records> {
    let schema = view.schema();
    let size = schema.record_bytes().unwrap_or(usize::MAX);
    let fitting = (max_bytes / size.max(1)).max(1) as u64;
    let count = fitting.min(range.end.saturating_sub(range.start));
    let mut data = zeroed(size.saturating_mul(count as usize))?;
    let range = range.start..range.start + count;
    view.read_into(&Region::records(range, view.shape()), &mut data)?;
    Records::fixed(Arc::clone(schema), count, data)
}

/// The error of what does not fit into memory.
pub fn too_large(bytes: usize) -> Error {
    let message = format!("{bytes} bytes do not fit into memory");
    Error::new(ErrorKind::TooLarge, "read", message)
}
