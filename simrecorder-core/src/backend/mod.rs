//! For backends: what they would otherwise each write themselves.
//!
//! Programs that record need none of it.

mod chunk_grid;
mod rows;

pub use chunk_grid::ChunkGrid;
pub use rows::{Gathered, RowSize, Rows, RowsRef, count_rows, read_frames, write_frame};

use crate::{Error, ErrorKind, Result};

/// Zeros.
///
/// # Errors
/// [`ErrorKind::OutOfBounds`] if there is no memory for them.
pub fn zeroed(bytes: usize) -> Result<Vec<u8>> {
    bytemuck::allocation::try_zeroed_vec(bytes).map_err(|()| too_large(bytes))
}

/// The error of what does not fit into memory.
pub fn too_large(bytes: usize) -> Error {
    let message = format!("{bytes} bytes do not fit into memory");
    Error::new(ErrorKind::OutOfBounds, "read", message)
}
