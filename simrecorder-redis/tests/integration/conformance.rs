//! Recordings on a server keep the promises that every backend makes, in both encodings.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use std::sync::Arc;

use simrecorder_core::conformance::Harness;
use simrecorder_core::{DataStore, OpenMode, Result};
use simrecorder_redis::{RedisDataStore, RedisEncoding};
use support::new_run;

#[derive(Debug)]
struct Redis {
    url: String,
    encoding: RedisEncoding,
}

impl Redis {
    fn new(encoding: RedisEncoding) -> Self {
        Self {
            url: new_run(),
            encoding,
        }
    }
}

impl Harness for Redis {
    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        let options = RedisDataStore::options().mode(mode).encoding(self.encoding);
        Ok(Arc::new(options.open(&self.url)?))
    }

    fn another(&self) -> Box<dyn Harness> {
        Box::new(Self::new(self.encoding))
    }

    fn many_writers(&self) -> bool {
        true
    }
}

mod arrow {
    use super::*;

    simrecorder_core::conformance_tests!(Redis::new(RedisEncoding::Arrow));
}

mod bincode {
    use super::*;

    simrecorder_core::conformance_tests!(Redis::new(RedisEncoding::Bincode));
}
