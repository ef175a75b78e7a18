//! The script that makes a commit: its command, and the meaning of its reply.

use std::collections::HashMap;

use redis::{RedisError, ServerError, Value};
use simrecorder_core::backend::errors::{
    already_there, clash, not_a_group, not_declared, nothing_at, wrong_start,
};
use simrecorder_core::{Error, ErrorKind, Key, NodeKind, Result};

use crate::connection::Failure;
use crate::connection::errors::{corrupt, from_server, is_transient, unexpected};
use crate::connection::reply::{Commands, Reply};
use crate::format::document::described;
use crate::format::names::SlotNames;
use crate::recording::keyspace::Keyspace;

const SCRIPT: &str = include_str!("commit.lua");

/// The keys that one script accesses in a cluster: those of a series, of the series of a claimed
/// group, or of the hierarchy. Without a cluster, the hierarchy's slot is used for everything.
pub(super) type Slot = Option<SlotNames>;

/// The commit that a script makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommitNumber<'a> {
    pub(super) writer: &'a str,
    /// The number of the previous commit in the same slot.
    pub(super) previous: u64,
    /// The number of this commit; 0 is not counted.
    pub(super) number: u64,
}

/// The command that runs the script. `changes` are its arguments.
pub(super) fn command(
    keyspace: &Keyspace,
    slot: &Slot,
    number: CommitNumber<'_>,
    changes: &[Vec<u8>],
) -> Commands {
    let names = &keyspace.names;
    let keys = match slot {
        Some(slot) => vec![slot.commits()],
        None => vec![
            names.commits(),
            names.root(),
            names.nodes(),
            names.attributes(),
        ],
    };
    let mut script = Commands::default();
    script.begin(3 + keys.len() + 7 + changes.len());
    script.argument("EVAL");
    script.argument(SCRIPT);
    script.argument(keys.len().to_string());
    keys.iter().for_each(|key| script.argument(key));
    script.argument(names.generation());
    script.argument(number.writer);
    script.argument(number.previous.to_string());
    script.argument(number.number.to_string());
    script.argument(names.groups());
    script.argument(names.values());
    script.argument(match keyspace.connections.is_cluster() {
        // Scripts of the hierarchy do not access the keys of series.
        true => String::new(),
        false => names.all_series(),
    });
    changes
        .iter()
        .for_each(|argument| script.argument(argument));
    script
}

/// The reply of the script.
pub(super) enum ScriptReply {
    Done,
    /// The server has only the commits up to this number.
    Gap(u64),
    /// The server lacks some frames, although it did not reject any: they have expired.
    FramesMissing(Error),
}

/// The meaning of the script's reply. `refused` is the error of an earlier frame.
pub(super) fn understand(
    keyspace: &Keyspace,
    answer: Value,
    refused: Option<ServerError>,
) -> Result<ScriptReply, Failure> {
    if let Value::ServerError(error) = answer {
        // The client library knows which errors are temporary.
        return Err(Failure::Redis(refused.unwrap_or(error).into()));
    }
    let mut words = answer.array()?.into_iter();
    let mut word = || words.next().unwrap_or_default();
    let what = word().text()?.unwrap_or_default();
    match what.as_str() {
        "done" => return Ok(ScriptReply::Done),
        "gap" => {
            let last = u64::try_from(word().int()?).map_err(|_| unexpected("number"))?;
            return Ok(ScriptReply::Gap(last));
        }
        "replaced" => return Err(keyspace.not_current().into()),
        "refused" => {}
        _ => return Err(unexpected("answer to a commit").into()),
    }
    let mut text = || word().text().map(Option::unwrap_or_default);
    let (kind, key, detail) = (text()?, text()?, text()?);
    let error = refusal(&kind, &key, &detail);
    let error = error.map_or_else(|e| e, |e| e.with_key(&*key));
    match (kind.as_str(), refused) {
        ("frames", None) => Ok(ScriptReply::FramesMissing(error)),
        ("frames", Some(refused)) => Err(match RedisError::from(refused.clone()) {
            error if is_transient(&error) => Failure::Redis(error),
            _ => Failure::Final(from_server("commit", &refused).with_key(key)),
        }),
        _ => Err(error.into()),
    }
}

/// The error of a commit that the script rejected.
fn refusal(kind: &str, key: &str, detail: &str) -> Result<Error> {
    let key = &Key::new_or_root(key)?;
    let (is, wanted) = detail.split_once('\n').unwrap_or((detail, ""));
    let node = |name: &str| match name {
        "value" => NodeKind::Value,
        "series" => NodeKind::Series,
        _ => NodeKind::Group,
    };
    Ok(match kind {
        "clash" => clash("commit", key, node(is), node(wanted)),
        "below" => not_a_group("commit", key, &Key::new_or_root(is)?, node(wanted)),
        "schema" => {
            let message = format!(
                "the series holds {}, this is {}",
                described(is),
                described(wanted)
            );
            Error::new(ErrorKind::SchemaMismatch, "commit", message)
        }
        "start" => {
            let number = |text: &str| text.parse().map_err(|_| unexpected("number"));
            wrong_start(key, number(is)?, number(wanted)?)
        }
        "locked" => {
            let message = "another writer has taken over the series directly in this group; close \
                           this recorder, or open the timeline again to take them back";
            Error::new(ErrorKind::Locked, "commit", message)
        }
        "apart" => {
            let message = "this series is older than the timeline of its group, and is on another \
                           server of the cluster than the series of a timeline; use another group \
                           for the timeline";
            Error::new(ErrorKind::Unsupported, "commit", message)
        }
        "missing" => not_declared(key),
        "nothing" => nothing_at("commit"),
        "there" => already_there(key, node(is)),
        "frames" => {
            let message =
                "data that was sent to the server is missing; does the server evict keys?";
            Error::new(ErrorKind::Io, "commit", message)
        }
        _ => corrupt(is).with_operation("commit"),
    })
}

/// Frees the records of series before an index of each, outside of any commit.
pub(super) fn free(keyspace: &Keyspace, writer: &str, series: &[(Key, u64)]) -> Result<()> {
    let is_cluster = keyspace.connections.is_cluster();
    let mut slots: HashMap<Slot, Vec<Vec<u8>>> = HashMap::new();
    for (key, first) in series {
        let names = keyspace.series_names(key)?;
        let slot = is_cluster.then(|| names.slot().clone());
        let changes = ["free", key.as_str(), names.prefix(), &first.to_string()];
        let changes = changes.map(|argument| argument.as_bytes().to_vec());
        slots.entry(slot).or_default().extend(changes);
    }
    let number = CommitNumber {
        writer,
        previous: 0,
        number: 0,
    };
    let scripts = slots.iter();
    let scripts = scripts.map(|(slot, changes)| command(keyspace, slot, number, changes));
    let scripts: Vec<_> = scripts.collect();
    keyspace.connections.run("free", |link| {
        for script in &scripts {
            let answer = link.exchange(&[script])?.pop().unwrap_or_default();
            if let ScriptReply::FramesMissing(error) = understand(keyspace, answer, None)? {
                return Err(error.into());
            }
        }
        Ok(())
    })
}
