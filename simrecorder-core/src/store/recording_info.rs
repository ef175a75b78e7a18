//! What a store knows of its recording as a whole.

/// What a store knows of its recording as a whole: see [`DataStore::info`](crate::DataStore::info).
///
/// Only what the store knows at little cost is there, so that even a large recording answers soon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordingInfo {
    /// How the recording is stored, for people: `Zarr V3 in LMDB`.
    pub format: String,
    /// The version of the format of simrecorder; `None` for a recording of other software.
    pub version: Option<u64>,
    /// The features that a reader must know beyond this version.
    pub features: Vec<String>,
    /// The program that created the recording, with its version.
    pub writer: Option<String>,
    /// The id of the recording.
    pub id: Option<String>,
    /// How many bytes the recording takes on the disk, its journal included.
    pub bytes: Option<u64>,
    /// How many bytes of these a writer counts on. The rest is room that it uses again.
    pub live_bytes: Option<u64>,
    /// How many bytes the journal takes; 0 if there is none.
    pub journal_bytes: Option<u64>,
    /// How many arrays have a tail.
    pub tails: Option<u64>,
    /// Whether everything is in the form that other software reads, as after
    /// [`checkpoint`](crate::DataStore::checkpoint) and [`close`](crate::DataStore::close).
    pub is_checkpointed: Option<bool>,
    /// Whether a process has the recording open for writing; `None` where that cannot be known.
    pub is_being_written: Option<bool>,
    /// How many writers of a recording with several neither closed it nor are connected any longer. Those
    /// that were lost before another writer opened the recording are not counted.
    pub lost_writers: Option<u64>,
    /// A number that grows with each commit, where a store counts them.
    pub revision: Option<u64>,
}

impl RecordingInfo {
    /// Nothing but how the recording is stored.
    pub fn new(format: impl Into<String>) -> Self {
        Self {
            format: format.into(),
            ..Self::default()
        }
    }

    /// Whether nothing writes the recording, and a writer ended without closing it: it was killed, for
    /// example, or its host failed. `None` where that cannot be known.
    pub fn is_abandoned(&self) -> Option<bool> {
        let has_lost = match self.lost_writers {
            Some(count) => count > 0,
            None => !self.is_checkpointed?,
        };
        Some(has_lost && !self.is_being_written?)
    }

    /// Adds what a recording says at its root: `format`, `requires`, `writer` and `id`.
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
