//! Groups as they were at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::reading::selection::Region;
use crate::reading::view::View;
use crate::store::array_view::{ArrayView, SharedView};
use crate::store::data_store::DataStore;
use crate::store::encoded::EncodedView;
use crate::store::node::Node;

/// How often a group is listed again because a key was created or removed in between.
const MAX_LISTINGS: usize = 8;

/// A group as of one commit: its attributes, its series, its values and the groups in it.
///
/// The lengths of its series fit together, even while the simulation is still running, and
/// [`select_by`](crate::View#method.select_by) uses the coordinates of the same commit. Names are single segments
/// of keys. [`Recorder::group`](crate::Recorder::group) reads it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, Schema};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.declare("net/v", Schema::scalar::<f64>().with_dimension_names(["time"]))?;
/// recorder.set("net/neuron_count", 100_u64)?;
/// recorder.record("net/time", 0.1)?;
/// recorder.record("net/v", -65.0)?;
///
/// let net = recorder.group("net")?;
/// assert_eq!(net.series().count(), 2);
/// assert_eq!(net.view("v").map(|v| v.len()), net.view("time").map(|time| time.len()));
/// assert_eq!(net.coordinates().map(|(name, _)| name).collect::<Vec<_>>(), ["time"]);
/// assert!(net.value("neuron_count")?.is_some());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    key: Key,
    attributes: Attributes,
    nodes: BTreeMap<String, Node>,
}

impl Group {
    /// Reads the node at `key` of a store and, if it is a group, the nodes right below it.
    pub(crate) fn load(store: &dyn DataStore, key: &Key) -> Result<Option<Result<Self, NodeKind>>> {
        let mut children = store.children(key)?;
        let mut listings = 0;
        loop {
            listings += 1;
            let mut keys = vec![key.clone()];
            keys.extend(children.iter().map(|child| child.key.clone()));
            let mut nodes = store.nodes(&keys)?.into_iter();
            let attributes = match nodes.next().flatten() {
                Some(Node::Group { attributes }) => attributes,
                Some(other) => return Ok(Some(Err(other.kind()))),
                None => return Ok(None),
            };
            let now = store.children(key)?;
            if now != children && listings < MAX_LISTINGS {
                children = now;
                continue;
            }
            let named = keys.into_iter().skip(1).zip(nodes);
            let nodes = named.filter_map(|(key, node)| Some((key.name().to_owned(), node?)));
            let group = Self {
                key: key.clone(),
                attributes,
                nodes: nodes.collect(),
            };
            return Ok(Some(Ok(group.with_coordinates_of_its_own())));
        }
    }

    /// The same group, with views that use the coordinates in it.
    fn with_coordinates_of_its_own(mut self) -> Self {
        let dimensions = self.series().flat_map(|(name, view)| {
            let named = view.dimension_names().unwrap_or_default();
            let named = named.iter().flatten().map(String::as_str);
            named.chain([name])
        });
        let names: BTreeSet<&str> = dimensions.chain(["time", "step"]).collect();
        let node = |name: &str| {
            let key = self.key.join(name).ok()?;
            Some((key, self.nodes.get(name).cloned()))
        };
        let attributes = self.attributes.clone();
        let group = Some(Node::Group { attributes });
        let nodes = names.into_iter().filter_map(node);
        let coordinates: Arc<Coordinates> =
            Arc::new(nodes.chain([(self.key.clone(), group)]).collect());
        for node in self.nodes.values_mut() {
            if let Node::Series(view) = node {
                let grouped = GroupedView {
                    view: view.to_arc(),
                    coordinates: Arc::clone(&coordinates),
                };
                *view = View::from(Arc::new(grouped));
            }
        }
        self
    }

    /// Returns the key of the group.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the attributes of the group.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Iterates over the names right below the group, sorted as text, each with its node.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(name, node)| (&**name, node))
    }

    /// Iterates over the series of the group. A series that cannot be read is only among the [`nodes`](Self::nodes).
    pub fn series(&self) -> impl Iterator<Item = (&str, &View)> {
        self.nodes().filter_map(|(name, node)| match node {
            Node::Series(view) => Some((name, view)),
            _ => None,
        })
    }

    /// Iterates over the names of the values of the group.
    pub fn value_names(&self) -> impl Iterator<Item = &str> {
        let values = self
            .nodes()
            .filter(|(_, node)| node.kind() == NodeKind::Value);
        values.map(|(name, _)| name)
    }

    /// Iterates over the names of the groups in the group.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        let groups = self
            .nodes()
            .filter(|(_, node)| node.kind() == NodeKind::Group);
        groups.map(|(name, _)| name)
    }

    /// Returns the series called `name`; `None` if there is none, or if it cannot be read.
    pub fn view(&self, name: &str) -> Option<&View> {
        match self.nodes.get(name) {
            Some(Node::Series(view)) => Some(view),
            _ => None,
        }
    }

    /// Returns the value called `name`; `None` if there is none.
    ///
    /// # Errors
    /// The error of the store if the value is damaged.
    pub fn value(&self, name: &str) -> Result<Option<&Value>> {
        match self.nodes.get(name) {
            Some(Node::Value { value, .. }) => value.as_ref().map(Some).map_err(Clone::clone),
            _ => Ok(None),
        }
    }

    /// Iterates over the series that are coordinates: those with one axis and the name of a dimension of a series in
    /// the group.
    pub fn coordinates(&self) -> impl Iterator<Item = (&str, &View)> {
        self.series().filter(|(name, view)| {
            view.shape().len() == 1
                && self.series().any(|(_, other)| {
                    let names = other.dimension_names().unwrap_or_default();
                    names.iter().flatten().any(|dimension| dimension == name)
                })
        })
    }
}

/// The group, and each key in it that may be a coordinate; `None` for a key without a node.
type Coordinates = BTreeMap<Key, Option<Node>>;

/// A view with the coordinates of its group.
#[derive(Clone, Debug)]
struct GroupedView {
    view: Arc<dyn ArrayView>,
    coordinates: Arc<Coordinates>,
}

impl ArrayView for GroupedView {
    fn key(&self) -> &Key {
        self.view.key()
    }

    fn schema(&self) -> &Arc<Schema> {
        self.view.schema()
    }

    fn shape(&self) -> &[u64] {
        self.view.shape()
    }

    fn chunk_shape(&self) -> &[u64] {
        self.view.chunk_shape()
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        self.view.read_into(region, out)
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        self.view.read_records(range, max_bytes)
    }

    fn check_records(&self, range: Range<u64>) -> Result<()> {
        self.view.check_records(range)
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        self.view.refresh()
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let known: Option<Vec<_>> = keys
            .iter()
            .map(|key| self.coordinates.get(key).cloned())
            .collect();
        known.map_or_else(|| self.view.sibling_nodes(keys), Ok)
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn filled(&self) -> u64 {
        self.view.filled()
    }

    fn as_shared(&self) -> Option<&dyn SharedView> {
        self.view.as_shared()
    }

    fn as_encoded(&self) -> Option<&dyn EncodedView> {
        self.view.as_encoded()
    }
}
