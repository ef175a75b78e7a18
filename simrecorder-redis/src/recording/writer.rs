//! The side that writes: numbers its commits, and keeps what may not be safe yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::Value;
use simrecorder_core::{Commit, Error, ErrorKind, Key, NodeKind, Result};

use crate::connection::errors::{corrupt, from_server, unexpected};
use crate::connection::reply::{Commands, Reply, command};
use crate::connection::{Failure, Link};
use crate::format::document::{SeriesDocument, described};
use crate::recording::Recording;
use crate::recording::commit::{Slot, Stage, clash};
use crate::recording::persistence::{Mark, Observation, Persistence};

const SCRIPT: &str = include_str!("commit.lua");
/// How often frames that got lost on the way are sent again before that is an error.
const ATTEMPTS: usize = 3;
/// However little else is tried again, so long a server may take to write its append-only file.
const LEAST_WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before looking again whether the server has written.
const PAUSE: Duration = Duration::from_millis(5);

/// What this store does as one of the writers of a recording.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The number of the last commit that was tried.
    number: u64,
    /// The number of the last commit in each slot.
    last: HashMap<Slot, u64>,
    /// Where the next batch of each series begins, as this writer counts.
    pub(crate) positions: HashMap<Key, u64>,
    /// Commits that may not be safe yet, in order.
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    pub(crate) persistence: Persistence,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            number: 0,
            last: HashMap::new(),
            positions: HashMap::new(),
            sent: VecDeque::new(),
            sent_bytes: 0,
            persistence: Persistence::default(),
        }
    }
}

/// A commit as it was sent.
#[derive(Debug)]
struct Sent {
    number: u64,
    parts: Vec<SentPart>,
    declared: HashMap<Key, Arc<SeriesDocument>>,
    bytes: usize,
    mark: Mark,
}

#[derive(Debug)]
struct SentPart {
    slot: Slot,
    /// The number of the commit before in this slot.
    before: u64,
    frames: Vec<Commands>,
    script: Commands,
}

/// What the server said to one part of a commit.
enum Answer {
    Done(Option<Observation>),
    /// It has only the commits up to this number.
    Gap(u64),
    /// It has not all frames, and says that nothing went wrong with them: they are too old.
    NotKept(Error),
}

impl Recording {
    pub(crate) fn commit(&self, commit: Commit) -> Result<()> {
        let mut writer = self.writer.lock();
        self.check_writable("commit")?;
        let mut stage = Stage::new(self, &writer);
        for change in commit.changes {
            stage.add(change)?;
        }
        let Stage {
            parts,
            positions,
            declared,
            ..
        } = stage;
        if parts.iter().all(|(_, part)| part.changes.is_empty()) {
            return Ok(());
        }
        // A number is used once, even if its commit fails: it may have arrived nevertheless.
        writer.number += 1;
        let number = writer.number;
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(slot, part)| {
                let before = writer.last.get(&slot).copied().unwrap_or(0);
                let script = self.script(&slot, before, number, &part.changes);
                SentPart {
                    slot,
                    before,
                    frames: part.frames,
                    script,
                }
            })
            .collect();
        let observed = self.transmit(&mut writer, number, &parts)?;
        for part in &parts {
            writer.last.insert(part.slot.clone(), number);
        }
        writer.positions.extend(positions);
        let (bytes, mark) = (size_of(&parts), Mark::new(Instant::now(), observed));
        let sent = Sent {
            number,
            parts,
            declared,
            bytes,
            mark,
        };
        self.keep(&mut writer, sent, observed)
    }

    /// Makes records before `first` of a series unreachable, and deletes the frames that hold
    /// nothing else.
    pub(crate) fn free(&self, key: &Key, first: u64) -> Result<()> {
        self.check_writable("free")?;
        let names = self.names.series(key);
        let changes = ["free", key.as_str(), names.prefix(), &first.to_string()];
        let changes = changes.map(|argument| argument.as_bytes().to_vec());
        let slot = self.connections.is_cluster().then_some(names);
        let script = self.script(&slot, 0, 0, &changes);
        self.connections.run("free", |link| {
            let reply = link.exchange(&[&script])?.pop().unwrap_or_default();
            match self.understand(reply, None)? {
                Answer::NotKept(error) => Err(error.into()),
                Answer::Done(_) | Answer::Gap(_) => Ok(()),
            }
        })
    }

    /// The command that runs the script.
    fn script(&self, slot: &Slot, before: u64, number: u64, changes: &[Vec<u8>]) -> Commands {
        let names = &self.names;
        let keys = match slot {
            Some(series) => vec![series.commits()],
            None => vec![
                names.commits(),
                names.root(),
                names.nodes(),
                names.attributes(),
            ],
        };
        let mut script = Commands::default();
        script.begin(3 + keys.len() + 6 + changes.len());
        script.argument("EVAL");
        script.argument(SCRIPT);
        script.argument(keys.len().to_string());
        keys.iter().for_each(|key| script.argument(key));
        script.argument(names.generation());
        script.argument(self.writer_name());
        script.argument(before.to_string());
        script.argument(number.to_string());
        script.argument(names.groups());
        script.argument(names.values());
        changes
            .iter()
            .for_each(|argument| script.argument(argument));
        script
    }

    /// Sends a commit until the server has it, and before it whatever the server lost.
    fn transmit(
        &self,
        writer: &mut Writer,
        number: u64,
        parts: &[SentPart],
    ) -> Result<Option<Observation>> {
        let mut again = false;
        let done = self.connections.run("commit", |link| {
            let mut observed = None;
            for part in parts {
                observed = self.deliver(link, part, number, &writer.sent, &mut again)?;
            }
            Ok(observed)
        });
        if again {
            writer.begin_anew();
        }
        done
    }

    fn deliver(
        &self,
        link: &mut Link,
        part: &SentPart,
        number: u64,
        sent: &VecDeque<Sent>,
        again: &mut bool,
    ) -> Result<Option<Observation>, Failure> {
        let message = "the server goes on losing what it has acknowledged";
        let mut error = Error::new(ErrorKind::Io, "commit", message);
        for _ in 0..ATTEMPTS {
            match self.send(link, part)? {
                Answer::Done(observed) => return Ok(observed),
                Answer::NotKept(why) => error = why,
                Answer::Gap(last) => {
                    *again = true;
                    let last = self.send_again(link, &part.slot, last, number, sent)?;
                    if last != part.before {
                        return Err(self.lost(last, part.before).into());
                    }
                }
            }
        }
        Err(error.into())
    }

    /// Sends the commits behind `last` that the server should have, in order; returns the last one
    /// that it has then.
    fn send_again(
        &self,
        link: &mut Link,
        slot: &Slot,
        mut last: u64,
        until: u64,
        sent: &VecDeque<Sent>,
    ) -> Result<u64, Failure> {
        tracing::warn!(
            run = self.run,
            last,
            "the server lost commits; sending them again"
        );
        let lost = sent.iter().filter(|commit| commit.number < until);
        let lost = lost.flat_map(|commit| {
            let parts = commit.parts.iter().filter(|part| part.slot == *slot);
            parts.map(|part| (commit.number, part))
        });
        for (number, part) in lost
            .filter(|(number, _)| *number > last)
            .collect::<Vec<_>>()
        {
            if part.before != last {
                return Err(self.lost(last, part.before).into());
            }
            match self.send(link, part)? {
                Answer::Done(_) => last = number,
                Answer::Gap(has) => return Err(self.lost(has, last).into()),
                Answer::NotKept(error) => return Err(error.into()),
            }
        }
        Ok(last)
    }

    fn lost(&self, has: u64, acknowledged: u64) -> Error {
        let message = format!(
            "the server has commit {has} of this writer, but had acknowledged {acknowledged}, and \
             the writer no longer holds those in between; is the append-only file of the server on?"
        );
        Error::new(ErrorKind::Corrupt, "commit", message)
    }

    fn send(&self, link: &mut Link, part: &SentPart) -> Result<Answer, Failure> {
        let mut commands: Vec<&Commands> = part.frames.iter().collect();
        commands.push(&part.script);
        let info = command(&[b"INFO", b"persistence"]);
        let is_cluster = self.connections.is_cluster();
        if !is_cluster {
            commands.push(&info);
        }
        let mut replies = link.exchange(&commands)?;
        let observed = match is_cluster {
            true => None,
            false => replies.pop().and_then(observation),
        };
        let reply = replies.pop().unwrap_or_default();
        let refused = replies.into_iter().find_map(|reply| match reply {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        match self.understand(reply, refused)? {
            Answer::Done(_) => Ok(Answer::Done(observed)),
            other => Ok(other),
        }
    }

    /// What the answer of the script means; `refused` is the error of a frame before it.
    fn understand(
        &self,
        reply: Value,
        refused: Option<redis::ServerError>,
    ) -> Result<Answer, Failure> {
        if let Value::ServerError(error) = reply {
            // The client library knows which errors pass.
            return Err(Failure::Redis(refused.unwrap_or(error).into()));
        }
        let mut words = reply.array()?.into_iter();
        let mut word = || words.next().unwrap_or_default();
        let what = word().text()?.unwrap_or_default();
        match what.as_str() {
            "done" => return Ok(Answer::Done(None)),
            "gap" => {
                let last = u64::try_from(word().int()?).map_err(|_| unexpected("number"))?;
                return Ok(Answer::Gap(last));
            }
            "replaced" => return Err(self.replaced().into()),
            "refused" => {}
            _ => return Err(unexpected("answer to a commit").into()),
        }
        let mut text = || word().text().map(Option::unwrap_or_default);
        let (kind, key, detail) = (text()?, text()?, text()?);
        let error = refusal(&kind, &detail).with_key(&*key);
        match (kind.as_str(), refused) {
            ("frames", None) => Ok(Answer::NotKept(error)),
            ("frames", Some(refused)) => Err(match redis::RedisError::from(refused.clone()) {
                error if crate::connection::errors::is_transient(&error) => Failure::Redis(error),
                _ => Failure::Final(from_server("commit", &refused).with_key(key)),
            }),
            _ => Err(error.into()),
        }
    }

    /// Notes a commit that was acknowledged, and forgets those that are safe.
    fn keep(&self, writer: &mut Writer, sent: Sent, observed: Option<Observation>) -> Result<()> {
        let now = Instant::now();
        writer.sent_bytes += sent.bytes;
        writer.sent.push_back(sent);
        if let Some(observed) = observed {
            writer.observe(now, observed);
        }
        self.release(writer, now);
        let mut progress = now;
        while writer.sent_bytes > self.resend_bytes {
            if self.release_written(writer) {
                progress = Instant::now();
                continue;
            }
            self.check_writes(progress)?;
            sleep(PAUSE);
            self.look(writer)?;
        }
        Ok(())
    }

    /// An error if the server has not written for too long, since `progress`.
    fn check_writes(&self, progress: Instant) -> Result<()> {
        if progress.elapsed()
            <= self
                .connections
                .patience
                .retry_for
                .max(LEAST_WRITE_PATIENCE)
        {
            return Ok(());
        }
        let message = "the server does not write its append-only file; is its disk full?";
        Err(Error::new(ErrorKind::StorageFull, "commit", message))
    }

    /// Forgets commits that are safe.
    fn release(&self, writer: &mut Writer, now: Instant) {
        while let Some(first) = writer.sent.front()
            && writer.persistence.is_safe(&first.mark, now)
        {
            self.drop_first(writer);
        }
    }

    /// Forgets the oldest commit if a killed server would have it; the server may not have synced
    /// it yet. In a cluster nothing is known of that.
    fn release_written(&self, writer: &mut Writer) -> bool {
        let is_cluster = self.connections.is_cluster();
        let first = writer.sent.front();
        let may_go = first.is_some_and(|sent| is_cluster || sent.mark.is_written());
        if may_go {
            self.drop_first(writer);
        }
        may_go
    }

    fn drop_first(&self, writer: &mut Writer) {
        let Some(first) = writer.sent.pop_front() else {
            return;
        };
        writer.sent_bytes -= first.bytes;
        for part in first.parts {
            let buffers = part.frames.into_iter().map(Commands::into_buffer);
            buffers.for_each(|buffer| self.buffers.give(buffer));
        }
    }

    /// Looks whether the server still has all commits, sends again what it lost, and notes how
    /// far it has written.
    fn look(&self, writer: &mut Writer) -> Result<()> {
        let Some(last) = writer.sent.back().map(|sent| sent.number) else {
            return Ok(());
        };
        let commits = self.names.commits();
        let id = self.writer_name();
        let mut again = false;
        let observed = self.connections.run("commit", |link| {
            let questions = [
                command(&[b"HGET", commits.as_bytes(), id.as_bytes()]),
                command(&[b"INFO", b"persistence"]),
            ];
            let mut replies = link.exchange(&[&questions[0], &questions[1]])?;
            let observed = replies.pop().and_then(observation);
            let has = match replies.pop().unwrap_or_default() {
                Value::Nil => 0,
                Value::ServerError(error) => return Err(Failure::Redis(error.into())),
                number => u64::try_from(number.int()?).map_err(|_| unexpected("number"))?,
            };
            if has < last {
                again = true;
                let has = self.send_again(link, &None, has, u64::MAX, &writer.sent)?;
                if has != last {
                    return Err(self.lost(has, last).into());
                }
            }
            Ok(observed)
        })?;
        let now = Instant::now();
        if again {
            writer.begin_anew();
        } else if let Some(observed) = observed {
            writer.observe(now, observed);
        }
        self.release(writer, now);
        Ok(())
    }

    /// Waits until the server has handed everything to its operating system.
    pub(crate) fn settle(&self, writer: &mut Writer) -> Result<()> {
        if self.connections.is_cluster() {
            return Ok(());
        }
        let start = Instant::now();
        // Once in any case: what was written may have been lost with the power of the server.
        self.look(writer)?;
        while writer.sent.iter().any(|sent| !sent.mark.is_written()) {
            self.check_writes(start)
                .map_err(|e| e.with_operation("close"))?;
            sleep(PAUSE);
            self.look(writer)?;
        }
        Ok(())
    }
}

/// How much memory is kept.
fn size_of(parts: &[SentPart]) -> usize {
    let commands = |part: &SentPart| {
        let frames: usize = part.frames.iter().map(Commands::capacity).sum();
        frames + part.script.capacity()
    };
    parts.iter().map(commands).sum()
}

impl Writer {
    /// A series that was declared by a commit which may have to be sent again.
    pub(crate) fn declared(&self, key: &Key) -> Option<Arc<SeriesDocument>> {
        let declared = |sent: &Sent| sent.declared.get(key).cloned();
        self.sent.iter().rev().find_map(declared)
    }

    /// What was known of the server that lost something counts no longer.
    fn begin_anew(&mut self) {
        self.persistence.forget();
        let now = Instant::now();
        self.sent
            .iter_mut()
            .for_each(|sent| sent.mark = Mark::new(now, None));
    }

    fn observe(&mut self, now: Instant, observed: Observation) {
        self.persistence.observe(now, observed);
        for sent in self.sent.iter_mut().filter(|sent| !sent.mark.is_written()) {
            sent.mark.observe(now, observed);
        }
    }
}

pub(crate) fn observation(reply: Value) -> Option<Observation> {
    let info = reply.text().ok().flatten()?;
    Observation::parse(&info)
}

/// The error of a commit that the script refused.
fn refusal(kind: &str, detail: &str) -> Error {
    let (is, wanted) = detail.split_once('\n').unwrap_or((detail, ""));
    let node = |name: &str| match name {
        "value" => NodeKind::Value,
        "series" => NodeKind::Series,
        _ => NodeKind::Group,
    };
    match kind {
        "clash" => clash(node(is), node(wanted)),
        "below" => {
            let message =
                format!("'{is}' is a {wanted}, not a group, so nothing can stand below it");
            Error::new(ErrorKind::KindMismatch, "commit", message)
        }
        "schema" => {
            let message = format!(
                "the series holds {}, this is {}",
                described(is),
                described(wanted)
            );
            Error::new(ErrorKind::SchemaMismatch, "commit", message)
        }
        "missing" => {
            let message = "the series was not declared";
            Error::new(ErrorKind::NotFound, "commit", message)
        }
        "frames" => {
            let message = "the server has not kept what was sent to it; does it evict keys?";
            Error::new(ErrorKind::Io, "commit", message)
        }
        _ => corrupt(is).with_operation("commit"),
    }
}

/// Buffers that were used and are used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers(parking_lot::Mutex<Vec<Vec<u8>>>);

/// The memory of all that are kept.
const MOST_SPARE: usize = 8 << 20;
/// Smaller ones are not worth keeping.
const SMALLEST_SPARE: usize = 64 << 10;

impl Buffers {
    /// A buffer for `bytes`, that is not much larger.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut buffers = self.0.lock();
        let fits =
            |buffer: &Vec<u8>| (bytes..=bytes.saturating_mul(2)).contains(&buffer.capacity());
        match buffers.iter().rposition(fits) {
            Some(index) => buffers.swap_remove(index),
            None => Vec::with_capacity(bytes),
        }
    }

    fn give(&self, buffer: Vec<u8>) {
        if buffer.capacity() < SMALLEST_SPARE {
            return;
        }
        let mut buffers = self.0.lock();
        buffers.push(buffer);
        let mut total: usize = buffers.iter().map(Vec::capacity).sum();
        while total > MOST_SPARE {
            // The oldest goes: its size may be out of use.
            total -= buffers.remove(0).capacity();
        }
    }
}
