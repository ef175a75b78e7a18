//! The nodes of a recording.

use std::sync::Arc;

use simrecorder_core::backend::errors::is_of_one_node;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::{Attributes, Key, Node, NodeKind, Result};

use crate::format::metadata::Document;
use crate::recording::Recording;
use crate::recording::values::ValueChunk;

/// A node in a snapshot. A value is decoded after the snapshot is released.
enum NodeSnapshot {
    Complete(Node),
    Value {
        chunks: Result<Vec<ValueChunk>>,
        path: String,
        document: Document,
    },
}

impl Recording {
    /// The nodes at `keys`, as of one commit.
    pub(crate) fn load_nodes(
        store: &Arc<ProcessLocal<Self>>,
        keys: &[Key],
    ) -> Result<Vec<Option<Node>>> {
        let recording = store.get("read")?;
        let found = recording.with_nodes(keys, |snapshot, key, path, document| {
            let attributes = document.attributes();
            Ok(match document.node_kind() {
                NodeKind::Series => NodeSnapshot::Complete(
                    match Self::load_view(store, snapshot, key, &path, &document) {
                        Ok(view) => Node::Series(Arc::new(view).into()),
                        Err(error) if is_of_one_node(&error) => Node::Unreadable {
                            error: error.with_key(key.as_str()),
                            attributes,
                        },
                        Err(error) => return Err(error),
                    },
                ),
                NodeKind::Value => NodeSnapshot::Value {
                    chunks: recording.value_chunks(snapshot, &path, &document),
                    path,
                    document,
                },
                _ => NodeSnapshot::Complete(Node::Group { attributes }),
            })
        })?;
        let complete = |(key, found): (&Key, Option<NodeSnapshot>)| match found {
            Some(NodeSnapshot::Complete(node)) => Some(node),
            Some(NodeSnapshot::Value {
                chunks,
                path,
                document,
            }) => {
                let value =
                    chunks.and_then(|chunks| recording.read_value(&path, &document, chunks));
                Some(Node::Value {
                    value: value.map_err(|e| e.with_key(key.as_str())),
                    attributes: document.attributes(),
                })
            }
            // The root is a group even before it is written.
            None => key.is_root().then(|| Node::Group {
                attributes: Attributes::new(),
            }),
        };
        Ok(keys.iter().zip(found).map(complete).collect())
    }
}
