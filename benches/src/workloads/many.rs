//! Many short series.

use std::sync::Arc;

use simrecorder::Compression;

use super::{Candidates, Setting};
use crate::candidate::Result;
use crate::candidates::python_peer::{Codec, Peer, PythonRecord};
use crate::candidates::simrecorder_store::{LoadInto, Store};
use crate::comparison::Comparison;
use crate::data::random_walk;
use crate::load::{Load, Numbers};

/// A record in each of many groups, like the parameters of many runs.
pub(super) fn groups(setting: &Setting) -> Result<Comparison> {
    let groups = setting.scaled(10_000);
    let values = random_walk(50).into_iter().map(|value| value as f32);
    let load = Load {
        keys: (0..groups).map(|i| format!("group_{i:05}/v")).collect(),
        numbers: Numbers::F32(values.collect()),
        shape: vec![50],
        count: 1,
    };
    compare(setting, "groups with one record of 50 f32 each", load)
}

/// A few records in each of many series.
pub(super) fn series(setting: &Setting) -> Result<Comparison> {
    let series = setting.scaled(20_000);
    let load = Load {
        keys: (0..series).map(|i| format!("cells/cell_{i:06}")).collect(),
        numbers: Numbers::F64(random_walk(10)),
        shape: Vec::new(),
        count: 10,
    };
    compare(setting, "series of ten f64", load)
}

/// The reference is h5py, which gets all records of a series at once.
fn compare(setting: &Setting, what: &str, load: Load) -> Result<Comparison> {
    let load = Arc::new(load);
    let memory = &setting.memory;
    let mut candidates: Candidates = Vec::new();
    if let Some(python) = &setting.python {
        let record = PythonRecord::by_hand(python, Peer::H5py, &load, memory);
        candidates.push(Box::new(record.codec(Codec::None)));
    }
    for store in [Store::Lmdb, Store::Directory, Store::Hdf5] {
        let compression = Compression::default();
        candidates.push(Box::new(LoadInto::new(&load, store, compression, memory)));
    }
    let keys = load.keys.len();
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            &format!("{keys} {what}"),
            keys as f64 / 1e3,
            "thousand keys/s",
        )
    }
    .of_bytes(load.bytes()))
}
