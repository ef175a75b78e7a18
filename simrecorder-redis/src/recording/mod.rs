//! One recording on a server: opening it, and what there is at its keys.

pub(crate) mod catalog;
pub(crate) mod commit;
mod durable;
mod persistence;
pub(crate) mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use redis::Value;
use serde_json::json;
use simrecorder_core::backend::random_number;
use simrecorder_core::{
    Attributes, ChunkPolicy, Compression, DType, Error, ErrorKind, Key, Kind, OpenMode, Result,
    Schema,
};

use crate::connection::errors::{corrupt, from_server, invalid, is_transient};
use crate::connection::reply::{Commands, Reply, command};
use crate::connection::{Connections, Failure};
use crate::format::document::{Document, SeriesDocument};
use crate::format::frame::Form;
use crate::format::names::{self, Names, SeriesNames};
use crate::options::{FRAME_BYTES, RedisOptions};
use crate::recording::writer::{Buffers, Writer};
use crate::server::RedisServer;

/// The version of the layout in the database.
const FORMAT: u64 = 1;
/// No more records than this share a frame, whatever a chunk policy says.
const LARGEST_FRAME: usize = 64 << 20;
/// Records of unknown size are handed over by this many, or when they fill a buffer.
const VARIABLE_RECORDS: u64 = 4096;

/// Creates a recording in one step. KEYS: root, garbage. ARGV: whether to replace one that is
/// there, then the fields of the root.
const CREATE: &str = "
local found = redis.call('HGETALL', KEYS[1])
if #found > 0 then
    if ARGV[1] ~= 'replace' then return found end
    redis.call('SADD', KEYS[2], redis.call('HGET', KEYS[1], 'generation') or '')
    redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return {}
";

/// One recording, as this store has it open.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) connections: Connections,
    pub(crate) run: String,
    pub(crate) names: Names,
    pub(crate) read_only: bool,
    /// How new series are written, unless their schema says.
    form: Form,
    chunk_policy: ChunkPolicy,
    pub(crate) frame_bytes: usize,
    pub(crate) part_bytes: usize,
    pub(crate) resend_bytes: usize,
    pub(crate) id: u64,
    next_frame: AtomicU64,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) closed: AtomicBool,
    pub(crate) buffers: Buffers,
    /// Series that were read: what stands about them does not change.
    series: Mutex<HashMap<Key, Arc<SeriesDocument>>>,
    /// Series that this store planned and may declare.
    planned: Mutex<HashMap<Key, Arc<SeriesDocument>>>,
    /// A server that ends with the recording: the last field, so that connections go before it.
    pub(crate) server: Option<RedisServer>,
}

/// How long a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The index of the first record that was not freed.
    pub(crate) first: u64,
    /// The index behind the last record.
    pub(crate) end: u64,
    /// How often the series was cut.
    pub(crate) cuts: u64,
}

impl State {
    pub(crate) fn from_reply(reply: Value) -> Result<Option<Self>> {
        let mut fields = reply.array()?.into_iter();
        let mut number = || match fields.next() {
            Some(Value::Nil) | None => Ok(None),
            Some(number) => u64::try_from(number.int()?)
                .map(Some)
                .map_err(|_| corrupt("the length of the series is negative")),
        };
        let (first, end, cuts) = (number()?, number()?, number()?);
        match (first, end, cuts) {
            (None, None, None) => Ok(None),
            (Some(first), Some(end), Some(cuts)) if first <= end => {
                Ok(Some(Self { first, end, cuts }))
            }
            _ => Err(corrupt("the length of the series does not decode")),
        }
    }
}

/// Where records of a series and its length are asked for.
pub(crate) fn state_command(series: &SeriesNames) -> Commands {
    command(&[
        b"HMGET",
        series.state().as_bytes(),
        b"first",
        b"end",
        b"cuts",
    ])
}

impl Recording {
    pub(crate) fn open(
        connections: Connections,
        run: String,
        options: &RedisOptions,
        server: Option<RedisServer>,
    ) -> Result<Self> {
        let named = |e: Error| match e.kind() {
            // The server stands in errors of the connection.
            ErrorKind::Io | ErrorKind::PermissionDenied => {
                e.with_key(connections.address().to_string())
            }
            _ => e.with_key(run.clone()),
        };
        let fields = find_or_create(&connections, &run, options).map_err(named)?;
        let field = |name: &str| fields.get(name).map(String::as_str);
        let (generation, form) = check_root(&field).map_err(named)?;
        let mut recording = Self {
            names: Names::new(&run, generation),
            read_only: !options.mode.is_writable(),
            form,
            chunk_policy: options.chunk_policy.clone(),
            frame_bytes: FRAME_BYTES,
            part_bytes: options.largest_value,
            resend_bytes: options.resend_bytes,
            id: random_number(),
            next_frame: AtomicU64::new(0),
            writer: Mutex::new(Writer::new()),
            closed: AtomicBool::new(false),
            buffers: Buffers::default(),
            series: Mutex::default(),
            planned: Mutex::default(),
            connections,
            run,
            server,
        };
        if !recording.read_only {
            recording
                .begin_writing()
                .map_err(|e| e.with_key(recording.run.clone()))?;
        }
        Ok(recording)
    }

    /// Looks whether the server keeps what it is given, and says who this writer is.
    fn begin_writing(&mut self) -> Result<()> {
        let who = json!({
            "host": rustix::system::uname().nodename().to_string_lossy(),
            "process": std::process::id(),
            "started": seconds_since_1970(),
        });
        let (writers, id, who) = (self.names.writers(), self.writer_name(), who.to_string());
        let policy = self.connections.run_first("open", |link| {
            let memory = if_told(link.one(&[b"INFO", b"memory"]))?.text();
            let sync = if_told(link.one(&[b"CONFIG", b"GET", b"appendfsync"]))?.pairs();
            let register: [&[u8]; 4] = [b"HSET", writers.as_bytes(), id.as_bytes(), who.as_bytes()];
            if let Value::ServerError(error) = link.one(&register)? {
                return Err(Failure::Redis(error.into()));
            }
            Ok((memory, sync))
        })?;
        // A server that tells neither may still be written to.
        let memory = policy.0.ok().flatten().unwrap_or_default();
        let field = |name: &str| memory.lines().find_map(|line| line.strip_prefix(name));
        let evicts = field("maxmemory_policy:").is_some_and(|it| it.starts_with("allkeys"));
        if evicts && field("maxmemory:").is_some_and(|bytes| bytes != "0") {
            return Err(invalid(
                "the server deletes keys when its memory is full, and with them records; set its \
                 maxmemory-policy to noeviction",
            ));
        }
        let sync = policy.1.unwrap_or_default();
        let always = sync.iter().any(|(_, value)| value == b"always");
        self.writer.get_mut().persistence.always = always;
        self.delete_garbage()
    }

    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.read_only {
            let message = "the recording was opened read only; open it with Append";
            return Err(Error::new(ErrorKind::ReadOnly, operation, message));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Closed,
                operation,
                "the store was closed",
            ));
        }
        Ok(())
    }

    pub(crate) fn replaced(&self) -> Error {
        let message = "the recording was deleted, or replaced by a new one";
        Error::new(ErrorKind::NotFound, "commit", message).with_key(self.run.clone())
    }

    /// Checks that the recording is still the one that was opened.
    pub(crate) fn check_there(&self) -> Result<()> {
        let root = self.names.root();
        let now = self.ask_one("commit", &[b"HGET", root.as_bytes(), b"generation"])?;
        match now.text()?.as_deref() == Some(self.names.generation()) {
            true => Ok(()),
            false => Err(self.replaced()),
        }
    }

    /// The name of this writer in the database.
    pub(crate) fn writer_name(&self) -> String {
        format!("{:016x}", self.id)
    }

    pub(crate) fn new_frame_name(&self) -> String {
        let number = self.next_frame.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{number:x}", self.id)
    }

    /// Asks several questions, of one slot each, in one go if there is but one server.
    pub(crate) fn ask(
        &self,
        operation: &'static str,
        questions: &[Commands],
    ) -> Result<Vec<Value>> {
        self.connections.run(operation, |link| {
            let replies = if self.connections.is_cluster() {
                let each = questions.iter().map(|question| link.exchange(&[question]));
                each.collect::<Result<Vec<_>, _>>()?.concat()
            } else {
                link.exchange(&questions.iter().collect::<Vec<_>>())?
            };
            for reply in &replies {
                if let Value::ServerError(error) = reply {
                    let error = redis::RedisError::from(error.clone());
                    return Err(Failure::Redis(error));
                }
            }
            Ok(replies)
        })
    }

    pub(crate) fn ask_one(&self, operation: &'static str, arguments: &[&[u8]]) -> Result<Value> {
        let mut replies = self.ask(operation, &[command(arguments)])?;
        Ok(replies.pop().unwrap_or_default())
    }

    /// What stands about a key.
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
            let series = Arc::new(series.clone());
            self.series.lock().insert(key.clone(), series);
        }
        Ok(Some(document))
    }

    /// A series that was read before.
    pub(crate) fn known_series(&self, key: &Key) -> Option<Arc<SeriesDocument>> {
        self.series.lock().get(key).cloned()
    }

    /// How long a series is, and its attributes.
    pub(crate) fn state(&self, key: &Key) -> Result<(Option<State>, Attributes)> {
        let attributes = self.names.attributes();
        let questions = [
            state_command(&self.names.series(key)),
            command(&[b"HGET", attributes.as_bytes(), key.as_str().as_bytes()]),
        ];
        let mut replies = self.ask("read", &questions)?.into_iter();
        let mut next = || replies.next().unwrap_or_default();
        let state = State::from_reply(next())?;
        Ok((state, attributes_from(next())?))
    }

    pub(crate) fn attributes(&self, key: &Key) -> Result<Attributes> {
        let name = self.names.attributes();
        let text = self.ask_one("read", &[b"HGET", name.as_bytes(), key.as_str().as_bytes()])?;
        attributes_from(text)
    }

    /// How values are written: exactly.
    pub(crate) fn value_form(&self) -> Form {
        let compression = match self.form.compression {
            Compression::Lossy(_) => Compression::Small,
            exact => exact,
        };
        Form {
            compression,
            ..self.form
        }
    }

    /// What will stand about a new series.
    pub(crate) fn new_document(&self, schema: &Schema) -> Result<SeriesDocument> {
        schema.check()?;
        let form = Form {
            compression: schema.compression().unwrap_or(self.form.compression),
            ..self.form
        };
        form.check(schema)?;
        let policy = schema.chunk_policy().unwrap_or(&self.chunk_policy);
        let chunk_shape = if schema.kind() == Kind::Array {
            let size = schema.dtype().map_or(1, DType::size);
            let mut shape = policy.chunk_shape(schema.record_shape(), size)?;
            // A frame holds whole records.
            for (chunk, record) in shape[1..].iter_mut().zip(schema.record_shape()) {
                *chunk = (*record).max(1);
            }
            let record = schema.record_bytes().unwrap_or(usize::MAX).max(1);
            shape[0] = shape[0].clamp(1, (LARGEST_FRAME / record).max(1) as u64);
            shape
        } else {
            vec![
                policy
                    .fixed_records()
                    .unwrap_or(VARIABLE_RECORDS)
                    .min(VARIABLE_RECORDS),
            ]
        };
        Ok(SeriesDocument::new(schema, form, chunk_shape))
    }

    /// Notes how a series is, or will be, written; returns the records of a frame.
    pub(crate) fn plan(&self, key: &Key, schema: &Schema) -> Result<u64> {
        let existing = match self.known_series(key) {
            Some(series) => Some(series),
            None => match self.document(key)? {
                Some(Document::Series(series)) => Some(Arc::new(series)),
                _ => None,
            },
        };
        let planned = match existing {
            Some(series) => series,
            None => Arc::new(self.new_document(schema)?),
        };
        let records = planned.chunk_shape[0];
        self.planned.lock().insert(key.clone(), planned);
        Ok(records)
    }

    pub(crate) fn planned(&self, key: &Key) -> Option<Arc<SeriesDocument>> {
        self.planned.lock().get(key).cloned()
    }

    /// The fields of a hash, some at a time.
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
            let mut reply = self.ask_one("read", &some)?.array()?.into_iter();
            let next = reply.next().unwrap_or_default().text()?;
            found.extend(reply.next().unwrap_or_default().pairs()?);
            cursor = next.unwrap_or_else(|| "0".to_owned());
            if cursor == "0" {
                return Ok(found);
            }
        }
    }
}

/// The fields of the root of the recording that is there, or was created.
fn find_or_create(
    connections: &Connections,
    run: &str,
    options: &RedisOptions,
) -> Result<HashMap<String, String>> {
    let (root, garbage) = (names::root(run), names::garbage(run));
    let mode = options.mode;
    let new = [
        ("format", FORMAT.to_string()),
        ("requires", String::new()),
        ("generation", format!("{:x}", random_number())),
        ("encoding", options.encoding.as_str().to_owned()),
        ("compression", options.compression.to_string()),
        (
            "writer",
            concat!("simrecorder ", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        ("created", seconds_since_1970().to_string()),
    ];
    let creates = !matches!(mode, OpenMode::Read | OpenMode::Append);
    let found = connections.run_first("open", |link| {
        let reply = if creates {
            let replace = if mode == OpenMode::Truncate {
                "replace"
            } else {
                "keep"
            };
            let mut arguments: Vec<&[u8]> = vec![
                b"EVAL",
                CREATE.as_bytes(),
                b"2",
                root.as_bytes(),
                garbage.as_bytes(),
            ];
            arguments.push(replace.as_bytes());
            let fields = new
                .iter()
                .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
            arguments.extend(fields);
            link.one(&arguments)?
        } else {
            link.one(&[b"HGETALL", root.as_bytes()])?
        };
        match reply {
            Value::ServerError(error) => {
                let transient = redis::RedisError::from(error.clone());
                if is_transient(&transient) {
                    return Err(Failure::Redis(transient));
                }
                Err(from_server("open", &error).into())
            }
            reply => Ok(reply.pairs()?),
        }
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| corrupt("no text"));
    match (mode, found.is_empty()) {
        (OpenMode::Read | OpenMode::Append, true) => {
            let message = "there is no recording of this name on the server";
            Err(Error::new(ErrorKind::NotFound, "open", message))
        }
        (OpenMode::CreateNew, false) => {
            let message = "there is a recording of this name; open it with Append or Truncate";
            Err(Error::new(ErrorKind::AlreadyExists, "open", message))
        }
        (_, true) => Ok(new.map(|(name, value)| (name.to_owned(), value)).into()),
        (_, false) => found
            .into_iter()
            .map(|(name, it)| Ok((name, text(it)?)))
            .collect(),
    }
}

/// The generation and the settings of a recording, if this build can read it.
fn check_root<'a>(field: &impl Fn(&str) -> Option<&'a str>) -> Result<(&'a str, Form)> {
    let missing = |name: &str| {
        corrupt(format!("the root of the recording has no '{name}'")).with_operation("open")
    };
    let newer = |what: String| {
        let message = format!("the recording {what}; read it with a newer simrecorder");
        Error::new(ErrorKind::Unsupported, "open", message)
    };
    let format = field("format").ok_or_else(|| missing("format"))?;
    if format.parse() != Ok(FORMAT) {
        return Err(newer(format!("has the format {}", format.escape_debug())));
    }
    let requires = field("requires").ok_or_else(|| missing("requires"))?;
    if !requires.is_empty() {
        return Err(newer(format!("requires {}", requires.escape_debug())));
    }
    let form = Form {
        encoding: field("encoding")
            .ok_or_else(|| missing("encoding"))?
            .parse()?,
        compression: field("compression")
            .ok_or_else(|| missing("compression"))?
            .parse()?,
    };
    Ok((
        field("generation").ok_or_else(|| missing("generation"))?,
        form,
    ))
}

/// An answer that a server may refuse to give: the client library for clusters makes an error of
/// that.
fn if_told(answer: redis::RedisResult<Value>) -> redis::RedisResult<Value> {
    match answer {
        Err(error) if error.code().is_some() && !is_transient(&error) => Ok(Value::Nil),
        answer => answer,
    }
}

fn attributes_from(reply: Value) -> Result<Attributes> {
    let Some(text) = reply.bytes()? else {
        return Ok(Attributes::new());
    };
    serde_json::from_slice(&text)
        .map_err(|e| corrupt("the attributes do not decode").with_source(e))
}

fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
