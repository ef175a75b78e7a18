//! The random number by which a recording is known, wherever it lies.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The `id` of a recording: 32 hexadecimal digits, if simrecorder made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordingId(Arc<str>);

impl RecordingId {
    /// An id that no other recording has.
    pub(crate) fn random() -> Self {
        // The keys of hash maps are as random as the system makes them.
        let half = || {
            let mut hasher = RandomState::new().build_hasher();
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            hasher.write_u128(now.map_or(0, |now| now.as_nanos()));
            hasher.write_u32(std::process::id());
            hasher.finish()
        };
        Self(format!("{:016x}{:016x}", half(), half()).into())
    }

    /// The id that a recording or its journal says it has.
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
