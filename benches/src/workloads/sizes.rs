//! Speed and size with realistic data.

use std::sync::Arc;

use simrecorder::Compression;

use super::{Candidates, Setting};
use crate::candidate::Result;
use crate::candidates::mcap_log::McapLog;
use crate::candidates::python_peer::{Codec, Peer, PythonRecord};
use crate::candidates::raw_hdf5::Hdf5Record;
use crate::candidates::raw_zarrs::ZarrsRecord;
use crate::candidates::simrecorder_store::KEY;
use crate::candidates::simrecorder_store::{LoadInto, Store};
use crate::codec::Blosc;
use crate::comparison::Comparison;
use crate::data::{self, FIELD_SIDE, NEURONS, generator};
use crate::load::{Load, Numbers};

/// The size of a data set before compression.
const BYTES: usize = 32 << 20;

pub(super) fn voltages(setting: &Setting) -> Result<Comparison> {
    let numbers = data::potentials(&mut generator(), setting.scaled(BYTES));
    let load = data_set(Numbers::F64(numbers), &[NEURONS]);
    compare(setting, "integrate-and-fire voltages, f64", load)
}

pub(super) fn field(setting: &Setting) -> Result<Comparison> {
    let numbers = data::field(&mut generator(), setting.scaled(BYTES));
    let load = data_set(Numbers::F32(numbers), &[FIELD_SIDE, FIELD_SIDE]);
    compare(setting, "smooth field with 1% noise, f32", load)
}

pub(super) fn counts(setting: &Setting) -> Result<Comparison> {
    // Complete records of four bytes per neuron.
    let records = setting.scaled(BYTES).div_ceil(4 * NEURONS);
    let numbers = data::counts(&mut generator(), records * 4 * NEURONS);
    compare(
        setting,
        "sparse spike counts, u32",
        data_set(Numbers::U32(numbers), &[NEURONS]),
    )
}

pub(super) fn random(setting: &Setting) -> Result<Comparison> {
    let records = setting.scaled(BYTES).div_ceil(8 * NEURONS);
    let numbers = data::uniform(&mut generator(), records * 8 * NEURONS);
    compare(
        setting,
        "random numbers, f64",
        data_set(Numbers::F64(numbers), &[NEURONS]),
    )
}

/// The reference is the default of SimRecorder for Python.
fn compare(setting: &Setting, what: &str, load: Load) -> Result<Comparison> {
    let load = Arc::new(load);
    let memory = &setting.memory;
    let original = ZarrsRecord::new(&load, Blosc::PYTHON_ORIGINAL, memory);
    let mut candidates: Candidates =
        vec![Box::new(original.called("SimRecorder for Python's codec"))];
    for store in [Store::Lmdb, Store::Directory, Store::Hdf5] {
        for compression in [Compression::Fast, Compression::Small] {
            candidates.push(Box::new(LoadInto::new(&load, store, compression, memory)));
        }
    }
    candidates.push(Box::new(ZarrsRecord::new(&load, Blosc::LZ4, memory)));
    for codec in [Blosc::ZSTD_BYTES, Blosc::ZSTD_BITS] {
        candidates.push(Box::new(ZarrsRecord::new(&load, codec, memory)));
    }
    candidates.push(Box::new(McapLog::new(&load, 1, memory)));
    candidates.push(Box::new(McapLog::new(&load, 1, memory).zstd()));
    candidates.push(Box::new(Hdf5Record::by_hand(&load, 1, memory).level(9)));
    if let Some(python) = &setting.python {
        let blosc = |codec| Codec::Blosc(codec);
        let peers = [
            (Peer::ZarrPython, blosc(Blosc::PYTHON_ORIGINAL)),
            (Peer::ZarrPython, blosc(Blosc::ZSTD_BITS)),
            (Peer::TensorStore, blosc(Blosc::ZSTD_BYTES)),
            (Peer::TensorStore, blosc(Blosc::ZSTD_BITS)),
            (Peer::AcquireZarr, blosc(Blosc::ZSTD_BITS)),
            (Peer::H5py, Codec::Gzip(1)),
            (Peer::H5py, Codec::Gzip(9)),
            (Peer::H5py, Codec::Lzf),
        ];
        for (peer, codec) in peers {
            let record = PythonRecord::by_hand(python, peer, &load, memory);
            candidates.push(Box::new(record.codec(codec)));
        }
    }
    Ok(Comparison {
        candidates,
        ..Comparison::new(&format!("sizes: {what}"), load.bytes() as f64 / 1e6, "MB/s")
    }
    .of_bytes(load.bytes()))
}

fn data_set(numbers: Numbers, shape: &[usize]) -> Load {
    let load = Load {
        keys: vec![KEY.to_owned()],
        numbers,
        shape: shape.to_vec(),
        count: 1,
    };
    let count = load.numbers.bytes().len() / load.record_bytes();
    Load { count, ..load }
}
