//! The random number that identifies a recording, wherever it is.

use std::sync::Arc;

use simrecorder_core::backend::random_number;

/// The `id` of a recording: 32 hexadecimal digits, if simrecorder created it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordingId(Arc<str>);

impl RecordingId {
    /// An id that no other recording has.
    pub(crate) fn random() -> Self {
        Self(format!("{:016x}{:016x}", random_number(), random_number()).into())
    }

    /// The id that a recording or its journal contains.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_another_one_of_32_digits() {
        let (one, other) = (RecordingId::random(), RecordingId::random());
        assert_ne!(one, other);
        for id in [one, other] {
            assert_eq!(id.as_str().len(), 32);
            assert!(id.as_str().bytes().all(|digit| digit.is_ascii_hexdigit()));
            let (first, second) = id.as_str().split_at(16);
            assert_ne!(first, second);
        }
    }
}
