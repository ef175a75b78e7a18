//! Reading from Zarr, compared with all other software that reads the same.

use std::sync::Arc;

use super::{Candidates, Setting, Vectors};
use crate::candidate::Result;
use crate::candidates::floors::Memcpy;
use crate::candidates::python_peer::{How, Peer, PythonRead};
use crate::candidates::raw_hdf5::Hdf5Slices;
use crate::candidates::raw_zarrs::{ZarrsReadAll, ZarrsSlices};
use crate::candidates::simrecorder_store::{KEY, ReadAll, Slices, Store};
use crate::comparison::Comparison;

/// The Python package, which has only one way of reading.
const PACKAGE: Peer = Peer::Simrecorder(How::ByKey);

pub(super) fn read_all(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(600_000)));
    let load = Arc::new(work.load());
    let recorded = |store| ReadAll::new(&work, store, &setting.memory);
    let directory = recorded(Store::Directory)?;
    let path = directory.array_path();
    let mut candidates: Candidates = Vec::new();
    if let Some(python) = &setting.python {
        for peer in [Peer::TensorStore, Peer::ZarrPython] {
            candidates.push(Box::new(PythonRead::all(python, peer, &path, KEY)?));
        }
    }
    candidates.push(Box::new(ZarrsReadAll::new(&path)?));
    let lmdb = recorded(Store::Lmdb)?;
    let in_lmdb = lmdb.path().to_owned();
    candidates.push(Box::new(lmdb));
    candidates.push(Box::new(directory));
    if let Some(python) = &setting.python {
        candidates.push(Box::new(PythonRead::all(python, PACKAGE, &in_lmdb, KEY)?));
    }
    candidates.push(Box::new(recorded(Store::Lmdb)?.reusing_memory()));
    candidates.push(Box::new(Memcpy::new(&load)));
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "read all, lz4, page cache warm",
            load.bytes() as f64 / 1e9,
            "GB/s",
        )
    }
    .of_bytes(load.bytes()))
}

/// The number of slices that are read.
pub(super) const SLICES: usize = 50;

/// The shape of the seed; with less work, its first axis is shorter.
pub(super) fn slice_shape(setting: &Setting) -> [usize; 4] {
    [
        setting.scaled(10).clamp(2, 10),
        10,
        setting.scaled(10_000).clamp(100, 10_000),
        200,
    ]
}

pub(super) fn slices(setting: &Setting) -> Result<Comparison> {
    let shape = slice_shape(setting);
    let recorded = |store| Slices::new(shape, SLICES, store, &setting.memory);
    let (directory, hdf5) = (recorded(Store::Directory)?, recorded(Store::Hdf5)?);
    let (path, places) = (directory.array_path(), directory.slices());
    let mut candidates: Candidates = vec![
        Box::new(ZarrsSlices::new(&path, Arc::clone(&places))?),
        Box::new(Hdf5Slices::new(hdf5.path(), KEY, Arc::clone(&places))?),
    ];
    if let Some(python) = &setting.python {
        let peers = [
            (Peer::TensorStore, &*path),
            (Peer::ZarrPython, &path),
            (Peer::H5py, hdf5.path()),
        ];
        for (peer, path) in peers {
            candidates.push(Box::new(PythonRead::slices(
                python, peer, path, KEY, &places,
            )?));
        }
    }
    let lmdb = recorded(Store::Lmdb)?;
    let in_lmdb = lmdb.path().to_owned();
    candidates.push(Box::new(lmdb));
    candidates.push(Box::new(directory));
    candidates.push(Box::new(hdf5));
    if let Some(python) = &setting.python {
        let slices = PythonRead::slices(python, PACKAGE, &in_lmdb, KEY, &places)?;
        candidates.push(Box::new(slices));
    }
    let title = format!(
        "slices [:n/2, b, t, :] of {} records of {:?}",
        shape[0],
        &shape[1..]
    );
    Ok(Comparison {
        candidates,
        ..Comparison::new(&title, SLICES as f64, "slices/s")
    }
    .of_bytes(shape.iter().product::<usize>() * 8))
}
