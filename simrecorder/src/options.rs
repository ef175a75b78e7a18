//! How a store is opened: what all backends understand.

use simrecorder_core::{ChunkPolicy, Compression, Durability, Error, ErrorKind, OpenMode, Result};

/// How [`open_with`](crate::open_with) opens a store: what all backends understand.
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
    /// Read only, and for the rest what each backend does by default.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do with the recording that is, or is not, there.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// What a commit survives; not for Redis servers, whose own settings say.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// How the records of new series are cut into chunks, unless their schema says.
    #[must_use]
    pub fn chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = Some(policy);
        self
    }

    /// How the chunks of new series are compressed, unless their schema says.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Takes one `name=value` of a URL. Returns whether it is one of these options; if not, that is
    /// an error, unless the backend has `more` of its own.
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
