//! The writers of a recording and their states.
//!
//! A writer gives its connections a name and then registers. The server notices at once when the connections
//! of a killed process end, so no writer has to report at regular times that it is alive.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use redis::Value;
use serde_json::{Map, Value as Json};
use simrecorder_core::Result;

use crate::connection::Failure;
use crate::connection::errors::{corrupt, is_transient};
use crate::connection::reply::{Commands, Reply, command};
use crate::format::names::writer_name;
use crate::recording::keyspace::Keyspace;

/// The prefix of the names of writers' connections; the name of the writer follows.
const CONNECTION: &str = "simrecorder-";

/// Replaces existing entries of writers. A deleted recording gets no entries.
const UPDATE: &str = "
for i = 1, #ARGV, 2 do
    if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
end
return 0";

/// One of the stores that opened a recording for writing.
///
/// ```
/// use simrecorder_redis::{RedisDataStore, RedisWriterState};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let store = RedisDataStore::launch(folder.path())?;
/// let writers = store.writers()?;
/// assert_eq!(writers[0].id, store.writer_id());
/// assert_eq!(writers[0].state, Some(RedisWriterState::Open));
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisWriter {
    /// The number that [`SharedView::writer_of`](simrecorder_core::backend::SharedView::writer_of) returns.
    pub id: u64,
    /// The name of its host.
    pub host: String,
    /// The id of its process on that host.
    pub process: u64,
    /// When it opened the recording, in seconds since 1970.
    pub started: u64,
    /// Its state; `None` in a cluster, and if the server refuses to list its connections.
    pub state: Option<RedisWriterState>,
}

/// The state of a writer, in [`RedisWriter::state`].
///
/// ```
/// use simrecorder_core::DataStore;
/// use simrecorder_redis::{RedisDataStore, RedisWriterState};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let store = RedisDataStore::launch(folder.path())?;
/// store.close()?;
/// let writers = store.writers()?;
/// let lost = writers.iter().filter(|writer| writer.state == Some(RedisWriterState::Lost));
/// assert_eq!(lost.count(), 0);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisWriterState {
    /// It has the recording open, and is connected.
    Open,
    /// It closed the recording.
    Closed,
    /// It did not close the recording, and is not connected: it was killed, or lost its connection.
    Lost,
    /// It was lost, and another writer opened the recording afterwards.
    Replaced,
}

/// All writers and commits as of one moment.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The writers in the order of opening the recording.
    pub(crate) writers: Vec<RedisWriter>,
    /// Grows with each commit of any writer; `None` in a cluster, where each slot has its own count.
    pub(crate) revision: Option<u64>,
    entries: HashMap<u64, Map<String, Json>>,
}

impl Registry {
    pub(crate) fn read(keyspace: &Keyspace) -> Result<Self> {
        let names = &keyspace.names;
        let (writers, commits) = (names.writers(), names.commits());
        if !keyspace.connections.is_cluster() {
            let mut at_once = command(&[b"MULTI"]);
            at_once.command(&[b"HGETALL", writers.as_bytes()]);
            at_once.command(&[b"HVALS", commits.as_bytes()]);
            at_once.command(&[b"CLIENT", b"LIST"]);
            at_once.command(&[b"EXEC"]);
            if let Some(parts) = ask_if_allowed(keyspace, &at_once)? {
                let mut parts = parts.array()?.into_iter();
                let mut part = || parts.next().unwrap_or_default();
                let (writers, commits) = (part().pairs()?, part().array()?);
                let clients = part().text()?.unwrap_or_default();
                let connected: HashSet<&str> =
                    clients.split_whitespace().filter_map(name_in).collect();
                let mut revision = 0_u64;
                for number in commits {
                    let number = number.int()?;
                    revision = revision.saturating_add(u64::try_from(number).unwrap_or(0));
                }
                return Self::new(writers, Some(&connected), Some(revision));
            }
        }
        Self::new(keyspace.scan(&writers)?, None, None)
    }

    fn new(
        stored: impl IntoIterator<Item = (String, Vec<u8>)>,
        connected: Option<&HashSet<&str>>,
        revision: Option<u64>,
    ) -> Result<Self> {
        let (mut writers, mut entries) = (Vec::new(), HashMap::new());
        for (name, entry) in stored {
            let malformed = || corrupt("the writer metadata is malformed");
            let id = u64::from_str_radix(&name, 16).map_err(|_| malformed())?;
            let entry: Map<String, Json> =
                serde_json::from_slice(&entry).map_err(|_| malformed())?;
            let number = |name: &str| entry.get(name).and_then(Json::as_u64);
            let host = entry.get("host").and_then(Json::as_str);
            let state = match (number("closed"), number("lost"), connected) {
                (Some(_), ..) => Some(RedisWriterState::Closed),
                (_, _, Some(connected)) if connected.contains(&*name) => {
                    Some(RedisWriterState::Open)
                }
                (_, Some(_), _) => Some(RedisWriterState::Replaced),
                (.., Some(_)) => Some(RedisWriterState::Lost),
                (.., None) => None,
            };
            writers.push(RedisWriter {
                id,
                host: host.unwrap_or_default().to_owned(),
                process: number("process").unwrap_or(0),
                started: number("started").unwrap_or(0),
                state,
            });
            entries.insert(id, entry);
        }
        writers.sort_by_key(|writer| (writer.started, writer.id));
        Ok(Self {
            writers,
            revision,
            entries,
        })
    }

    /// The number of writers in a state; `None` if the states are unknown.
    pub(crate) fn count(&self, state: RedisWriterState) -> Option<u64> {
        let states: Option<Vec<_>> = self.writers.iter().map(|writer| writer.state).collect();
        Some(states?.iter().filter(|it| **it == state).count() as u64)
    }

    /// The arguments that set a field to the current time in the entries of some writers.
    fn with_time(&self, name: &str, is_meant: impl Fn(&RedisWriter) -> bool) -> Vec<String> {
        let meant = self.writers.iter().filter(|writer| is_meant(writer));
        let entries = meant.filter_map(|writer| {
            let mut entry = self.entries.get(&writer.id)?.clone();
            entry.insert(name.to_owned(), seconds_since_1970().into());
            Some([writer_name(writer.id), Json::Object(entry).to_string()])
        });
        entries.flatten().collect()
    }
}

/// This store among the writers of its recording.
#[derive(Debug)]
pub(super) struct Registration {
    name: String,
    entry: Map<String, Json>,
}

impl Registration {
    /// The name of the connections of a writer.
    pub(super) fn connection_name(id: u64) -> String {
        format!("{CONNECTION}{}", writer_name(id))
    }

    /// Registers a writer. Its connections already have their name.
    pub(super) fn new(keyspace: &Keyspace, id: u64) -> Result<Self> {
        let host = rustix::system::uname();
        let entry = [
            ("host", host.nodename().to_string_lossy().into()),
            ("process", std::process::id().into()),
            ("started", seconds_since_1970().into()),
        ];
        let entry = entry.map(|(name, value)| (name.to_owned(), value));
        let registration = Self {
            name: writer_name(id),
            entry: Map::from_iter(entry),
        };
        let (writers, name) = (keyspace.names.writers(), &registration.name);
        let entry = Json::Object(registration.entry.clone()).to_string();
        let register: [&[u8]; 4] = [
            b"HSET",
            writers.as_bytes(),
            name.as_bytes(),
            entry.as_bytes(),
        ];
        keyspace.ask_one("open", &register)?;
        // Malformed entries of other writers do not prevent this one from writing.
        if let Ok(registry) = Registry::read(keyspace) {
            let is_lost = |writer: &RedisWriter| writer.state == Some(RedisWriterState::Lost);
            update(keyspace, "open", &registry.with_time("lost", is_lost))?;
        }
        Ok(registration)
    }

    /// Records that the writer closed the recording.
    pub(super) fn close(&self, keyspace: &Keyspace) -> Result<()> {
        let mut entry = self.entry.clone();
        entry.insert("closed".to_owned(), seconds_since_1970().into());
        let entry = Json::Object(entry).to_string();
        update(keyspace, "close", &[self.name.clone(), entry])
    }
}

fn update(keyspace: &Keyspace, operation: &'static str, entries: &[String]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let writers = keyspace.names.writers();
    let mut arguments: Vec<&[u8]> = vec![b"EVAL", UPDATE.as_bytes(), b"1", writers.as_bytes()];
    arguments.extend(entries.iter().map(String::as_bytes));
    keyspace.connections.run_first(operation, |link| {
        let answer = link.one(&arguments)?;
        Ok(answer.checked().map(drop)?)
    })
}

/// The reply to the last of several commands; `None` if the server refuses it.
fn ask_if_allowed(keyspace: &Keyspace, commands: &Commands) -> Result<Option<Value>> {
    keyspace.connections.run("read", |link| {
        match link.exchange(&[commands])?.pop().unwrap_or_default() {
            Value::ServerError(error) => match redis::RedisError::from(error) {
                error if is_transient(&error) => Err(Failure::Redis(error)),
                _ => Ok(None),
            },
            Value::Nil => Ok(None),
            answer => Ok(Some(answer)),
        }
    })
}

/// The name of the writer in a word of a server's list of connections.
fn name_in(word: &str) -> Option<&str> {
    word.strip_prefix("name=")?.strip_prefix(CONNECTION)
}

pub(super) fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
