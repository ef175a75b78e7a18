//! Recording into HDF5, and reading from it.

use std::sync::Arc;

use super::reading::{SLICES, slice_shape};
use super::{Candidates, FrameWork, SLOW, Scalars, Setting, Vectors, add_python};
use crate::candidate::Result;
use crate::candidates::python_peer::{Codec, Peer, PythonRead, PythonRecord};
use crate::candidates::raw_hdf5::{Hdf5ReadAll, Hdf5Record, Hdf5Slices};
use crate::candidates::simrecorder_store::{
    FramesInto, KEY, ReadAll, ScalarsInto, Slices, Store, VectorsInto,
};
use crate::comparison::Comparison;
use crate::data::Frames;

pub(super) fn scalars(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    let load = Arc::new(work.load());
    let memory = &setting.memory;
    let mut candidates: Candidates = Vec::new();
    add_python(
        &mut candidates,
        setting,
        &load,
        &[(Peer::H5py, SLOW)],
        &[(Peer::H5py, 10_000)],
    );
    candidates.push(Box::new(ScalarsInto::by_key(&work, Store::Hdf5, memory)));
    candidates.push(Box::new(ScalarsInto::by_handle(&work, Store::Hdf5, memory)));
    candidates.push(Box::new(Hdf5Record::by_hand(&load, SLOW, memory)));
    candidates.push(Box::new(Hdf5Record::one_by_one(&load, 500, memory)));
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "HDF5: f64 scalars, ten keys in turn",
            load.count as f64 * load.keys.len() as f64 / 1e6,
            "million records/s",
        )
    }
    .of_bytes(load.bytes()))
}

pub(super) fn vectors(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(500_000)));
    let load = Arc::new(work.load());
    let memory = &setting.memory;
    let mut candidates: Candidates = Vec::new();
    add_python(
        &mut candidates,
        setting,
        &load,
        &[(Peer::H5py, SLOW)],
        &[(Peer::H5py, 10_000)],
    );
    candidates.push(Box::new(VectorsInto::new(&work, Store::Hdf5, memory)));
    candidates.push(Box::new(Hdf5Record::by_hand(&load, SLOW, memory)));
    candidates.push(Box::new(Hdf5Record::one_by_one(&load, 500, memory)));
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "HDF5: 100 f64 per record",
            load.count as f64 / 1e6,
            "million records/s",
        )
    }
    .of_bytes(load.bytes()))
}

pub(super) fn smooth_frames(setting: &Setting) -> Result<Comparison> {
    frames(setting, Frames::Smooth)
}

pub(super) fn random_frames(setting: &Setting) -> Result<Comparison> {
    frames(setting, Frames::Random)
}

fn frames(setting: &Setting, frames: Frames) -> Result<Comparison> {
    let work = Arc::new(FrameWork::new(frames, setting.scaled(256)));
    let load = Arc::new(work.load());
    let memory = &setting.memory;
    let mut candidates: Candidates = Vec::new();
    if let Some(python) = &setting.python {
        for (codec, divisor) in [(Codec::Gzip(1), 4), (Codec::Lzf, 2)] {
            let record = PythonRecord::by_hand(python, Peer::H5py, &load, memory);
            candidates.push(Box::new(record.codec(codec).part_of(divisor)));
        }
    }
    candidates.push(Box::new(FramesInto::new(&work, Store::Hdf5, memory)));
    candidates.push(Box::new(Hdf5Record::by_hand(&load, 4, memory)));
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            &format!("HDF5: 1 MiB frames, {frames:?}"),
            load.count as f64,
            "MiB/s",
        )
    }
    .of_bytes(load.bytes()))
}

pub(super) fn read_all(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(600_000)));
    let recorded = || ReadAll::new(&work, Store::Hdf5, &setting.memory);
    let ours = recorded()?;
    let raw = Hdf5ReadAll::new(ours.path(), KEY)?;
    let mut candidates: Candidates = Vec::new();
    if let Some(python) = &setting.python {
        candidates.push(Box::new(PythonRead::all(
            python,
            Peer::H5py,
            ours.path(),
            KEY,
        )?));
    }
    candidates.push(Box::new(ours));
    candidates.push(Box::new(recorded()?.reusing_memory()));
    candidates.push(Box::new(raw));
    let bytes = work.load().bytes();
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "HDF5: read all, page cache warm",
            bytes as f64 / 1e9,
            "GB/s",
        )
    }
    .of_bytes(bytes))
}

pub(super) fn slices(setting: &Setting) -> Result<Comparison> {
    let shape = slice_shape(setting);
    let ours = Slices::new(shape, SLICES, Store::Hdf5, &setting.memory)?;
    let raw = Hdf5Slices::new(ours.path(), KEY, ours.slices())?;
    let mut candidates: Candidates = Vec::new();
    if let Some(python) = &setting.python {
        candidates.push(Box::new(PythonRead::slices(
            python,
            Peer::H5py,
            ours.path(),
            KEY,
            &ours.slices(),
        )?));
    }
    candidates.push(Box::new(ours));
    candidates.push(Box::new(raw));
    let title = format!(
        "HDF5: slices [:n/2, b, t, :] of {} records of {:?}",
        shape[0],
        &shape[1..]
    );
    Ok(Comparison {
        candidates,
        ..Comparison::new(&title, SLICES as f64, "slices/s")
    }
    .of_bytes(shape.iter().product::<usize>() * 8))
}
