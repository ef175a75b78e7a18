//! Recordings on Redis or Valkey servers for [simrecorder](https://docs.rs/simrecorder):
//! simulations on many hosts record into one place.
//!
//! [`RedisDataStore`] is the store to hand to a recorder, [`RedisServer`] starts a server. What
//! stands in the database is described in `docs/format.md` of the repository.

mod address;
mod catalog;
mod connection;
mod document;
mod durable;
mod errors;
mod frame;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod names;
mod options;
mod persistence;
mod recording;
mod reply;
mod server;
mod stage;
mod store;
mod view;
mod writer;

pub use frame::RedisEncoding;
pub use options::RedisOptions;
pub use server::{RedisServer, RedisServerOptions, RedisSync};
pub use store::{RedisDataStore, RedisWriter};
