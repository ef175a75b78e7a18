//! An open recording.
//!
//! `keyspace.rs` reads from the server. `open.rs` and `catalog.rs` find, create, list and delete
//! recordings. `commit.rs` translates the changes of a commit into commands, using `encoder.rs`,
//! and `writer.rs` sends them until the server has them. `registry.rs` lists the writers and their
//! states. `persistence.rs` and `durable.rs` determine what the server may still lose.

mod buffers;
pub(crate) mod catalog;
mod claims;
mod commit;
mod durable;
mod encoder;
pub(crate) mod keyspace;
mod open;
mod persistence;
pub(crate) mod registry;
mod removal;
mod script;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::backend::{errors, random_number};
use simrecorder_core::{Batch, Commit, Error, ErrorKind, Key, Prepared, Result, Schema};

use self::buffers::BufferPool;
use self::catalog::{delete, delete_garbage};
use self::claims::Claims;
use self::commit::CommitBuilder;
use self::encoder::FrameEncoder;
use self::keyspace::Keyspace;
use self::open::{Root, check_server};
use self::registry::Registration;
use self::writer::Writer;
use crate::connection::Connections;
use crate::format::document::SeriesDocument;
use crate::format::names::{group_of, writer_name};
use crate::options::RedisOptions;
use crate::server::RedisServer;

/// One recording that this store has open.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) read_only: bool,
    /// Of a writer.
    registration: Option<Registration>,
    /// The number of this store among the writers of the recording.
    pub(crate) id: u64,
    encoder: FrameEncoder,
    claims: Arc<Claims>,
    writer: Mutex<Writer>,
    closed: AtomicBool,
    /// Series that this store has planned and may declare.
    planned: Mutex<HashMap<Key, Arc<SeriesDocument>>>,
}

impl Recording {
    pub(crate) fn open(
        mut connections: Connections,
        run: String,
        options: &RedisOptions,
        server: Option<RedisServer>,
    ) -> Result<Self> {
        let id = random_number();
        let read_only = !options.mode.is_writable();
        if !read_only {
            connections.set_name(Registration::connection_name(id));
        }
        let root = Root::open(&connections, &run, options).map_err(|e| match e.kind() {
            // Errors of the connection name the server.
            ErrorKind::Io | ErrorKind::PermissionDenied => {
                e.with_key(connections.address().to_string())
            }
            _ => e.with_key(run.clone()),
        })?;
        let keyspace = Keyspace::new(connections, run, &root.generation, server);
        let keyspace = Arc::new(keyspace);
        let begin = || {
            let syncs_always = check_server(&keyspace)?;
            let registration = Registration::new(&keyspace, id)?;
            delete_garbage(&keyspace)?;
            Ok((syncs_always, Some(registration)))
        };
        let (syncs_always, registration) = match read_only {
            true => (false, None),
            false => begin().map_err(|e: Error| e.with_key(keyspace.run.clone()))?,
        };
        let buffers = Arc::new(BufferPool::default());
        let claims = Arc::new(Claims::default());
        let resend_bytes = options.resend_bytes;
        let writer = Writer::new(
            Arc::clone(&keyspace),
            Arc::clone(&buffers),
            Arc::clone(&claims),
            id,
            resend_bytes,
            syncs_always,
        );
        let is_cluster = keyspace.connections.is_cluster();
        Ok(Self {
            keyspace,
            read_only,
            registration,
            id,
            encoder: FrameEncoder::new(root.format, options, is_cluster, id, buffers),
            claims,
            writer: Mutex::new(writer),
            closed: AtomicBool::new(false),
            planned: Mutex::default(),
        })
    }

    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.read_only {
            return Err(errors::read_only(operation));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(errors::closed(operation, "store"));
        }
        Ok(())
    }

    /// Records how a series is or will be encoded. Returns the number of records per frame.
    pub(crate) fn plan(&self, key: &Key, schema: &Schema) -> Result<u64> {
        let new = self.encoder.new_document(schema)?;
        let planned = match self.keyspace.series(key)? {
            Some(stored) => {
                let shapes =
                    [&stored, &new].map(|it: &SeriesDocument| vec![it.chunk_shape.clone()]);
                stored
                    .schema
                    .check_same_storage(schema, &shapes[0], &shapes[1])?;
                stored
            }
            None => Arc::new(new),
        };
        let record_count = planned.chunk_shape[0];
        self.planned.lock().insert(key.clone(), planned);
        Ok(record_count)
    }

    /// Encodes a batch of a planned series.
    pub(crate) fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        let planned = self.planned.lock().get(&batch.key).cloned();
        // The commit rejects a batch of another kind.
        let planned = planned.filter(|planned| {
            let schema = batch.records.schema();
            planned.schema.check_same_records(schema).is_ok()
        });
        let Some(planned) = planned else {
            return Ok(None);
        };
        let is_cluster = self.keyspace.connections.is_cluster();
        let names = &self.keyspace.names;
        // A series may be planned before its group is claimed.
        let names = match is_cluster && self.claims.get(&group_of(&batch.key)).is_some() {
            true => names.series_in_slot_of_group(&batch.key),
            false => planned.names(names, &batch.key),
        };
        let prepared = self.encoder.prepare(&names, &batch.records, planned.format);
        let prepared = prepared.map_err(|e| e.with_key(batch.key.as_str()))?;
        Ok(prepared.map(|prepared| Box::new(prepared) as Prepared))
    }

    pub(crate) fn commit(&self, commit: Commit) -> Result<()> {
        let mut writer = self.writer.lock();
        self.check_writable("commit")?;
        let mut builder = CommitBuilder::new(self, &writer);
        for change in commit.changes {
            builder.add(change)?;
        }
        let changes = builder.finish();
        writer.commit(changes)
    }

    /// Makes the records before an index of each series unreachable, and deletes the frames that
    /// contain no others.
    pub(crate) fn free(&self, series: &[(Key, u64)]) -> Result<()> {
        self.check_writable("free")?;
        script::free(&self.keyspace, &writer_name(self.id), series)
    }

    /// Calls `look`, and returns when the server has synced what `look` saw.
    pub(crate) fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let syncs_always = self.writer.lock().syncs_always();
        durable::read_durable(&self.keyspace, syncs_always, look)
    }

    pub(crate) fn close(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        let was_closed = self.closed.swap(true, Ordering::AcqRel);
        match &self.registration {
            Some(registration) if !was_closed => {
                writer.settle()?;
                // If the server cannot be told, no records are lost.
                if let Err(error) = registration.close(&self.keyspace) {
                    tracing::warn!(run = self.keyspace.run, %error, "the recording will appear as not closed");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Deletes the recording.
    pub(crate) fn delete(&self) -> Result<()> {
        delete(&self.keyspace).map_err(|e| e.with_key(self.keyspace.run.clone()))
    }
}
