//! Options of opening a store that all backends share.

use simrecorder_core::{ChunkPolicy, Compression, Durability, Error, ErrorKind, OpenMode, Result};

/// Options of [`open_with`](crate::open_with) that all backends share. The builders of the stores, such as
/// [`ZarrOptions`](crate::ZarrOptions), have more.
///
/// ```
/// use simrecorder::{Compression, OpenMode, OpenOptions};
///
/// let options = OpenOptions::new().mode(OpenMode::CreateNew).compression(Compression::Small);
/// let store = simrecorder::open_with("memory:", &options)?;
/// assert!(!store.is_read_only());
/// # use simrecorder::prelude::*;
/// # Ok::<(), simrecorder::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    pub(crate) mode: OpenMode,
    pub(crate) durability: Option<Durability>,
    pub(crate) chunk_policy: Option<ChunkPolicy>,
    pub(crate) compression: Option<Compression>,
}

impl OpenOptions {
    /// Returns the defaults: read only, and otherwise the defaults of the backend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the recording is read, continued or created; by default it is read.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets what a commit survives; by default a power failure too. An error for Redis servers, whose settings decide it.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Sets how the records of new series are cut into chunks, unless their schema has a chunk policy.
    #[must_use]
    pub fn chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = Some(policy);
        self
    }

    /// Sets how the chunks of new series are compressed, unless their schema has a compression.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Sets the option `name=value` of a URL, and returns whether it is one of these options. An unknown option is an
    /// error unless the backend has `more` options.
    pub(crate) fn set(&mut self, option: &str, more: bool) -> Result<bool> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "mode" => {
                let mode = value.parse::<OpenMode>();
                self.mode = mode.map_err(|e| e.with_operation("open"))?;
            }
            "compression" => {
                let compression = value.parse::<Compression>();
                self.compression = Some(compression.map_err(|e| e.with_operation("open"))?);
            }
            _ if more => return Ok(false),
            _ => {
                let message = format!(
                    "unknown option '{}'; the options are mode and compression",
                    name.escape_debug()
                );
                return Err(Error::new(ErrorKind::InvalidArgument, "open", message));
            }
        }
        Ok(true)
    }
}
