//! Opening a recording: its root, and checking the settings of its server.

use std::collections::HashMap;

use redis::Value;
use simrecorder_core::backend::random_number;
use simrecorder_core::{Error, ErrorKind, OpenMode, Result};

use crate::connection::errors::{corrupt, from_server, invalid, is_transient};
use crate::connection::reply::Reply;
use crate::connection::{Connections, Failure};
use crate::format::frame::FrameFormat;
use crate::format::names;
use crate::options::RedisOptions;
use crate::recording::keyspace::Keyspace;
use crate::recording::registry::seconds_since_1970;

/// The version of the layout in the database.
const FORMAT: u64 = 1;

/// The features that a recording may require: none, or that series share the slot of their group.
const FEATURES: [&str; 2] = ["", "shared-slots"];

/// Creates a recording in one step. KEYS: root, garbage. ARGV: whether to replace an existing one,
/// then the fields of the root. Returns the existing root if it is not replaced.
const CREATE: &str = "
local found = redis.call('HGETALL', KEYS[1])
if #found > 0 then
    local marks = redis.call('HMGET', KEYS[1], 'format', 'requires', 'generation')
    if ARGV[1] ~= 'replace' or not (marks[1] and marks[2] and marks[3]) then return found end
    redis.call('SADD', KEYS[2], marks[3])
    redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return {}
";

/// The root of a recording.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) generation: String,
    /// The format of new series, unless their schema specifies it.
    pub(super) format: FrameFormat,
}

impl Root {
    /// Finds or creates the recording, depending on the mode.
    pub(super) fn open(
        connections: &Connections,
        run: &str,
        options: &RedisOptions,
    ) -> Result<Self> {
        Self::from_fields(&find_or_create(connections, run, options)?)
    }

    /// The root with these fields, if this build can read the recording.
    fn from_fields(fields: &HashMap<String, String>) -> Result<Self> {
        if ["format", "requires", "generation"]
            .iter()
            .any(|name| !fields.contains_key(*name))
        {
            let message = "another program uses the key of the recording's root for something else; \
                           delete that key, or choose another name with run=";
            return Err(Error::new(ErrorKind::Corrupt, "open", message));
        }
        let field = |name: &str| {
            fields.get(name).ok_or_else(|| {
                corrupt(format!("the root of the recording has no '{name}'")).with_operation("open")
            })
        };
        let newer = |what: String| {
            let message = format!("the recording {what}; read it with a newer simrecorder");
            Error::new(ErrorKind::Unsupported, "open", message)
        };
        let format = field("format")?;
        if format.parse() != Ok(FORMAT) {
            return Err(newer(format!("has the format {}", format.escape_debug())));
        }
        let mut requires = field("requires")?.split(' ');
        if let Some(unknown) = requires.find(|name| !FEATURES.contains(name)) {
            return Err(newer(format!("requires {}", unknown.escape_debug())));
        }
        let format = FrameFormat {
            encoding: field("encoding")?.parse()?,
            compression: field("compression")?.parse()?,
        };
        Ok(Self {
            generation: field("generation")?.clone(),
            format,
        })
    }
}

/// The fields of the root of the existing or new recording.
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
            let message =
                "a recording of this name already exists; open it with Append or Truncate";
            Err(Error::new(ErrorKind::AlreadyExists, "open", message))
        }
        (_, true) => Ok(new.map(|(name, value)| (name.to_owned(), value)).into()),
        (_, false) => found
            .into_iter()
            .map(|(name, it)| Ok((name, text(it)?)))
            .collect(),
    }
}

/// Checks that the server keeps all data, and warns about a setting that may damage data. Returns
/// whether the server syncs before it acknowledges.
pub(super) fn check_server(keyspace: &Keyspace) -> Result<bool> {
    let (memory, settings) = keyspace.connections.run_first("open", |link| {
        let memory = if_told(link.one(&[b"INFO", b"memory"]))?.text();
        // The settings of the append-only file, and a few others.
        let settings = if_told(link.one(&[b"CONFIG", b"GET", b"a*"]))?.pairs();
        Ok((memory, settings))
    })?;
    // A server that reports neither may still be written to.
    let memory = memory.ok().flatten().unwrap_or_default();
    let field = |name: &str| memory.lines().find_map(|line| line.strip_prefix(name));
    let evicts = field("maxmemory_policy:").is_some_and(|it| it.starts_with("allkeys"));
    if evicts && field("maxmemory:").is_some_and(|bytes| bytes != "0") {
        return Err(invalid(
            "the server deletes keys, and with them records, when its memory is full; set its \
             maxmemory-policy to noeviction",
        ));
    }
    let settings = settings.unwrap_or_default();
    let is = |name: &str, value: &[u8]| {
        let mut settings = settings.iter();
        settings.any(|(is, has)| is == name && has == value)
    };
    if is("appendonly", b"yes") && is("aof-load-truncated", b"yes") {
        tracing::warn!(
            run = keyspace.run,
            "the server's setting aof-load-truncated is on: if the server is killed during a \
             write, later commits may be damaged; set it to no, and run redis-check-aof --fix if \
             the server then refuses to start"
        );
    }
    Ok(is("appendfsync", b"always"))
}

/// A reply that a server may refuse: the client library for clusters returns an error in this case.
fn if_told(answer: redis::RedisResult<Value>) -> redis::RedisResult<Value> {
    match answer {
        Err(error) if error.code().is_some() && !is_transient(&error) => Ok(Value::Nil),
        answer => answer,
    }
}
