//! Lazy views of series on a server.

mod fetch;
mod reader;
mod slices;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use simrecorder_core::backend::{SharedView, count_records, fill_records, read_fixed};
use simrecorder_core::{
    ArrayView, Attributes, Error, ErrorKind, Key, Kind, Node, Records, Region, Result, Schema,
};

use self::reader::SeriesReader;
use crate::connection::Failure;
use crate::connection::reply::Reply;
use crate::format::document::SeriesDocument;
use crate::format::state::SeriesState;
use crate::recording::keyspace::{Keyspace, NodeReply};

/// The maximum time that one request waits for new records, so that an unavailable server is
/// noticed.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A series as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct RedisView {
    key: Key,
    reader: SeriesReader,
    shape: Vec<u64>,
}

impl RedisView {
    pub(crate) fn new(
        keyspace: Arc<Keyspace>,
        key: Key,
        document: Arc<SeriesDocument>,
        state: SeriesState,
        attributes: Attributes,
    ) -> Self {
        let schema = document.schema.clone().with_attributes(attributes);
        let mut shape = vec![state.end - state.first];
        if schema.kind() == Kind::Array {
            shape.extend(schema.record_shape());
        }
        let reader = SeriesReader {
            names: document.names(&keyspace.names, &key),
            keyspace,
            document,
            schema: Arc::new(schema),
            state,
        };
        Self { key, reader, shape }
    }
}

/// The nodes at `keys`; see [`DataStore::nodes`](simrecorder_core::DataStore::nodes).
pub(crate) fn nodes(keyspace: &Arc<Keyspace>, keys: &[Key]) -> Result<Vec<Option<Node>>> {
    let replies = keyspace.nodes(keys)?;
    Ok(into_nodes(keyspace, keys, replies))
}

fn into_nodes(
    keyspace: &Arc<Keyspace>,
    keys: &[Key],
    replies: Vec<Option<NodeReply>>,
) -> Vec<Option<Node>> {
    let node = |(key, reply): (&Key, Option<NodeReply>)| {
        Some(match reply? {
            NodeReply::Group(attributes) => Node::Group { attributes },
            NodeReply::Value {
                value, attributes, ..
            } => Node::Value { value, attributes },
            NodeReply::Series {
                document,
                state,
                attributes,
            } => {
                let (keyspace, key) = (Arc::clone(keyspace), key.clone());
                let view = RedisView::new(keyspace, key, document, state, attributes);
                Node::Series(Arc::new(view).into())
            }
        })
    };
    keys.iter().zip(replies).map(node).collect()
}

impl ArrayView for RedisView {
    fn key(&self) -> &Key {
        &self.key
    }

    fn schema(&self) -> &Arc<Schema> {
        &self.reader.schema
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn chunk_shape(&self) -> &[u64] {
        &self.reader.document.chunk_shape
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let Some(dtype) = self.dtype().filter(|_| self.kind() == Kind::Array) else {
            let kind = self.kind();
            let message =
                format!("read_into() does not support a series of kind {kind}; use iter()");
            let error = Error::new(ErrorKind::KindMismatch, "read", message);
            return Err(error.with_key(self.key.as_str()));
        };
        region.check(&self.shape, dtype.size(), out.len())?;
        if region.is_empty() || out.is_empty() {
            return Ok(());
        }
        let (stored, out) = fill_records(region, self.filled(), self.schema(), out);
        let first = self.first_record();
        let read = match stored.is_empty() {
            true => {
                let filled = region.axes()[0].bounds();
                self.reader
                    .check_current(first + filled.start..first + filled.end)
            }
            false => {
                let mut axes = stored.axes().to_vec();
                axes[0].start += first;
                self.reader
                    .read_region(&Region::new(axes), dtype.size(), out)
            }
        };
        read.map_err(|e| e.with_key(self.key.as_str()))
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        if count_records(&range, &self.shape)? == 0 {
            return Ok(Records::empty(Arc::clone(&self.reader.schema)));
        }
        if self.kind().is_fixed() {
            return read_fixed(self, range, max_bytes);
        }
        let first = self.first_record();
        let range = first + range.start..first + range.end;
        let records = self.reader.read_variable(range, max_bytes);
        records.map_err(|e| e.with_key(self.key.as_str()))
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let keyspace = &self.reader.keyspace;
        let nodes = keyspace
            .nodes(std::slice::from_ref(&self.key))
            .map_err(|e| e.with_operation("refresh"))?;
        let Some(NodeReply::Series {
            document,
            state,
            attributes,
        }) = nodes.into_iter().next().flatten()
        else {
            let message = "the series no longer exists";
            return Err(
                Error::new(ErrorKind::NotFound, "refresh", message).with_key(self.key.as_str())
            );
        };
        Ok(Arc::new(Self::new(
            Arc::clone(keyspace),
            self.key.clone(),
            document,
            state,
            attributes,
        )))
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let keyspace = &self.reader.keyspace;
        let check = || {
            // Read the series last: in a cluster, everything that it still has now, it also had
            // when the others were read.
            let keys: Vec<_> = keys.iter().chain([&self.key]).cloned().collect();
            let mut replies = keyspace.nodes(&keys)?;
            self.reader.check_node(replies.pop().flatten().as_ref())?;
            Ok(replies)
        };
        let replies: Result<_> = check();
        let replies = replies.map_err(|e| e.with_key(self.key.as_str()))?;
        Ok(into_nodes(keyspace, keys, replies))
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn filled(&self) -> u64 {
        let state = self.reader.state;
        state.filled.saturating_sub(state.first)
    }

    fn as_shared(&self) -> Option<&dyn SharedView> {
        Some(self)
    }
}

impl SharedView for RedisView {
    fn first_record(&self) -> u64 {
        self.reader.state.first
    }

    fn filled_end(&self) -> u64 {
        self.reader.state.filled
    }

    fn writer_of(&self, record: u64) -> Result<Option<u64>> {
        if record >= self.len() {
            let message = format!("there is no record {record}; the view has {}", self.len());
            return Err(Error::new(ErrorKind::OutOfBounds, "writer_of", message)
                .with_key(self.key.as_str()));
        }
        if record < self.filled() {
            return Ok(None);
        }
        let frame = self.reader.frame_of(self.first_record() + record);
        let frame = frame.map_err(|e| e.with_operation("writer_of").with_key(self.key.as_str()))?;
        Ok(frame.map(|entry| entry.writer))
    }

    fn follow(&self, timeout: Duration) -> Result<Arc<dyn ArrayView>> {
        let connections = &self.reader.keyspace.connections;
        let index = self.reader.names.index();
        // After the last record of the view.
        let last = match self.reader.state.end {
            0 => "0-0".to_owned(),
            end => format!("{}-{}", end - 1, u64::MAX),
        };
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed()).min(MAX_WAIT);
            // 0 would wait forever.
            let millis = left.as_millis().max(1).to_string();
            let patience = connections.timeouts.answer;
            let came = connections.run("follow", |link| {
                link.set_timeout(left + patience)?;
                let reply = link.one(&[
                    b"XREAD",
                    b"COUNT",
                    b"1",
                    b"BLOCK",
                    millis.as_bytes(),
                    b"STREAMS",
                    index.as_bytes(),
                    last.as_bytes(),
                ])?;
                link.set_timeout(patience)?;
                match reply {
                    Value::ServerError(error) => Err(Failure::Redis(error.into())),
                    reply => Ok(!reply.array()?.is_empty()),
                }
            });
            if came.map_err(|e| e.with_key(self.key.as_str()))? || start.elapsed() >= timeout {
                return self.refresh();
            }
        }
    }
}
