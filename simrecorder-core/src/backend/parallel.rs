//! The threads that read chunks.
//!
//! They form a separate pool, because a forked child inherits rayon's pool of the process without its threads.

use std::io;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::fork::{PerProcess, check_threads_start};
use crate::error::Result;

static POOL: PerProcess<Option<ThreadPool>> = PerProcess::new(start);

/// Starts one thread for each processor, or as many as `RAYON_NUM_THREADS` says; `None` if the system starts none.
fn start() -> Option<ThreadPool> {
    let pool = ThreadPoolBuilder::new().thread_name(|index| format!("simrecorder-read-{index}"));
    check_threads_start()
        .and_then(|()| pool.build().map_err(io::Error::other))
        .inspect_err(|error| tracing::warn!(%error, "no threads could be started for reading; one thread reads everything"))
        .ok()
}

/// Does `work` on a thread of the pool, or on this thread without a pool. It is for other libraries that use rayon, which
/// would otherwise start rayon's pool of the process.
pub fn within_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match POOL.get() {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Does `work` on each part, on several threads if there are several parts. The results are in the order of the parts.
pub fn map<P: Send, T: Send>(
    parts: Vec<P>,
    work: impl Fn(P) -> Result<T> + Send + Sync,
) -> Result<Vec<T>> {
    match POOL.get() {
        Some(pool) if parts.len() > 1 => pool.install(|| parts.into_par_iter().map(work).collect()),
        _ => parts.into_iter().map(work).collect(),
    }
}
