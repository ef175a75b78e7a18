//! Tools for whole recordings: comparing, copying, draining, recovering and verifying them.

pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod drain;
pub(crate) mod key_patterns;
pub(crate) mod recover;
pub(crate) mod verify;

use crate::error::{Error, ErrorKind};
use crate::model::kind::NodeKind;

/// The target of a copy or a drain has a node of another kind at a key.
fn target_clash(operation: &'static str, is: NodeKind, there: NodeKind) -> Error {
    let message =
        format!("this is a {is}, but the target has a {there} at this key; use another recording");
    Error::new(ErrorKind::KindMismatch, operation, message)
}
