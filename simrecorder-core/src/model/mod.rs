//! The data model: keys, element types, values, records and schemas.

pub(crate) mod cast;
pub(crate) mod chunk;
pub(crate) mod compression;
pub(crate) mod dtype;
mod exact_json;
pub(crate) mod key;
pub(crate) mod kind;
pub(crate) mod labeled;
mod large_pages;
mod mismatch;
pub(crate) mod natural_order;
pub(crate) mod record;
pub(crate) mod records;
pub(crate) mod schema;
pub(crate) mod short;
pub(crate) mod value;
