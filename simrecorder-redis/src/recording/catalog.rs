//! Listing and deleting the recordings on a server.

use std::collections::BTreeSet;

use redis::Value;
use simrecorder_core::{ErrorKind, Key, Result};

use crate::connection::reply::Reply;
use crate::connection::{Connections, Failure};
use crate::format::document::Document;
use crate::format::index::entries;
use crate::format::names::{self, Names, SeriesNames, SlotNames, part_names};
use crate::recording::keyspace::Keyspace;

/// Deletes the root of a recording in one step, and records the rest as garbage. KEYS: root,
/// garbage. ARGV: its generation.
const DELETE: &str = "
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
";

/// The names of all recordings on a server or a cluster, in order.
pub(crate) fn runs(connections: &Connections) -> Result<Vec<String>> {
    let found = connections.run_first("list", |link| {
        let mut found = BTreeSet::new();
        for node in link.primaries()? {
            let mut cursor = "0".to_owned();
            loop {
                let (cursor_now, pattern) = (cursor.as_bytes(), names::ROOTS.as_bytes());
                let question: [&[u8]; 8] = [
                    b"SCAN", cursor_now, b"MATCH", pattern, b"COUNT", b"1000", b"TYPE", b"hash",
                ];
                let reply = match link.ask_node(node.as_ref(), &question)? {
                    Value::ServerError(error) => return Err(Failure::Redis(error.into())),
                    reply => reply,
                };
                let mut reply = reply.array()?.into_iter();
                let next = reply.next().unwrap_or_default().text()?;
                for name in reply.next().unwrap_or_default().array()? {
                    let name = name.bytes()?.unwrap_or_default();
                    let name = std::str::from_utf8(&name).ok();
                    found.extend(name.and_then(names::run_of_root));
                }
                cursor = next.unwrap_or_else(|| "0".to_owned());
                if cursor == "0" {
                    break;
                }
            }
        }
        Ok(found)
    });
    let found = found.map_err(|e| e.with_key(connections.address().to_string()))?;
    Ok(found.into_iter().collect())
}

/// Deletes the recording. The root is deleted first, so that no program opens a part of a
/// recording.
pub(super) fn delete(keyspace: &Keyspace) -> Result<()> {
    let (root, garbage) = (keyspace.names.root(), names::garbage(&keyspace.run));
    let generation = keyspace.names.generation().as_bytes();
    let deleted = keyspace.ask_one(
        "delete",
        &[
            b"EVAL",
            DELETE.as_bytes(),
            b"2",
            root.as_bytes(),
            garbage.as_bytes(),
            generation,
        ],
    )?;
    if deleted.int()? == 0 {
        return Err(keyspace.not_current());
    }
    delete_garbage(keyspace)?;
    delete_keys(keyspace, &keyspace.names)?;
    let forget: [&[u8]; 3] = [b"SREM", garbage.as_bytes(), generation];
    keyspace.ask_one("delete", &forget).map(drop)
}

/// Deletes the remains of recordings of this name that were replaced or deleted.
pub(super) fn delete_garbage(keyspace: &Keyspace) -> Result<()> {
    let garbage = names::garbage(&keyspace.run);
    let generations = keyspace
        .ask_one("open", &[b"SMEMBERS", garbage.as_bytes()])?
        .array()?;
    for generation in generations {
        let generation = generation.text()?.unwrap_or_default();
        // If this recording was replaced meanwhile, the program that replaced it deletes its keys.
        if generation == keyspace.names.generation() {
            continue;
        }
        match delete_keys(keyspace, &Names::new(&keyspace.run, &generation)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(error) => {
                tracing::warn!(run = keyspace.run, generation, %error,
                    "the replaced recording is damaged, and a part of it remains on the server");
            }
        }
        keyspace.ask_one(
            "open",
            &[b"SREM", garbage.as_bytes(), generation.as_bytes()],
        )?;
    }
    Ok(())
}

/// Deletes the keys of a recording step by step.
fn delete_keys(keyspace: &Keyspace, names: &Names) -> Result<()> {
    let nodes = names.nodes();
    for (key, text) in keyspace.scan(&nodes)? {
        let key = Key::new_or_root(&key)?;
        let unlink = |name: String| keyspace.ask_one("open", &[b"UNLINK", name.as_bytes()]);
        match Document::from_json(&text) {
            Ok(Document::Value(value)) => {
                for part in part_names(&names.values(), &value.frame, value.part_count) {
                    unlink(part)?;
                }
            }
            Ok(Document::Series(series)) => delete_series(keyspace, &series.names(names, &key))?,
            _ => {
                unlink(names.group(&key))?;
            }
        }
    }
    // The slots of removed series, and of claimed groups.
    let mut slots = keyspace.scan(&names.removed())?;
    slots.extend(keyspace.scan(&names.claims())?);
    for key in slots.into_keys() {
        delete_slot(keyspace, &names.slot(&Key::new_or_root(&key)?))?;
    }
    let others = [
        names.group(&Key::ROOT),
        names.commits(),
        names.claims(),
        names.writers(),
        names.attributes(),
        names.removed(),
        nodes,
    ];
    let mut unlink: Vec<&[u8]> = vec![b"UNLINK"];
    unlink.extend(others.iter().map(|name| name.as_bytes()));
    keyspace.ask_one("open", &unlink).map(drop)
}

fn delete_series(keyspace: &Keyspace, series: &SeriesNames) -> Result<()> {
    delete_frames(keyspace, series)?;
    for name in [series.index(), series.state()] {
        keyspace.ask_one("open", &[b"UNLINK", name.as_bytes()])?;
    }
    delete_slot(keyspace, series.slot())
}

/// Deletes the keys that the series of a slot share.
fn delete_slot(keyspace: &Keyspace, slot: &SlotNames) -> Result<()> {
    for name in [slot.commits(), slot.claims(), slot.states()] {
        keyspace.ask_one("open", &[b"UNLINK", name.as_bytes()])?;
    }
    Ok(())
}

fn delete_frames(keyspace: &Keyspace, series: &SeriesNames) -> Result<()> {
    let index = series.index();
    loop {
        let some: [&[u8]; 6] = [b"XRANGE", index.as_bytes(), b"-", b"+", b"COUNT", b"100"];
        let page = entries(keyspace.ask_one("open", &some)?)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        let parts = page
            .iter()
            .flat_map(|entry| entry.part_names(series.prefix()));
        let parts: Vec<String> = parts.collect();
        let mut unlink: Vec<&[u8]> = vec![b"UNLINK"];
        unlink.extend(parts.iter().map(|name| name.as_bytes()));
        keyspace.ask_one("open", &unlink)?;
        let after = format!("{}-2", last.first);
        keyspace.ask_one(
            "open",
            &[b"XTRIM", index.as_bytes(), b"MINID", after.as_bytes()],
        )?;
    }
}
