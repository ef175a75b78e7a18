//! The stored data: the metadata of arrays and groups, and the bytes of chunks.

pub(crate) mod array_format;
pub(crate) mod blosc;
pub(crate) mod chunk_read;
mod compressor;
mod dimension_names;
pub(crate) mod fill_value;
pub(crate) mod fixed_texts;
pub(crate) mod metadata;
pub(crate) mod node_path;
pub(crate) mod recording_id;
pub(crate) mod shards;
mod short;
