//! What the server has written to its append-only file, according to its reports.
//!
//! A server that syncs every second acknowledges a commit before it is on disk, and possibly even
//! before it has passed it to the operating system. So a writer keeps its commits until they are
//! safe:
//!
//! - *Written*: the commit has left the memory of the server, so it survives if the server is
//!   killed. The file has grown beyond its size at the time of the acknowledgement plus the
//!   buffered bytes.
//! - *Synced*: the commit survives a power failure. At two moments more than a second apart, no
//!   sync was in progress, and the commit was written before the first of them. In between, the
//!   server began and completed a sync, because it syncs every second.

use std::time::{Duration, Instant};

use redis::Value;

use crate::connection::reply::Reply;

/// Longer than the second after which a server syncs, plus the tenth of a second in which it
/// checks.
const SYNC_INTERVAL: Duration = Duration::from_millis(1300);
/// How long commits are kept if the state of the file is unknown.
pub(super) const BLIND_INTERVAL: Duration = Duration::from_secs(5);

/// The contents of one `INFO persistence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PersistenceInfo {
    enabled: bool,
    /// The size of the file after its last rewrite; it changes with each rewrite.
    base: u64,
    size: u64,
    buffered: u64,
    syncing: bool,
}

impl PersistenceInfo {
    /// Parses the reply to `INFO persistence`; `None` if the server does not report it.
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

/// What is known about one acknowledged commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommitDurability {
    acknowledged: Instant,
    /// The rewrite and the size of the file that contains it.
    position: Option<(u64, u64)>,
    written: Option<Instant>,
}

impl CommitDurability {
    /// A commit that was just acknowledged, with the server's report directly afterwards.
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

    /// Takes a later report of the server into account.
    pub(super) fn observe(&mut self, now: Instant, observed: PersistenceInfo) {
        match self.position {
            _ if self.written.is_some() => {}
            Some((base, size)) if base == observed.base => {
                if observed.size >= size {
                    self.written = Some(now);
                }
            }
            // Sizes from before a rewrite cannot be compared, so start again.
            _ => self.position = Some((observed.base, observed.size + observed.buffered)),
        }
    }
}

/// What is known about the file as a whole.
#[derive(Debug, Default)]
pub(super) struct FileDurability {
    /// The server syncs before it acknowledges.
    pub(super) syncs_always: bool,
    /// The time when no sync was in progress.
    quiet: Option<Instant>,
    /// Everything that was written before this time is synced.
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

    /// Forgets the reports of a server that has ended since.
    pub(super) fn forget(&mut self) {
        (self.quiet, self.synced) = (None, None);
    }

    /// Whether a commit no longer has to be kept.
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
        // A rewrite creates another file, whose state is unknown.
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
    fn a_missing_report_of_the_server_is_not_an_observation() {
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
