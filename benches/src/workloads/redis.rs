//! Recording to a Redis server, and reading from it.

use std::sync::Arc;

use super::{Candidates, FrameWork, SLOW, Scalars, Setting, Vectors, add_python};
use crate::candidate::Result;
use crate::candidates::bare_loop::BareLoop;
use crate::candidates::python_peer::{Peer, PythonRead};
use crate::candidates::redis_store::{IntoRedis, OnServer, ReadRedis, RedisBenchmark, RedisWork};
use crate::candidates::simrecorder_store::KEY;
use crate::comparison::Comparison;
use crate::data::Frames;

pub(super) fn scalars(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    let load = Arc::new(work.load());
    let into_redis = IntoRedis::new(RedisWork::Scalars(Arc::clone(&work)), &setting.memory);
    let mut candidates: Candidates = vec![Box::new(BareLoop::by_key(&work)), Box::new(into_redis)];
    let by_hand = [(Peer::RedisPy, SLOW)];
    add_python(
        &mut candidates,
        setting,
        &load,
        &by_hand,
        &[(Peer::RedisPy, 5000)],
    );
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "Redis: f64 scalars, ten keys in turn, by key",
            load.count as f64 * load.keys.len() as f64 / 1e6,
            "million records/s",
        )
    }
    .of_bytes(load.bytes()))
}

pub(super) fn vectors(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(500_000)));
    pushed(setting, "100 f64 per record", RedisWork::Vectors(work))
}

pub(super) fn frames(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(FrameWork::new(Frames::Random, setting.scaled(512)));
    pushed(setting, "1 MiB frames", RedisWork::Frames(work))
}

fn pushed(setting: &Setting, what: &str, work: RedisWork) -> Result<Comparison> {
    let load = Arc::new(work.load());
    let mut candidates: Candidates = vec![
        Box::new(RedisBenchmark::new(&load, &setting.memory)),
        Box::new(IntoRedis::new(work, &setting.memory)),
    ];
    add_python(&mut candidates, setting, &load, &[(Peer::RedisPy, 1)], &[]);
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            &format!("Redis: {what}, append-only file synced every second"),
            load.bytes() as f64 / 1e6,
            "MB/s",
        )
    }
    .of_bytes(load.bytes()))
}

pub(super) fn read(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(300_000)));
    let recorded = OnServer::new(&work, &setting.memory)?;
    let mut candidates: Candidates = Vec::new();
    if let Some(python) = &setting.python {
        candidates.push(Box::new(PythonRead::all_of_redis(
            python,
            recorded.url(),
            KEY,
        )));
    }
    candidates.push(Box::new(ReadRedis(recorded)));
    let bytes = work.load().bytes();
    Ok(Comparison {
        candidates,
        ..Comparison::new("Redis: read all", bytes as f64 / 1e9, "GB/s")
    })
}
