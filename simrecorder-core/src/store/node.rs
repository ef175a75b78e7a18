//! The nodes of the hierarchy.

use crate::error::{Error, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::Attributes;
use crate::model::value::Value;
use crate::reading::view::View;

/// A node of the hierarchy, as a store has it.
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
        /// The value. A damaged one is an error here, so that it does not keep its key, or other keys,
        /// from being looked up.
        value: Result<Value>,
        /// Its attributes, as they were set.
        attributes: Attributes,
    },
    /// A series. Its attributes are in the schema of the view.
    Series(View),
    /// A series that cannot be read, which does not keep other keys from being looked up. A store that
    /// cannot read its attributes either reports the error of the key.
    Unreadable {
        /// Why it cannot be read.
        error: Error,
        /// Its attributes, as they were set.
        attributes: Attributes,
    },
}

impl Node {
    /// What it is.
    pub fn kind(&self) -> NodeKind {
        match self {
            Self::Group { .. } => NodeKind::Group,
            Self::Value { .. } => NodeKind::Value,
            Self::Series(_) | Self::Unreadable { .. } => NodeKind::Series,
        }
    }

    /// Its attributes.
    pub fn attributes(&self) -> &Attributes {
        match self {
            Self::Group { attributes }
            | Self::Value { attributes, .. }
            | Self::Unreadable { attributes, .. } => attributes,
            Self::Series(view) => view.attributes(),
        }
    }

    /// Its attributes.
    pub fn into_attributes(self) -> Attributes {
        match self {
            Self::Group { attributes }
            | Self::Value { attributes, .. }
            | Self::Unreadable { attributes, .. } => attributes,
            Self::Series(view) => view.attributes().clone(),
        }
    }
}

/// A key right below a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Child {
    /// Its key.
    pub key: Key,
    /// What it is.
    pub kind: NodeKind,
}

impl Child {
    /// A child.
    pub fn new(key: Key, kind: NodeKind) -> Self {
        Self { key, kind }
    }
}
