//! The owner of the files of a directory, and whether the journal next to them belongs to them.

use simrecorder_core::{Error, ErrorKind};

use super::paths::Paths;
use crate::format::metadata::Document;
use crate::format::recording_id::RecordingId;

/// What the root's metadata file says about the recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Owner {
    /// There is no such file.
    #[default]
    Missing,
    /// The file is not valid metadata. Reading it reports the error.
    Unknown,
    /// It has no id, as in a hierarchy of other software.
    Nobody,
    Recording(RecordingId),
}

impl Owner {
    /// The owner of a directory whose root has this metadata.
    pub(super) fn of(metadata: &[u8]) -> Self {
        match Document::recording_id_in(metadata) {
            None => Self::Unknown,
            Some(None) => Self::Nobody,
            Some(Some(id)) => Self::Recording(id),
        }
    }

    pub(super) fn id(&self) -> Option<&RecordingId> {
        match self {
            Self::Recording(id) => Some(id),
            _ => None,
        }
    }

    /// Whether a journal that names this recording may belong to the files.
    ///
    /// A writer names the recording in a journal only if the files name it, too, or if the root has
    /// no metadata yet.
    pub(super) fn may_have_journal_of(&self, named: Option<&RecordingId>) -> bool {
        match (self, named) {
            // A fuzzer does not guess ids.
            (_, _) if cfg!(fuzzing) => true,
            (_, None) | (Self::Missing | Self::Unknown, _) => true,
            (Self::Nobody, Some(_)) => false,
            (Self::Recording(id), Some(named)) => id == named,
        }
    }
}

pub(super) fn journal_of_another(paths: &Paths) -> Error {
    let message = format!(
        "the journal next to it, '{}', belongs to another recording; move one of them away",
        paths.journal.display()
    );
    paths.refuse(ErrorKind::Corrupt, message)
}
