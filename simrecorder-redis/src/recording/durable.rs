//! Waiting until the server cannot lose any more what was read from it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::Value;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::connection::Failure;
use crate::connection::reply::{Reply, command};
use crate::recording::Recording;
use crate::recording::persistence::{BLIND_INTERVAL, Mark, Observation, Persistence};
use crate::recording::writer::observation;

/// How long to wait before looking again whether the server has synced.
const PAUSE: Duration = Duration::from_millis(10);
/// However little is tried again, so long a server may take.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);

impl Recording {
    /// Calls `look`, and returns when the server has synced what it saw. A server that was killed
    /// meanwhile, or gave way to another one, may have lost some of that, and is looked at again.
    pub(crate) fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let start = Instant::now();
        let patience = self.connections.patience.retry_for.max(LEAST_PATIENCE);
        while let Some((server, _)) = self.ask_server()? {
            look()?;
            if self.has_synced(&server, patience)? {
                return Ok(());
            }
            if start.elapsed() > patience {
                let message = "the server is restarted faster than it brings records to its disk";
                return Err(Error::new(ErrorKind::Io, "drain", message));
            }
        }
        look()?;
        // Nobody says how far it is.
        sleep(BLIND_INTERVAL);
        Ok(())
    }

    /// Waits until this very `server` has synced what it knows now; `false` if it was lost before.
    fn has_synced(&self, server: &str, patience: Duration) -> Result<bool> {
        let start = Instant::now();
        let mut mark: Option<Mark> = None;
        let mut persistence = Persistence::default();
        persistence.always = self.writer.lock().persistence.always;
        loop {
            let Some((now_there, observed)) = self.ask_server()? else {
                return Ok(false);
            };
            if now_there != server {
                return Ok(false);
            }
            let now = Instant::now();
            let mark = mark.get_or_insert_with(|| Mark::new(now, Some(observed)));
            mark.observe(now, observed);
            persistence.observe(now, observed);
            if persistence.is_safe(mark, now) {
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

    /// Which server it is, each start of a program being another one, and what it says of its
    /// append-only file. `None` where it does not say, and in a cluster.
    fn ask_server(&self) -> Result<Option<(String, Observation)>> {
        if self.connections.is_cluster() {
            return Ok(None);
        }
        let questions = [
            command(&[b"INFO", b"server"]),
            command(&[b"INFO", b"persistence"]),
        ];
        self.connections.run("drain", |link| {
            let mut replies = link.exchange(&[&questions[0], &questions[1]])?;
            let observed = replies.pop().and_then(observation);
            let info = match replies.pop().unwrap_or_default() {
                Value::ServerError(error)
                    if crate::connection::errors::is_transient(&error.clone().into()) =>
                {
                    return Err(Failure::Redis(error.into()));
                }
                Value::ServerError(_) => None,
                info => info.text()?,
            };
            let id = info.as_deref().and_then(|info| {
                let mut lines = info.lines();
                lines.find_map(|line| line.strip_prefix("run_id:"))
            });
            Ok(id.map(str::to_owned).zip(observed))
        })
    }
}
