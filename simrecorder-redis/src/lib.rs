//! Recordings on Redis or Valkey servers for [simrecorder](https://docs.rs/simrecorder):
//! simulations on many hosts record into one place.
//!
//! [`RedisDataStore`] is the store to pass to a recorder, and [`RedisServer`] starts a server.
//! `docs/format.md` in the repository specifies the contents of the database.

mod connection;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod options;
mod recording;
mod server;
mod store;
mod view;

pub use format::frame::RedisEncoding;
pub use options::RedisOptions;
pub use recording::registry::{RedisWriter, RedisWriterState};
pub use server::{RedisServer, RedisServerOptions, RedisSync};
pub use store::RedisDataStore;
