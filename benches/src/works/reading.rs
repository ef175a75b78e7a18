//! Reading from Zarr, beside everything else that reads the same.

use std::sync::Arc;

use super::{Contenders, Setting, Vectors};
use crate::comparison::Comparison;
use crate::contender::Result;
use crate::contenders::floors::Memcpy;
use crate::contenders::python_peer::{Peer, PythonRead};
use crate::contenders::raw_hdf5::Hdf5Slices;
use crate::contenders::raw_zarrs::{ZarrsReadAll, ZarrsSlices};
use crate::contenders::simrecorder_store::{KEY, ReadAll, Slices, Store};

pub(super) fn read_all(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(600_000)));
    let load = Arc::new(work.load());
    let recorded = |store| ReadAll::new(&work, store, &setting.memory);
    let directory = recorded(Store::Directory)?;
    let path = directory.array_path();
    let mut contenders: Contenders = Vec::new();
    if let Some(python) = &setting.python {
        for peer in [Peer::TensorStore, Peer::ZarrPython] {
            contenders.push(Box::new(PythonRead::all(python, peer, &path, KEY)?));
        }
    }
    contenders.push(Box::new(ZarrsReadAll::new(&path)?));
    contenders.push(Box::new(recorded(Store::Lmdb)?));
    contenders.push(Box::new(directory));
    contenders.push(Box::new(recorded(Store::Lmdb)?.reusing_memory()));
    contenders.push(Box::new(Memcpy::new(&load)));
    Ok(Comparison {
        contenders,
        ..Comparison::new(
            "read all, lz4, page cache warm",
            load.bytes() as f64 / 1e9,
            "GB/s",
        )
    }
    .of_bytes(load.bytes()))
}

/// How many slices are read.
pub(super) const SLICES: usize = 50;

/// The shape of the seed; its first axis is shorter when less is asked for.
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
    let mut contenders: Contenders = vec![
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
            contenders.push(Box::new(PythonRead::slices(
                python, peer, path, KEY, &places,
            )?));
        }
    }
    contenders.push(Box::new(recorded(Store::Lmdb)?));
    contenders.push(Box::new(directory));
    contenders.push(Box::new(hdf5));
    let title = format!(
        "slices [:n/2, b, t, :] of {} records of {:?}",
        shape[0],
        &shape[1..]
    );
    Ok(Comparison {
        contenders,
        ..Comparison::new(&title, SLICES as f64, "slices/s")
    }
    .of_bytes(shape.iter().product::<usize>() * 8))
}
