//! The integration tests of this crate, in one program because linking takes longer than compiling
//! most of them. A test that needs its own process has its own program.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod chunk_files;
mod conformance_directory;
mod conformance_lmdb;
mod coordinates;
mod copy;
mod cuts;
mod damaged_files;
mod dimensions;
mod durability;
mod erasing;
mod filled;
mod flush_cost;
mod foreign;
mod hostile_metadata;
mod hostile_zarr_v2;
mod iteration_memory;
mod kills;
mod lmdb_processes;
mod lmdb_storage;
mod lossy;
mod parts;
mod path_escapes;
mod processes;
mod python_follows;
mod python_reads;
mod python_writes;
mod removal;
mod replaced;
mod shards;
mod short_series;
mod verify;
mod zarr_v2;
