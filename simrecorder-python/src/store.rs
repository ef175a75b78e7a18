//! Stores: open recordings.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use simrecorder::backend::{DataStore, Node};
use simrecorder::{
    ChunkPolicy, Durability, Error, ErrorKind, InMemoryDataStore, Key, NodeKind, OpenMode,
    OpenOptions,
};

use crate::error::{Raise, exception, wrong_value};
use crate::json::dict_of;
use crate::output::to_python;
use crate::recorder::Recorder;
use crate::schema::compression_of;
use crate::shared::Shared;
use crate::view::View;
use crate::waiting::interruptible;

/// How often the keys of a recording are listed again because some were created or removed
/// meanwhile.
const MAX_LISTINGS: usize = 8;

/// An open recording.
///
/// Programs use the `Recorder` that `simrecorder.open`, `create` and `append` return.
#[pyclass(frozen, weakref, module = "simrecorder._simrecorder")]
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) store: Arc<dyn DataStore>,
    /// The location at which another process can open it; `None` in memory.
    pub(crate) location: Option<Arc<str>>,
    memory: Option<InMemoryDataStore>,
    /// The recorder that uses it.
    pub(crate) user: Mutex<User>,
}

/// The recorder that uses a store, and the index of the store in it.
pub(crate) type User = Option<(Weak<Shared>, usize)>;

/// A node of a recording for Python: key, kind, content, attributes.
type NodeTuple = (String, &'static str, Py<PyAny>, Py<PyDict>);

#[pymethods]
impl Store {
    /// Opens the recording at a path or URL. `location` is the same place for another process.
    #[new]
    #[pyo3(signature = (place, mode, location, durability=None, chunk_bytes=None, compression=None))]
    fn new(
        py: Python<'_>,
        place: PathBuf,
        mode: &str,
        location: &str,
        durability: Option<&str>,
        chunk_bytes: Option<u64>,
        compression: Option<&str>,
    ) -> PyResult<Self> {
        let is_plain = durability.is_none() && chunk_bytes.is_none() && compression.is_none();
        let mut options = OpenOptions::new();
        match durability {
            None => {}
            Some("power") => options = options.durability(Durability::Power),
            Some("process") => options = options.durability(Durability::Process),
            Some(other) => {
                let message = format!("unknown durability '{other}'; use power or process");
                return Err(wrong_value("open", message));
            }
        }
        if let Some(bytes) = chunk_bytes {
            options = options.chunk_policy(ChunkPolicy::target_bytes(bytes));
        }
        if let Some(compression) = compression {
            options = options.compression(compression_of(compression)?);
        }
        let mode = mode.to_owned();
        let open = move || match mode.as_str() {
            // These reject a URL with another mode, and their errors name the call.
            "create-new" if is_plain => simrecorder::create(place),
            "read" if is_plain => simrecorder::open(place),
            "append" if is_plain => simrecorder::append(place),
            mode => simrecorder::open_with(place, &options.mode(mode.parse()?)),
        };
        let store = interruptible(py, open)?.raise()?;
        Ok(Self {
            store,
            location: Some(location.into()),
            memory: None,
            user: Mutex::default(),
        })
    }

    /// A new store in memory.
    #[staticmethod]
    fn in_memory() -> Self {
        Self::of_memory(InMemoryDataStore::new())
    }

    /// The same data in memory, open for more records even after this store was closed; `None` for
    /// other stores.
    fn reopened(&self) -> PyResult<Option<Self>> {
        let reopened = self
            .memory
            .as_ref()
            .map(|store| store.open(OpenMode::Append));
        Ok(reopened.transpose().raise()?.map(Self::of_memory))
    }

    /// The recorder that uses the store, for this store alone; `None` if there is none, or if it
    /// was closed.
    fn recorder(&self) -> Option<Recorder> {
        let user = self.user.lock().unwrap_or_else(PoisonError::into_inner);
        let (shared, index) = user.as_ref()?;
        Recorder::of_store(shared.upgrade()?, *index)
    }

    /// The name of its backend.
    #[getter]
    pub(crate) fn name(&self) -> &str {
        self.store.name()
    }

    /// Whether it is open for reading only.
    #[getter]
    fn is_read_only(&self) -> bool {
        self.store.is_read_only()
    }

    /// Closes it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let store = Arc::clone(&self.store);
        interruptible(py, move || store.close())?.raise()
    }

    /// All nodes at and below a group as of one commit: `(key, kind, content, attributes)`. The
    /// content is a view, `(value, names of its dimensions)`, the error for a node that cannot be
    /// read, or `None` for a group.
    fn nodes(&self, py: Python<'_>, group: &str) -> PyResult<Vec<NodeTuple>> {
        let group = Key::new_or_root(group).raise()?;
        let store = Arc::clone(&self.store);
        let nodes = interruptible(py, move || nodes_of(&*store, &group))?.raise()?;
        let nodes = nodes
            .into_iter()
            .map(|(key, node)| self.node(py, &key, node));
        nodes.collect()
    }
}

impl Store {
    fn of_memory(store: InMemoryDataStore) -> Self {
        Self {
            store: Arc::new(store.clone()),
            location: None,
            memory: Some(store),
            user: Mutex::default(),
        }
    }

    pub(crate) fn of(store: Arc<dyn DataStore>, location: Option<Arc<str>>) -> Self {
        Self {
            store,
            location,
            memory: None,
            user: Mutex::default(),
        }
    }

    fn node(&self, py: Python<'_>, key: &Key, node: Node) -> PyResult<NodeTuple> {
        let kind = node.kind().as_str();
        let attributes = dict_of(py, node.attributes())?.unbind();
        let content = match node {
            Node::Series(view) => Py::new(py, View::new(view, self.location.clone()))?.into_any(),
            Node::Value {
                value: Ok(value), ..
            } => {
                let names = value.dimension_names().map(<[_]>::to_vec);
                let value = to_python(py, &value, key.as_str())?;
                (value, names).into_pyobject(py)?.into_any().unbind()
            }
            Node::Value {
                value: Err(error), ..
            }
            | Node::Unreadable { error, .. } => exception(&error).into_value(py).into_any(),
            _ => py.None(),
        };
        Ok((key.to_string(), kind, content, attributes))
    }
}

/// All nodes at and below a group, as of one commit.
fn nodes_of(store: &dyn DataStore, group: &Key) -> Result<Vec<(Key, Node)>, Error> {
    let mut keys = keys_of(store, group)?;
    for _ in 0..MAX_LISTINGS {
        let nodes = store.nodes(&keys)?;
        let now = keys_of(store, group)?;
        if now == keys {
            let found = keys.into_iter().zip(nodes);
            let found: Vec<_> = found.filter_map(|(key, node)| Some((key, node?))).collect();
            return match found.first() {
                Some((key, Node::Group { .. })) if key == group => Ok(found),
                Some((key, node)) if key == group => {
                    let message = format!("this is a {}, not a group", node.kind().as_str());
                    Err(Error::new(ErrorKind::KindMismatch, "read", message).with_key(key.as_str()))
                }
                _ => {
                    let message = "there is nothing at this key";
                    Err(Error::new(ErrorKind::NotFound, "read", message).with_key(group.as_str()))
                }
            };
        }
        keys = now;
    }
    let message = "keys are created and removed faster than they are listed; try again";
    Err(Error::new(ErrorKind::Io, "read", message).with_key(group.as_str()))
}

/// The keys of all nodes at and below a group. A group precedes its contents.
fn keys_of(store: &dyn DataStore, group: &Key) -> Result<Vec<Key>, Error> {
    let mut keys = Vec::new();
    let mut open = vec![(group.clone(), NodeKind::Group)];
    while let Some((key, kind)) = open.pop() {
        if kind == NodeKind::Group {
            let children = store.children(&key)?.into_iter().rev();
            open.extend(children.map(|child| (child.key, child.kind)));
        }
        keys.push(key);
    }
    Ok(keys)
}
