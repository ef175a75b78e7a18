//! What there is to copy, and whether the target can keep it.

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::Schema;
use crate::reading::view::View;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::errors;
use crate::store::node::Node;
use crate::tools::copy::progress::CopyProgress;
use crate::tools::key_patterns::KeyPatterns;
use crate::tools::target_clash;

/// A key that is to be copied.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) key: Key,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Group,
    Value,
    Series {
        /// How many records it has now.
        len: u64,
        /// How many of them are a chunk in the target.
        chunk: u64,
    },
}

/// The keys that the patterns select, groups before what is in them, after a check that the target
/// has room for them.
pub(super) fn plan(
    from: &dyn DataStore,
    to: &dyn DataStore,
    patterns: &KeyPatterns,
    reencode: bool,
) -> Result<Vec<Planned>> {
    if to.is_read_only() {
        return Err(errors::read_only("copy"));
    }
    let selected = patterns.select(from, "copy")?;
    let is_empty = selected.iter().all(|child| child.kind == NodeKind::Group);
    if is_empty && !patterns.exclude.is_empty() {
        return Err(all_excluded());
    }
    let mut planned = Vec::new();
    for key in selected.into_iter().map(|child| child.key) {
        let Some(node) = from.node(&key)? else {
            return Err(errors::nothing_at("copy").with_key(key.as_str()));
        };
        if let Some(there) = to.node(&key)? {
            check_clash(node.kind(), there.kind()).map_err(|e| e.with_key(key.as_str()))?;
        }
        let what = match node {
            Node::Group { .. } => {
                if !key.is_root() {
                    to.plan(&key, None)?;
                }
                What::Group
            }
            Node::Value { .. } => {
                to.plan(&key, None)?;
                What::Value
            }
            Node::Unreadable { error, .. } => return Err(error),
            Node::Series(view) => What::Series {
                // Not what the series has had: its first records may have been freed.
                len: view.len(),
                chunk: match reencode {
                    true => to.plan(&key, Some(&Schema::clone(view.schema()).without_storage()))?,
                    false => plan_series(to, &view)?,
                },
            },
        };
        planned.push(Planned { key, what });
    }
    Ok(planned)
}

/// How many records of a copy of `view` make a chunk: in its form, if the target takes that.
fn plan_series(to: &dyn DataStore, view: &View) -> Result<u64> {
    let (key, schema) = (view.key(), view.schema());
    if let (Some(to), Some(from)) = (to.as_encoded(), view.as_encoded())
        && let Some(chunk) = to.plan_in_form(key, schema, &from.stored_form())?
    {
        return Ok(chunk);
    }
    to.plan(key, Some(schema))
}

fn all_excluded() -> Error {
    let message = "the patterns exclude all values and series of the source";
    Error::new(ErrorKind::NotFound, "copy", message)
}

fn check_clash(is: NodeKind, there: NodeKind) -> Result<()> {
    if is != there {
        return Err(target_clash("copy", is, there));
    }
    if is == NodeKind::Group {
        return Ok(());
    }
    let message = format!("the target has this {is} already; use another recording");
    Err(Error::new(ErrorKind::AlreadyExists, "copy", message))
}

impl CopyProgress {
    /// Nothing of what was planned is copied yet.
    pub(super) fn start(planned: &[Planned]) -> Self {
        let records = planned.iter().map(|planned| match planned.what {
            What::Series { len, .. } => len,
            _ => 0,
        });
        let keys = planned.iter().filter(|it| !matches!(it.what, What::Group));
        Self {
            key: Key::ROOT,
            key_count: 0,
            key_total: keys.count() as u64,
            record_count: 0,
            record_total: records.fold(0, u64::saturating_add),
            bytes: 0,
        }
    }
}
