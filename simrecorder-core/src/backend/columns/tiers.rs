//! Merging the frames of a tail.
//!
//! Each commit adds a frame to a tail, which makes reading it, loading it and keeping it in memory more expensive. So
//! frames are merged in tiers, by their number of rows: a frame of up to 15 rows is in the first tier, one of up to 255
//! in the second, and so on. Sixteen frames of a tier are merged into one of the next. A frame of a higher tier is
//! merged with the frames of lower tiers before it. Therefore tiers never increase towards the end of a tail, each tier
//! has at most 15 frames, and each row is written at most once for each tier.
//!
//! A tail begins to merge at a number of frames that depends on its name. Otherwise thousands of series that are
//! committed together would merge their frames in the same commit, which would need as much memory as all their tails.

use crate::backend::rows::FrameSize;

/// The most frames of a tail.
pub const MAX_FRAMES: usize = 256;

/// How many frames of a tier are merged into one of the next.
const FAN_OUT: usize = 16;

/// A tail begins to merge at this number of frames, or at up to this many more.
const WAIT: usize = 32;

/// How many bytes of frames a commit merges before other tails wait for a later one, up to `MAX_FRAMES / 2` frames.
const MERGED_BYTES: u64 = 8 << 20;

/// The bytes that a commit may still merge.
#[derive(Debug)]
pub(super) struct MergeBytes(u64);

impl MergeBytes {
    pub(super) fn of_commit() -> Self {
        Self(MERGED_BYTES)
    }

    pub(super) fn take(&mut self, bytes: u64) {
        self.0 = self.0.saturating_sub(bytes);
    }

    /// The number of frames at which the tail of the array at `path` begins to merge.
    pub(super) fn frames_before_merging(&self, path: &str) -> usize {
        match self.0 {
            0 => MAX_FRAMES / 2,
            _ => frames_before_merging(path),
        }
    }
}

fn frames_before_merging(path: &str) -> usize {
    WAIT + crc32fast::hash(path.as_bytes()) as usize % WAIT
}

/// The frames of a tail after a commit.
#[derive(Debug)]
pub(super) struct Tiers {
    /// How many of the frames before the commit remain unchanged.
    pub(super) kept: usize,
    /// The number of rows of each frame that is written after those.
    pub(super) written: Vec<u64>,
}

impl Tiers {
    /// The frames after a commit that adds frames with these numbers of rows to a tail, which begins to merge at
    /// `unmerged` frames.
    pub(super) fn new(
        old: &[FrameSize],
        new: impl Iterator<Item = u64> + Clone,
        unmerged: usize,
    ) -> Self {
        if old.len() + new.clone().count() <= unmerged {
            return Self::unmerged(old, new);
        }
        let mut frames = Vec::new();
        for rows in old.iter().map(|frame| frame.rows).chain(new) {
            push(&mut frames, rows);
        }
        let as_before = frames.iter().zip(old);
        let kept = as_before.take_while(|(rows, old)| **rows == old.rows);
        let kept = kept.count();
        Self {
            kept,
            written: frames.split_off(kept),
        }
    }

    /// The same without merging.
    pub(super) fn unmerged(old: &[FrameSize], new: impl Iterator<Item = u64>) -> Self {
        Self {
            kept: old.len(),
            written: new.collect(),
        }
    }
}

fn tier(rows: u64) -> u32 {
    rows.max(1).ilog(FAN_OUT as u64)
}

/// Adds a frame to those of a tail, and merges it with them if necessary.
fn push(frames: &mut Vec<u64>, mut rows: u64) {
    loop {
        // Merges frames of lower tiers, and those of the same tier if there are enough.
        let own = tier(rows);
        let same = frames.iter().rev();
        let same = same.take_while(|&&rows| tier(rows) <= own).count();
        let lower = frames.iter().rev();
        let lower = lower.take_while(|&&rows| tier(rows) < own).count();
        let merged = match same - lower + 1 >= FAN_OUT {
            true => same,
            false => lower,
        };
        let rest = frames.len() - merged;
        rows += frames.drain(rest..).sum::<u64>();
        if merged == 0 {
            frames.push(rows);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(rows: &[u64]) -> Vec<FrameSize> {
        rows.iter()
            .map(|&rows| FrameSize { rows, bytes: 0 })
            .collect()
    }

    proptest! {
        #[test]
        fn any_tail_has_few_frames_and_rows_are_written_once_for_each_tier(
            commits in prop::collection::vec(prop_oneof![
                20 => Just(1_u64), 5 => 1..40_u64, 1 => 1..100_000_u64,
            ], 0..2000),
            path in ".*",
        ) {
            let (mut tail, mut all, mut written) = (Vec::new(), 0, 0);
            let unmerged = frames_before_merging(&path);
            for rows in commits {
                let tiers = Tiers::new(&frames(&tail), std::iter::once(rows), unmerged);
                tail.truncate(tiers.kept);
                written += tiers.written.iter().sum::<u64>();
                tail.extend(tiers.written);
                all += rows;
                prop_assert_eq!(tail.iter().sum::<u64>(), all);
                prop_assert!(tail.len() <= MAX_FRAMES);
            }
            prop_assert!(written <= all * (1 + u64::from(tier(all))));
        }
    }

    #[test]
    fn a_long_tail_of_single_rows_is_merged_at_once() {
        let tiers = Tiers::new(&frames(&vec![1; 100_000]), std::iter::once(1), WAIT);
        assert_eq!(tiers.kept, 0);
        assert!(tiers.written.len() <= MAX_FRAMES);
        assert_eq!(tiers.written.iter().sum::<u64>(), 100_001);
    }

    #[test]
    fn a_commit_that_has_merged_enough_leaves_other_tails_to_later_ones() {
        let mut merges = MergeBytes::of_commit();
        merges.take(MERGED_BYTES - 1);
        assert!(merges.frames_before_merging("series") < 2 * WAIT);
        merges.take(2);
        assert_eq!(merges.frames_before_merging("series"), MAX_FRAMES / 2);
    }

    #[test]
    fn series_that_are_committed_together_merge_their_tails_in_different_commits() {
        let mut merged = [0; 2 * WAIT];
        for series in 0..100 * WAIT {
            merged[frames_before_merging(&format!("group/{series}"))] += 1;
        }
        assert!(merged[..WAIT].iter().all(|&count| count == 0));
        assert!(merged[WAIT..].iter().all(|count| (50..150).contains(count)));
    }
}
