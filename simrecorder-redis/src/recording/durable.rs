//! Waits until the server can no longer lose what was read from it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::Value;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::connection::Failure;
use crate::connection::errors::is_transient;
use crate::connection::reply::{Reply, command};
use crate::recording::keyspace::Keyspace;
use crate::recording::persistence::{
    BLIND_INTERVAL, CommitDurability, FileDurability, PersistenceInfo,
};

/// The pause between two checks whether the server has synced.
const PAUSE: Duration = Duration::from_millis(10);
/// The minimum time that a server may take, even with a shorter retry limit.
const MIN_PATIENCE: Duration = Duration::from_secs(10);

/// Calls `look`, and returns when the server has synced what `look` saw. If the server was killed
/// or replaced meanwhile, it may have lost some of that, and `look` is called again.
pub(super) fn read_durable(
    keyspace: &Keyspace,
    syncs_always: bool,
    look: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    let patience = keyspace.connections.timeouts.retry_for.max(MIN_PATIENCE);
    while let Some((server, _)) = ask_server(keyspace)? {
        look()?;
        if has_synced(keyspace, &server, syncs_always, patience)? {
            return Ok(());
        }
        if start.elapsed() > patience {
            let message =
                "the server keeps restarting before it has written the records to its disk";
            return Err(Error::new(ErrorKind::Io, "drain", message));
        }
    }
    look()?;
    // The server does not report its progress.
    sleep(BLIND_INTERVAL);
    Ok(())
}

/// Waits until this `server` has synced its current data; `false` if the server was lost first.
fn has_synced(
    keyspace: &Keyspace,
    server: &str,
    syncs_always: bool,
    patience: Duration,
) -> Result<bool> {
    let start = Instant::now();
    let mut seen: Option<CommitDurability> = None;
    let mut file = FileDurability::new(syncs_always);
    loop {
        let Some((current, info)) = ask_server(keyspace)? else {
            return Ok(false);
        };
        if current != server {
            return Ok(false);
        }
        let now = Instant::now();
        let seen = seen.get_or_insert_with(|| CommitDurability::new(now, Some(info)));
        seen.observe(now, info);
        file.observe(now, info);
        if file.is_safe(seen, now) {
            return Ok(true);
        }
        if start.elapsed() > patience {
            let message = "the server does not sync its append-only file in time; is its disk \
                           full, or too slow?";
            return Err(Error::new(ErrorKind::Io, "drain", message));
        }
        sleep(PAUSE);
    }
}

/// The identity of the server, which differs for each start of the program, and the state of its
/// append-only file. `None` if it does not report them, and in a cluster.
fn ask_server(keyspace: &Keyspace) -> Result<Option<(String, PersistenceInfo)>> {
    if keyspace.connections.is_cluster() {
        return Ok(None);
    }
    let questions = [
        command(&[b"INFO", b"server"]),
        command(&[b"INFO", b"persistence"]),
    ];
    keyspace.connections.run("drain", |link| {
        let mut answers = link.exchange(&[&questions[0], &questions[1]])?;
        let info = answers.pop().and_then(PersistenceInfo::from_reply);
        let server = match answers.pop().unwrap_or_default() {
            Value::ServerError(error) if is_transient(&error.clone().into()) => {
                return Err(Failure::Redis(error.into()));
            }
            Value::ServerError(_) => None,
            text => text.text()?,
        };
        let id = server.as_deref().and_then(|text| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix("run_id:"))
        });
        Ok(id.map(str::to_owned).zip(info))
    })
}
