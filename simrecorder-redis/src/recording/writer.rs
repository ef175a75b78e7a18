//! The writer of a store. It numbers its commits, and keeps those that the server may still lose.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::Value;
use simrecorder_core::{Error, ErrorKind, Key, Result};

use crate::connection::errors::unexpected;
use crate::connection::reply::{Commands, Reply, command};
use crate::connection::{Failure, Link};
use crate::format::document::SeriesDocument;
use crate::format::names::{SlotNames, writer_name};
use crate::recording::buffers::BufferPool;
use crate::recording::claims::Claims;
use crate::recording::keyspace::Keyspace;
use crate::recording::persistence::{CommitDurability, FileDurability, PersistenceInfo};
use crate::recording::script::{self, CommitNumber, ScriptReply, Slot};

/// How often lost frames are sent again before the commit fails.
const ATTEMPTS: usize = 3;
/// The minimum time that a server may take to write its append-only file, even with a shorter retry
/// limit.
const MIN_WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two checks whether the server has written.
const PAUSE: Duration = Duration::from_millis(5);

/// The part of a commit for the keys of one slot of a cluster; without a cluster, the whole commit.
#[derive(Debug, Default)]
pub(super) struct SlotCommands {
    /// The commands that store its frames.
    pub(super) frames: Vec<Commands>,
    /// The changes as arguments of the script.
    pub(super) changes: Vec<Vec<u8>>,
}

/// A commit as commands, without a number yet.
#[derive(Debug)]
pub(super) struct CommitCommands {
    /// The hierarchy first.
    slots: Vec<(Slot, SlotCommands)>,
    /// Where the next batch of this writer begins, for the series of this commit.
    pub(super) positions: HashMap<Key, u64>,
    pub(super) declared: HashMap<Key, Arc<SeriesDocument>>,
    /// The groups that it claims.
    pub(super) claims: HashMap<Key, u64>,
}

impl Default for CommitCommands {
    fn default() -> Self {
        Self {
            slots: vec![(None, SlotCommands::default())],
            positions: HashMap::new(),
            declared: HashMap::new(),
            claims: HashMap::new(),
        }
    }
}

impl CommitCommands {
    /// The commands for the keys of one slot, or for the hierarchy.
    pub(super) fn slot(&mut self, slot: Option<&SlotNames>) -> &mut SlotCommands {
        let index = self.slots.iter().position(|(it, _)| it.as_ref() == slot);
        let index = index.unwrap_or_else(|| {
            self.slots.push((slot.cloned(), SlotCommands::default()));
            self.slots.len() - 1
        });
        &mut self.slots[index].1
    }

    /// Commits the changes of series before those of the hierarchy: until the end, the hierarchy
    /// shows what remains to be done.
    pub(super) fn hierarchy_last(&mut self) {
        self.slots.rotate_left(1);
    }
}

/// This store as one of the writers of a recording.
#[derive(Debug)]
pub(super) struct Writer {
    keyspace: Arc<Keyspace>,
    buffers: Arc<BufferPool>,
    claims: Arc<Claims>,
    name: String,
    /// The maximum memory of kept commits.
    resend_bytes: usize,
    /// The number of the last attempted commit.
    number: u64,
    /// The number of the last commit in each slot.
    last: HashMap<Slot, u64>,
    /// Where the next batch of each series begins, according to this writer.
    positions: HashMap<Key, u64>,
    /// Commits that may not be safe yet, in order.
    sent: VecDeque<SentCommit>,
    sent_bytes: usize,
    file: FileDurability,
}

/// A commit as it was sent.
#[derive(Debug)]
struct SentCommit {
    number: u64,
    slots: Vec<SentSlot>,
    declared: HashMap<Key, Arc<SeriesDocument>>,
    bytes: usize,
    durability: CommitDurability,
}

/// What was sent to one slot.
#[derive(Debug)]
struct SentSlot {
    slot: Slot,
    /// The number of the previous commit in this slot.
    previous: u64,
    frames: Vec<Commands>,
    script: Commands,
}

impl Writer {
    pub(super) fn new(
        keyspace: Arc<Keyspace>,
        buffers: Arc<BufferPool>,
        claims: Arc<Claims>,
        id: u64,
        resend_bytes: usize,
        syncs_always: bool,
    ) -> Self {
        Self {
            keyspace,
            buffers,
            claims,
            name: writer_name(id),
            resend_bytes,
            number: 0,
            last: HashMap::new(),
            positions: HashMap::new(),
            sent: VecDeque::new(),
            sent_bytes: 0,
            file: FileDurability::new(syncs_always),
        }
    }

    /// Whether the server syncs before it acknowledges.
    pub(super) fn syncs_always(&self) -> bool {
        self.file.syncs_always
    }

    /// Where the next batch of a series begins, according to this writer.
    pub(super) fn position(&self, key: &Key) -> Option<u64> {
        self.positions.get(key).copied()
    }

    /// A series declared by a commit that may have to be sent again.
    pub(super) fn declared(&self, key: &Key) -> Option<Arc<SeriesDocument>> {
        let declared = |sent: &SentCommit| sent.declared.get(key).cloned();
        self.sent.iter().rev().find_map(declared)
    }

    /// Forgets the series at a key and below it.
    pub(super) fn forget(&mut self, key: &Key) {
        self.positions.retain(|other, _| !other.is_within(key));
    }

    /// Makes a commit.
    pub(super) fn commit(&mut self, commit: CommitCommands) -> Result<()> {
        if commit.slots.iter().all(|(_, it)| it.changes.is_empty()) {
            return Ok(());
        }
        // A number is used once, even if its commit fails: the commit may have arrived
        // nevertheless.
        self.number += 1;
        let number = self.number;
        let slots = commit.slots.into_iter().map(|(slot, commands)| {
            let previous = self.last.get(&slot).copied().unwrap_or(0);
            let of_commit = CommitNumber {
                writer: &self.name,
                previous,
                number,
            };
            let script = script::command(&self.keyspace, &slot, of_commit, &commands.changes);
            SentSlot {
                slot,
                previous,
                frames: commands.frames,
                script,
            }
        });
        let slots: Vec<_> = slots.collect();
        let info = self.transmit(number, &slots)?;
        self.positions.extend(commit.positions);
        self.claims.extend(commit.claims);
        let sent = SentCommit {
            number,
            bytes: size_of(&slots),
            slots,
            declared: commit.declared,
            durability: CommitDurability::new(Instant::now(), info),
        };
        self.keep(sent, info)
    }

    /// Sends a commit until the server has it, preceded by everything that the server lost.
    fn transmit(&mut self, number: u64, slots: &[SentSlot]) -> Result<Option<PersistenceInfo>> {
        let (mut resent, mut delivered) = (false, 0);
        let done = self.keyspace.connections.run("commit", |link| {
            let mut info = None;
            for (index, slot) in slots.iter().enumerate() {
                info = self.deliver(link, slot, number, &mut resent)?;
                delivered = delivered.max(index + 1);
            }
            Ok(info)
        });
        for slot in &slots[..delivered] {
            self.last.insert(slot.slot.clone(), number);
        }
        if resent {
            self.forget_durability();
            return done.map_err(|error| match error.kind() {
                // A batch of a claimed group does not begin where its series ends.
                ErrorKind::Internal => overtaken().with_source(error),
                _ => error,
            });
        }
        done
    }

    fn deliver(
        &self,
        link: &mut Link,
        slot: &SentSlot,
        number: u64,
        resent: &mut bool,
    ) -> Result<Option<PersistenceInfo>, Failure> {
        let message = "the server keeps losing commits that it has acknowledged";
        let mut error = Error::new(ErrorKind::Io, "commit", message);
        for _ in 0..ATTEMPTS {
            match self.send(link, slot)? {
                (ScriptReply::Done, info) => return Ok(info),
                (ScriptReply::FramesMissing(why), _) => error = why,
                (ScriptReply::Gap(last), _) => {
                    *resent = true;
                    let last = self.resend(link, &slot.slot, last, number)?;
                    if last != slot.previous {
                        return Err(lost(last, slot.previous).into());
                    }
                }
            }
        }
        Err(error.into())
    }

    /// Sends the commits after `last` and before `until` that the server should have, in order.
    /// Returns the last one that it then has.
    fn resend(
        &self,
        link: &mut Link,
        slot: &Slot,
        mut last: u64,
        until: u64,
    ) -> Result<u64, Failure> {
        tracing::warn!(
            run = self.keyspace.run,
            last,
            "the server lost commits; sending them again"
        );
        let sent = self.sent.iter().filter(|commit| commit.number < until);
        let sent = sent.flat_map(|commit| {
            let slots = commit.slots.iter().filter(|it| it.slot == *slot);
            slots.map(|it| (commit.number, it))
        });
        for (number, commit) in sent {
            if number <= last {
                continue;
            }
            if commit.previous != last {
                return Err(lost(last, commit.previous).into());
            }
            match self.send(link, commit)?.0 {
                ScriptReply::Done => last = number,
                ScriptReply::Gap(has) => return Err(lost(has, last).into()),
                ScriptReply::FramesMissing(error) => return Err(error.into()),
            }
        }
        Ok(last)
    }

    fn send(
        &self,
        link: &mut Link,
        slot: &SentSlot,
    ) -> Result<(ScriptReply, Option<PersistenceInfo>), Failure> {
        let mut commands: Vec<&Commands> = slot.frames.iter().collect();
        commands.push(&slot.script);
        let persistence = command(&[b"INFO", b"persistence"]);
        let is_cluster = self.keyspace.connections.is_cluster();
        if !is_cluster {
            commands.push(&persistence);
        }
        let mut answers = link.exchange(&commands)?;
        let info = match is_cluster {
            true => None,
            false => answers.pop().and_then(PersistenceInfo::from_reply),
        };
        let answer = answers.pop().unwrap_or_default();
        let refused = answers.into_iter().find_map(|answer| match answer {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        Ok((script::understand(&self.keyspace, answer, refused)?, info))
    }

    /// Keeps an acknowledged commit, and forgets those that are safe.
    fn keep(&mut self, sent: SentCommit, info: Option<PersistenceInfo>) -> Result<()> {
        let now = Instant::now();
        self.sent_bytes += sent.bytes;
        self.sent.push_back(sent);
        if let Some(info) = info {
            self.observe(now, info);
        }
        self.forget_safe(now);
        let mut progress = now;
        while self.sent_bytes > self.resend_bytes {
            if self.forget_written() {
                progress = Instant::now();
                continue;
            }
            self.check_progress(progress)?;
            sleep(PAUSE);
            self.look()?;
        }
        Ok(())
    }

    /// Fails if the server has not written for too long, since `progress`.
    fn check_progress(&self, progress: Instant) -> Result<()> {
        let retry_for = self.keyspace.connections.timeouts.retry_for;
        if progress.elapsed() <= retry_for.max(MIN_WRITE_PATIENCE) {
            return Ok(());
        }
        let message = "the server does not write its append-only file; is its disk full?";
        Err(Error::new(ErrorKind::StorageFull, "commit", message))
    }

    /// Forgets commits that are safe.
    fn forget_safe(&mut self, now: Instant) {
        while let Some(first) = self.sent.front()
            && self.file.is_safe(&first.durability, now)
        {
            self.forget_first();
        }
    }

    /// Forgets the oldest commit if it would survive a kill of the server, even if the server has
    /// not synced it yet. In a cluster, this is unknown.
    fn forget_written(&mut self) -> bool {
        let is_cluster = self.keyspace.connections.is_cluster();
        let first = self.sent.front();
        let may_go = first.is_some_and(|sent| is_cluster || sent.durability.is_written());
        if may_go {
            self.forget_first();
        }
        may_go
    }

    fn forget_first(&mut self) {
        let Some(first) = self.sent.pop_front() else {
            return;
        };
        self.sent_bytes -= first.bytes;
        for slot in first.slots {
            let buffers = slot.frames.into_iter().map(Commands::into_buffer);
            buffers.for_each(|buffer| self.buffers.give(buffer));
        }
    }

    /// Checks whether the server still has all commits, sends lost ones again, and records how far
    /// the server has written.
    fn look(&mut self) -> Result<()> {
        let Some(last) = self.sent.back().map(|sent| sent.number) else {
            return Ok(());
        };
        let commits = self.keyspace.names.commits();
        let mut resent = false;
        let info = self.keyspace.connections.run("commit", |link| {
            let questions = [
                command(&[b"HGET", commits.as_bytes(), self.name.as_bytes()]),
                command(&[b"INFO", b"persistence"]),
            ];
            let mut answers = link.exchange(&[&questions[0], &questions[1]])?;
            let info = answers.pop().and_then(PersistenceInfo::from_reply);
            let has = match answers.pop().unwrap_or_default() {
                Value::Nil => 0,
                Value::ServerError(error) => return Err(Failure::Redis(error.into())),
                number => u64::try_from(number.int()?).map_err(|_| unexpected("number"))?,
            };
            if has < last {
                resent = true;
                let has = self.resend(link, &None, has, u64::MAX)?;
                if has != last {
                    return Err(lost(has, last).into());
                }
            }
            Ok(info)
        })?;
        let now = Instant::now();
        if resent {
            self.forget_durability();
        } else if let Some(info) = info {
            self.observe(now, info);
        }
        self.forget_safe(now);
        Ok(())
    }

    /// Waits until the server has passed everything to its operating system.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.keyspace.connections.is_cluster() {
            return Ok(());
        }
        let start = Instant::now();
        // At least once: written data may have been lost in a power failure of the server.
        self.look()?;
        while self.sent.iter().any(|sent| !sent.durability.is_written()) {
            self.check_progress(start)
                .map_err(|e| e.with_operation("close"))?;
            sleep(PAUSE);
            self.look()?;
        }
        Ok(())
    }

    fn observe(&mut self, now: Instant, info: PersistenceInfo) {
        self.file.observe(now, info);
        let unwritten = |sent: &&mut SentCommit| !sent.durability.is_written();
        for sent in self.sent.iter_mut().filter(unwritten) {
            sent.durability.observe(now, info);
        }
    }

    /// Reports of a server that lost something are no longer valid.
    fn forget_durability(&mut self) {
        self.file.forget();
        let now = Instant::now();
        for sent in &mut self.sent {
            sent.durability = CommitDurability::new(now, None);
        }
    }
}

fn overtaken() -> Error {
    let message = "another writer appended to this writer's series after the server had lost \
        commits of this writer; open the recording again";
    Error::new(ErrorKind::Locked, "commit", message)
}

fn lost(has: u64, acknowledged: u64) -> Error {
    let message = format!(
        "the server has commit {has} of this writer but had acknowledged {acknowledged}, and the \
         writer no longer keeps those in between; is the append-only file of the server on?"
    );
    Error::new(ErrorKind::Corrupt, "commit", message)
}

/// The memory of kept commits.
fn size_of(slots: &[SentSlot]) -> usize {
    let commands = |slot: &SentSlot| {
        let frames: usize = slot.frames.iter().map(Commands::capacity).sum();
        frames + slot.script.capacity()
    };
    slots.iter().map(commands).sum()
}
