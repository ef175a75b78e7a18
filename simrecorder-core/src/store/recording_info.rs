//! A description of a recording as a whole.

/// A description of a recording as a whole; [`DataStore::info`](crate::DataStore::info) returns it.
///
/// A field is `None` if the store does not know it without reading much, so that a large recording answers quickly too.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, prelude::*};
///
/// let info = InMemoryDataStore::new().info()?;
/// if let Some(bytes) = info.bytes {
///     println!("{}: {bytes} bytes on the disk", info.format);
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordingInfo {
    /// How the recording is stored, as text for people: `Zarr V3 in LMDB`.
    pub format: String,
    /// The version of simrecorder's format; `None` for a recording of other software.
    pub version: Option<u64>,
    /// The features that a reader must support in addition to this version.
    pub features: Vec<String>,
    /// The program that created the recording, with its version.
    pub writer: Option<String>,
    /// The id of the recording.
    pub id: Option<String>,
    /// The size of the recording on the disk in bytes, including its journal.
    pub bytes: Option<u64>,
    /// The bytes that contain data. A writer reuses the rest.
    pub live_bytes: Option<u64>,
    /// The size of the journal in bytes; 0 if there is none.
    pub journal_bytes: Option<u64>,
    /// The number of arrays with a tail.
    pub tails: Option<u64>,
    /// Whether everything is in the form that other software reads, as after
    /// [`checkpoint`](crate::DataStore::checkpoint) and [`close`](crate::DataStore::close).
    pub is_checkpointed: Option<bool>,
    /// Whether a process has the recording open for writing; `None` if that is unknown.
    pub is_being_written: Option<bool>,
    /// The number of writers that ended without closing the recording, in a store with several writers. It does not count
    /// those that were lost before another writer opened the recording.
    pub lost_writers: Option<u64>,
    /// A number that grows with each commit; `None` if the store does not count commits.
    pub revision: Option<u64>,
}

impl RecordingInfo {
    /// Describes only how the recording is stored.
    pub fn new(format: impl Into<String>) -> Self {
        Self {
            format: format.into(),
            ..Self::default()
        }
    }

    /// Whether no process writes the recording and a writer ended without closing it, because it was killed or its host
    /// failed. `None` if that is unknown.
    pub fn is_abandoned(&self) -> Option<bool> {
        let has_lost = match self.lost_writers {
            Some(count) => count > 0,
            None => !self.is_checkpointed?,
        };
        Some(has_lost && !self.is_being_written?)
    }

    /// Adds the attributes of the root: `format`, `requires`, `writer` and `id`.
    pub fn add_root(&mut self, root: &serde_json::Map<String, serde_json::Value>) {
        let text = |name: &str| Some(root.get(name)?.as_str()?.to_owned());
        self.version = root.get("format").and_then(serde_json::Value::as_u64);
        let features = root.get("requires").and_then(serde_json::Value::as_array);
        let names = features.into_iter().flatten();
        self.features = names
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect();
        self.writer = text("writer");
        self.id = text("id");
    }
}
