//! The nodes of the hierarchy.

use crate::error::{Error, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::Attributes;
use crate::model::value::Value;
use crate::reading::view::View;

/// A node of the hierarchy, as a store or [`Group::nodes`](crate::Group::nodes) returns it.
///
/// ```
/// # mod simrecorder {
/// #     pub use simrecorder_core::*;
/// #     pub mod backend { pub use simrecorder_core::Node; }
/// # }
/// use simrecorder::{InMemoryDataStore, Recorder, backend::Node};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.set("net/size", 100_u64)?;
/// recorder.record("net/rate", 0.5)?;
/// for (name, node) in recorder.group("net")?.nodes() {
///     match node {
///         Node::Series(view) => println!("{name} has {} records", view.len()),
///         Node::Value { value: Ok(value), .. } => println!("{name} is {value}"),
///         other => println!("{name} is a {}", other.kind()),
///     }
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Node {
    /// A group.
    Group {
        /// Its attributes, as they were set.
        attributes: Attributes,
    },
    /// A value.
    Value {
        /// The value. A damaged value is an error here, so that its key and other keys can still be looked up.
        value: Result<Value>,
        /// Its attributes, as they were set.
        attributes: Attributes,
    },
    /// A series. Its attributes are in the schema of the view.
    Series(View),
    /// A series that cannot be read, while other keys can still be looked up. If not even its attributes can be read,
    /// the store returns the error for the key.
    Unreadable {
        /// Why it cannot be read.
        error: Error,
        /// Its attributes, as they were set.
        attributes: Attributes,
    },
}

impl Node {
    /// Returns the kind of the node.
    pub fn kind(&self) -> NodeKind {
        match self {
            Self::Group { .. } => NodeKind::Group,
            Self::Value { .. } => NodeKind::Value,
            Self::Series(_) | Self::Unreadable { .. } => NodeKind::Series,
        }
    }

    /// Returns the attributes.
    pub fn attributes(&self) -> &Attributes {
        match self {
            Self::Group { attributes }
            | Self::Value { attributes, .. }
            | Self::Unreadable { attributes, .. } => attributes,
            Self::Series(view) => view.attributes(),
        }
    }

    /// Returns the attributes.
    pub fn into_attributes(self) -> Attributes {
        match self {
            Self::Group { attributes }
            | Self::Value { attributes, .. }
            | Self::Unreadable { attributes, .. } => attributes,
            Self::Series(view) => view.attributes().clone(),
        }
    }
}

/// A key right below a group; [`Recorder::children`](crate::Recorder::children) returns it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, NodeKind, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.set("net/size", 100_u64)?;
/// recorder.record("net/rate", 0.5)?;
/// for child in recorder.children("net")? {
///     if child.kind == NodeKind::Series {
///         println!("{} has {} records", child.key, recorder.get_all(&child.key)?.len());
///     }
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Child {
    /// Its key.
    pub key: Key,
    /// Whether it is a group, a value or a series.
    pub kind: NodeKind,
}

impl Child {
    /// Makes a child.
    pub fn new(key: Key, kind: NodeKind) -> Self {
        Self { key, kind }
    }
}
