//! What the server has brought to its append-only file, as far as it says.
//!
//! A server that syncs every second acknowledges a commit before it is on the disk, and may even
//! acknowledge it before it has handed it to the operating system. So a writer keeps what it sent
//! until it knows better:
//!
//! - *Written*: the commit has left the memory of the server, so that it survives the server being
//!   killed. The file has grown past what it had to hold when the commit was acknowledged.
//! - *Synced*: it survives a power failure. At two moments more than a second apart no sync was
//!   under way, and the commit was written before the first. In between the server began a sync,
//!   which it does every second, and ended it.

use std::time::{Duration, Instant};

use redis::Value;

use crate::connection::reply::Reply;

/// Longer than the second after which a server syncs, and the tenth in which it looks.
const SYNC_INTERVAL: Duration = Duration::from_millis(1300);
/// How long commits are kept where nothing is known of the file.
pub(super) const BLIND_INTERVAL: Duration = Duration::from_secs(5);

/// What one `INFO persistence` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PersistenceInfo {
    enabled: bool,
    /// The size that the file had after it was last rewritten; it changes with each rewrite.
    base: u64,
    size: u64,
    buffered: u64,
    syncing: bool,
}

impl PersistenceInfo {
    /// The answer to `INFO persistence`; `None` if the server does not say.
    pub(super) fn from_reply(answer: Value) -> Option<Self> {
        Self::parse(&answer.text().ok().flatten()?)
    }

    fn parse(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok())
        };
        let enabled = field("aof_enabled")? == 1;
        let number = |name| if enabled { field(name) } else { Some(0) };
        Some(Self {
            enabled,
            base: number("aof_base_size")?,
            size: number("aof_current_size")?,
            buffered: number("aof_buffer_length")?,
            syncing: number("aof_pending_bio_fsync")? > 0,
        })
    }
}

/// What is known of one acknowledged commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommitDurability {
    acknowledged: Instant,
    /// Rewrite and size of the file that hold it.
    position: Option<(u64, u64)>,
    written: Option<Instant>,
}

impl CommitDurability {
    /// A commit that was just acknowledged, with what the server said right after it.
    pub(super) fn new(now: Instant, observed: Option<PersistenceInfo>) -> Self {
        Self {
            acknowledged: now,
            position: observed.map(|it| (it.base, it.size + it.buffered)),
            written: None,
        }
    }

    pub(super) fn is_written(&self) -> bool {
        self.written.is_some()
    }

    /// Takes note of what the server said later.
    pub(super) fn observe(&mut self, now: Instant, observed: PersistenceInfo) {
        match self.position {
            _ if self.written.is_some() => {}
            Some((base, size)) if base == observed.base => {
                if observed.size >= size {
                    self.written = Some(now);
                }
            }
            // Sizes from before a rewrite cannot be compared: start again.
            _ => self.position = Some((observed.base, observed.size + observed.buffered)),
        }
    }
}

/// What is known of the file as a whole.
#[derive(Debug, Default)]
pub(super) struct FileDurability {
    /// The server syncs before it acknowledges.
    pub(super) syncs_always: bool,
    /// When no sync was under way.
    quiet: Option<Instant>,
    /// What was written before this moment is synced.
    synced: Option<Instant>,
    disabled: bool,
}

impl FileDurability {
    pub(super) fn new(syncs_always: bool) -> Self {
        Self {
            syncs_always,
            ..Self::default()
        }
    }

    pub(super) fn observe(&mut self, now: Instant, observed: PersistenceInfo) {
        self.disabled = !observed.enabled;
        if observed.syncing {
            return;
        }
        match self.quiet {
            Some(quiet) if now.duration_since(quiet) < SYNC_INTERVAL => {}
            quiet => {
                self.synced = quiet;
                self.quiet = Some(now);
            }
        }
    }

    /// What was said by a server that has gone since does not count.
    pub(super) fn forget(&mut self) {
        (self.quiet, self.synced) = (None, None);
    }

    /// Whether a commit need not be kept any longer.
    pub(super) fn is_safe(&self, commit: &CommitDurability, now: Instant) -> bool {
        if self.syncs_always || self.disabled {
            return true;
        }
        match (commit.written, self.synced) {
            (Some(written), Some(synced)) => written <= synced,
            _ => {
                commit.position.is_none()
                    && now.duration_since(commit.acknowledged) > BLIND_INTERVAL
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(base: u64, size: u64, buffered: u64, syncing: bool) -> PersistenceInfo {
        PersistenceInfo {
            enabled: true,
            base,
            size,
            buffered,
            syncing,
        }
    }

    #[test]
    fn a_commit_is_written_when_the_file_has_grown_past_it() {
        let now = Instant::now();
        let mut commit = CommitDurability::new(now, Some(info(10, 100, 20, false)));
        commit.observe(now, info(10, 119, 1, false));
        assert!(!commit.is_written());
        // A rewrite makes another file, of which nothing is known yet.
        commit.observe(now, info(90, 500, 3, false));
        assert!(!commit.is_written());
        commit.observe(now, info(90, 502, 0, false));
        assert!(!commit.is_written());
        commit.observe(now, info(90, 503, 0, false));
        assert!(commit.is_written());
    }

    #[test]
    fn a_commit_is_synced_when_a_second_passed_between_two_quiet_moments() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut commit = CommitDurability::new(at(0), Some(info(1, 10, 0, false)));
        let mut file = FileDurability::default();
        for (millis, syncing, safe) in [
            (0, false, false),
            (900, true, false),
            (1200, false, false),
            (1400, false, true),
        ] {
            let observed = info(1, 10, 0, syncing);
            commit.observe(at(millis), observed);
            file.observe(at(millis), observed);
            assert_eq!(file.is_safe(&commit, at(millis)), safe, "{millis}");
        }
        let late = CommitDurability::new(at(1400), Some(info(1, 10, 0, false)));
        assert!(!file.is_safe(&late, at(1400)));
        file.forget();
        assert!(!file.is_safe(&commit, at(9000)));
    }

    #[test]
    fn what_the_server_does_not_say_is_no_observation() {
        assert_eq!(PersistenceInfo::parse("aof_enabled:x"), None);
        assert_eq!(
            PersistenceInfo::parse("aof_enabled:1\r\naof_base_size:1"),
            None
        );
        let text = "aof_enabled:1\r\naof_base_size:1\r\naof_current_size:5\r\n\
                    aof_buffer_length:2\r\naof_pending_bio_fsync:1\r\n";
        assert_eq!(PersistenceInfo::parse(text), Some(info(1, 5, 2, true)));
    }
}
