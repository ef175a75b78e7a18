//! The keys of one recording on the server, and their contents.

use std::collections::HashMap;
use std::sync::Arc;

use redis::Value as Answer;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::sync::{Mutex, MutexGuard};
use simrecorder_core::{
    Attributes, Child, Error, ErrorKind, Key, NodeKind, Records, Result, Value,
};

use crate::connection::errors::{corrupt, unexpected};
use crate::connection::reply::{Commands, Reply, command};
use crate::connection::{Connections, Failure};
use crate::format::document::{Document, SeriesDocument, StoredValue};
use crate::format::names::{Names, SeriesNames, part_names};
use crate::format::state::SeriesState;
use crate::server::RedisServer;

/// How often a value is requested that is set again each time before it is read. After that, a
/// script requests both its metadata and its frame, which takes a permission that readers otherwise
/// do not need.
const MAX_ATTEMPTS: u32 = 16;

/// The metadata of keys, and the frames of values that are not split.
const NODES_SCRIPT: &str = "
local documents, frames = {}, {}
for i = 2, #ARGV do
    documents[i - 1] = redis.call('HGET', KEYS[1], ARGV[i])
    local decodes, document = pcall(cjson.decode, documents[i - 1] or '{}')
    local is_value = decodes and type(document) == 'table' and document.node == 'value'
    frames[i - 1] = is_value and document.parts == 1
        and redis.call('GET', ARGV[1] .. tostring(document.frame))
end
return {documents, frames}";

/// How values are read after the metadata that describes their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadValues {
    After,
    AtOnce,
}

/// A node as stored on the server.
#[derive(Debug)]
pub(crate) enum NodeReply {
    Group(Attributes),
    Value {
        stored: Box<StoredValue>,
        value: Result<Value>,
        attributes: Attributes,
    },
    Series {
        document: Arc<SeriesDocument>,
        state: SeriesState,
        attributes: Attributes,
    },
}

/// The keys of one recording, on the server that has them.
#[derive(Debug)]
pub(crate) struct Keyspace {
    pub(crate) connections: Connections,
    /// The name of the recording.
    pub(crate) run: String,
    pub(crate) names: Names,
    /// Series that were read. Their metadata does not change while they exist, except for the names
    /// of axes, which writing does not need.
    series: ProcessLocal<Mutex<HashMap<Key, Arc<SeriesDocument>>>>,
    /// A server that is stopped with the recording. The last field, so that connections are closed
    /// first.
    pub(crate) server: Option<RedisServer>,
}

impl Keyspace {
    pub(crate) fn new(
        connections: Connections,
        run: String,
        generation: &str,
        server: Option<RedisServer>,
    ) -> Self {
        Self {
            names: Names::new(&run, generation),
            connections,
            run,
            series: ProcessLocal::new(Mutex::default()),
            server,
        }
    }

    /// Sends several commands, each for one slot, in one round trip if there is only one server.
    pub(crate) fn ask(
        &self,
        operation: &'static str,
        questions: &[Commands],
    ) -> Result<Vec<Answer>> {
        self.connections.run(operation, |link| {
            let answers = if self.connections.is_cluster() {
                let each = questions.iter().map(|question| link.exchange(&[question]));
                each.collect::<Result<Vec<_>, _>>()?.concat()
            } else {
                link.exchange(&questions.iter().collect::<Vec<_>>())?
            };
            for answer in &answers {
                if let Answer::ServerError(error) = answer {
                    return Err(Failure::Redis(error.clone().into()));
                }
            }
            Ok(answers)
        })
    }

    pub(crate) fn ask_one(&self, operation: &'static str, arguments: &[&[u8]]) -> Result<Answer> {
        let mut answers = self.ask(operation, &[command(arguments)])?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// The fields of a hash, requested in parts.
    pub(crate) fn scan(&self, name: &str) -> Result<HashMap<String, Vec<u8>>> {
        let mut found = HashMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let some: [&[u8]; 5] = [
                b"HSCAN",
                name.as_bytes(),
                cursor.as_bytes(),
                b"COUNT",
                b"1000",
            ];
            let mut answer = self.ask_one("read", &some)?.array()?.into_iter();
            let next = answer.next().unwrap_or_default().text()?;
            found.extend(answer.next().unwrap_or_default().pairs()?);
            cursor = next.unwrap_or_else(|| "0".to_owned());
            if cursor == "0" {
                return Ok(found);
            }
        }
    }

    /// The generation of the current recording of this name, if there is one.
    pub(crate) fn current_generation(&self, operation: &'static str) -> Result<Option<String>> {
        let root = self.names.root();
        self.ask_one(operation, &[b"HGET", root.as_bytes(), b"generation"])?
            .text()
    }

    /// The base from which the cuts of new series are counted.
    pub(crate) fn cut_base(&self) -> Result<u64> {
        let root = self.names.root();
        match self.ask_one("commit", &[b"HGET", root.as_bytes(), b"cut_base"])? {
            Answer::Nil => Ok(0),
            base => u64::try_from(base.int()?).map_err(|_| corrupt("the base of cuts is negative")),
        }
    }

    /// Forgets the series at a key and below it.
    pub(crate) fn forget(&self, key: &Key) {
        if let Ok(mut known) = self.known() {
            known.retain(|other, _| !other.is_within(key));
        }
    }

    /// Checks that the recording is still the one that was opened.
    pub(crate) fn check_current(&self) -> Result<()> {
        match self.current_generation("commit")?.as_deref() == Some(self.names.generation()) {
            true => Ok(()),
            false => Err(self.not_current()),
        }
    }

    /// The error if the recording is no longer the one that was opened.
    pub(crate) fn not_current(&self) -> Error {
        let message = "the recording was deleted, or replaced by a new one";
        Error::new(ErrorKind::NotFound, "commit", message).with_key(self.run.clone())
    }

    /// The metadata of a key.
    pub(crate) fn document(&self, key: &Key) -> Result<Option<Document>> {
        let nodes = self.names.nodes();
        let text = self.ask_one(
            "read",
            &[b"HGET", nodes.as_bytes(), key.as_str().as_bytes()],
        );
        let Some(text) = text?.bytes()? else {
            return Ok(None);
        };
        let document = Document::from_json(&text).map_err(|e| e.with_key(key.as_str()))?;
        if let Document::Series(series) = &document {
            self.known()?.insert(key.clone(), Arc::clone(series));
        }
        Ok(Some(document))
    }

    fn known(&self) -> Result<MutexGuard<'_, HashMap<Key, Arc<SeriesDocument>>>> {
        self.series.get("read").map(Mutex::lock)
    }

    /// A series whose metadata was read before.
    pub(crate) fn cached_series(&self, key: &Key) -> Option<Arc<SeriesDocument>> {
        self.known().ok()?.get(key).cloned()
    }

    /// Forgets a series whose metadata changes.
    pub(crate) fn forget_series(&self, key: &Key) {
        if let Ok(mut known) = self.known() {
            known.remove(key);
        }
    }

    /// The attributes of a key.
    pub(crate) fn attributes(&self, key: &Key) -> Result<Attributes> {
        let attributes = self.names.attributes();
        let field = [b"HGET", attributes.as_bytes(), key.as_str().as_bytes()];
        attributes_from(self.ask_one("read", &field)?)
    }

    /// The metadata of the series at `key`, if there is a series.
    pub(crate) fn series(&self, key: &Key) -> Result<Option<Arc<SeriesDocument>>> {
        if let Some(series) = self.cached_series(key) {
            return Ok(Some(series));
        }
        Ok(match self.document(key)? {
            Some(Document::Series(series)) => Some(series),
            _ => None,
        })
    }

    /// The names of the keys of the series at `key`.
    pub(crate) fn series_names(&self, key: &Key) -> Result<SeriesNames> {
        Ok(match self.series(key)? {
            Some(series) => series.names(&self.names, key),
            None => self.names.series(key),
        })
    }

    /// The nodes at `keys`, as of one moment; in a cluster, as of one moment for each series, and
    /// for the series of each claimed group.
    pub(crate) fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<NodeReply>>> {
        let mut damaged = HashMap::new();
        for _ in 0..MAX_ATTEMPTS {
            let nodes = self.ask_for_nodes(keys, ReadValues::After)?;
            let mut is_current = true;
            for (key, node) in keys.iter().zip(&nodes) {
                let Some(NodeReply::Value { stored, value, .. }) = node else {
                    continue;
                };
                // If it was set again after its metadata was read, its frame has another name now.
                if value.is_err() {
                    let before = damaged.insert(key, stored.frame.clone());
                    is_current &= before.as_ref() == Some(&stored.frame);
                }
            }
            if is_current {
                return Ok(nodes);
            }
        }
        let nodes = self.ask_for_nodes(keys, ReadValues::AtOnce);
        nodes.map_err(|e| match e.kind() {
            ErrorKind::PermissionDenied => set_too_often().with_source(e),
            _ => e,
        })
    }

    fn ask_for_nodes(&self, keys: &[Key], values: ReadValues) -> Result<Vec<Option<NodeReply>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let about_keys = |beginning: &[&str]| {
            let mut question = Commands::default();
            question.begin(beginning.len() + keys.len());
            beginning.iter().for_each(|word| question.argument(word));
            keys.iter().for_each(|key| question.argument(key.as_str()));
            question
        };
        let nodes = &*self.names.nodes();
        let documents = match values {
            ReadValues::After => about_keys(&["HMGET", nodes]),
            ReadValues::AtOnce => {
                about_keys(&["EVAL", NODES_SCRIPT, "1", nodes, &self.names.values()])
            }
        };
        let is_cluster = self.connections.is_cluster();
        let attributes = about_keys(&["HMGET", &self.names.attributes()]);
        let mut questions = vec![documents, attributes];
        if !is_cluster {
            let names = keys.iter().map(|key| self.names.series(key));
            questions.extend(names.map(|names| SeriesState::command(&names)));
        }
        let mut answers = self
            .ask_together("read", questions, keys.len() == 1)?
            .into_iter();
        let mut next = || answers.next().unwrap_or_default().array();
        let (mut documents, attributes) = (next()?, next()?);
        let mut frames = Vec::new();
        if values == ReadValues::AtOnce {
            frames = documents.pop().unwrap_or_default().array()?;
            documents = documents.pop().unwrap_or_default().array()?;
        }
        frames.resize(keys.len(), Answer::Nil);
        if documents.len() != keys.len() || attributes.len() != keys.len() {
            return Err(unexpected("number of fields"));
        }
        let documents = keys.iter().zip(documents).map(|(key, document)| {
            let document = self.document_from_reply(key, document);
            document.map_err(|e| e.with_key(key.as_str()))
        });
        let documents = documents.collect::<Result<Vec<_>>>()?;
        let shares_slot = |it: &Option<Document>| matches!(it, Some(Document::Series(series)) if series.shares_slot);
        let states = match is_cluster || documents.iter().any(shares_slot) {
            true => self.states_by_slot(keys, &documents)?,
            false => answers.map(SeriesState::from_reply).collect::<Vec<_>>(),
        };
        if states.len() != keys.len() {
            return Err(unexpected("number of states"));
        }
        let nodes = keys.iter().zip(documents).zip(attributes);
        let nodes = nodes.zip(states.into_iter().zip(frames));
        let nodes = nodes.map(|(((key, document), attributes), (state, frame))| {
            let node = document
                .map(|document| self.node_reply(key, document, attributes, state, frame.bytes()?));
            let node = node.transpose().map(Option::flatten);
            node.map_err(|e| e.with_key(key.as_str()))
        });
        nodes.collect()
    }

    /// The states of those keys that are series. Those in one slot are as of one moment.
    fn states_by_slot(
        &self,
        keys: &[Key],
        documents: &[Option<Document>],
    ) -> Result<Vec<Result<Option<SeriesState>>>> {
        let mut slots: HashMap<String, Vec<(usize, SeriesNames)>> = HashMap::new();
        for (index, (key, document)) in keys.iter().zip(documents).enumerate() {
            if let Some(Document::Series(series)) = document {
                let names = series.names(&self.names, key);
                slots.entry(names.state()).or_default().push((index, names));
            }
        }
        let slots: Vec<_> = slots.into_values().collect();
        let questions = slots.iter().map(|series| {
            let names: Vec<_> = series.iter().map(|(_, names)| names).collect();
            SeriesState::command_of_all(&names)
        });
        let questions: Vec<_> = questions.collect();
        let answers = self.ask("read", &questions)?;
        let mut states: Vec<_> = keys.iter().map(|_| Ok(None)).collect();
        for (series, answer) in slots.iter().zip(answers) {
            let mut fields = answer.array()?.into_iter();
            for (index, _) in series {
                states[*index] = SeriesState::from_fields(&mut fields);
            }
        }
        Ok(states)
    }

    fn document_from_reply(&self, key: &Key, reply: Answer) -> Result<Option<Document>> {
        let document = match reply.bytes()? {
            Some(text) => Document::from_json(&text)?,
            None if key.is_root() => Document::Group,
            None => {
                // Another writer may have removed it.
                self.known()?.remove(key);
                return Ok(None);
            }
        };
        if let Document::Series(series) = &document {
            self.known()?.insert(key.clone(), Arc::clone(series));
        }
        Ok(Some(document))
    }

    fn node_reply(
        &self,
        key: &Key,
        document: Document,
        attributes: Answer,
        state: Result<Option<SeriesState>>,
        frame: Option<Vec<u8>>,
    ) -> Result<Option<NodeReply>> {
        let attributes = attributes_from(attributes)?;
        Ok(Some(match document {
            Document::Group => NodeReply::Group(attributes),
            Document::Value(stored) => NodeReply::Value {
                value: match frame {
                    Some(frame) => decode_value(frame, &stored),
                    None => self.read_value(&stored),
                }
                .map_err(|e| e.with_key(key.as_str())),
                stored,
                attributes,
            },
            // In a cluster, a series is declared before it has a state. A series of a claimed group
            // exists once it is as long as the others.
            Document::Series(document) => match state? {
                None if document.shares_slot => return Ok(None),
                state => NodeReply::Series {
                    state: state.unwrap_or_default(),
                    document,
                    attributes,
                },
            },
        }))
    }

    /// Sends commands as of one moment; in a cluster, or for one key, one after another. A
    /// transaction takes a permission that readers of one key do not need.
    fn ask_together(
        &self,
        operation: &'static str,
        mut questions: Vec<Commands>,
        is_one_key: bool,
    ) -> Result<Vec<Answer>> {
        if self.connections.is_cluster() || is_one_key {
            return self.ask(operation, &questions);
        }
        // Commits are scripts, and the server runs nothing between the commands of a transaction.
        questions.insert(0, command(&[b"MULTI"]));
        questions.push(command(&[b"EXEC"]));
        let mut answers = self.ask(operation, &questions)?;
        let answers = answers.pop().unwrap_or_default().array()?;
        answers.into_iter().map(Reply::checked).collect()
    }

    fn read_value(&self, stored: &StoredValue) -> Result<Value> {
        let mut questions = Commands::default();
        let last = stored.byte_len.to_string();
        let prefix = self.names.values();
        for name in part_names(&prefix, &stored.frame, stored.part_count) {
            questions.command(&[b"GETRANGE", name.as_bytes(), b"0", last.as_bytes()]);
        }
        let mut frame = Vec::new();
        for part in self.ask("get", &[questions])? {
            frame.extend(part.bytes()?.unwrap_or_default());
        }
        decode_value(frame, stored)
    }

    /// The children of a group, in the order of their names.
    pub(crate) fn children(&self, group: &Key) -> Result<Vec<Child>> {
        let found = self.scan(&self.names.group(group))?;
        let children = found.into_iter().map(|(name, kind)| {
            let kind = match &kind[..] {
                b"group" => NodeKind::Group,
                b"value" => NodeKind::Value,
                b"series" => NodeKind::Series,
                _ => return Err(corrupt("a child of this group is of an unknown kind")),
            };
            let child = match group.is_root() {
                true => Key::new(name),
                false => group.join(name),
            };
            Ok(Child::new(child?, kind))
        });
        let mut children = children.collect::<Result<Vec<_>>>()?;
        children.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(children)
    }
}

fn decode_value(frame: Vec<u8>, stored: &StoredValue) -> Result<Value> {
    if frame.len() as u64 != stored.byte_len {
        return Err(corrupt(format!(
            "a value has {} bytes, its metadata says {}",
            frame.len(),
            stored.byte_len
        )));
    }
    let decoded = stored.format.decode(frame, &stored.schema)?;
    let schema = Arc::new(stored.schema.clone());
    let data = decoded.data().to_vec();
    let records = match schema.kind().is_fixed() {
        true => Records::fixed(schema, decoded.count, data),
        false => Records::variable(schema, decoded.ends, data),
    };
    let value = records?.value(0)?;
    match &stored.dimension_names {
        Some(names) => value.with_dimension_names(names.clone()),
        None => Ok(value),
    }
}

fn set_too_often() -> Error {
    let message = "the value is being set faster than it can be read; try again, or allow this \
        user to run scripts, which read it atomically";
    Error::new(ErrorKind::PermissionDenied, "read", message)
}

fn attributes_from(answer: Answer) -> Result<Attributes> {
    let Some(text) = answer.bytes()? else {
        return Ok(Attributes::new());
    };
    serde_json::from_slice(&text)
        .map_err(|e| corrupt("the attributes cannot be decoded").with_source(e))
}
