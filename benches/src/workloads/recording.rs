//! Recording into Zarr, compared with all other software that records.

use std::path::Path;
use std::sync::Arc;

use super::{Candidates, FrameWork, SLOW, Scalars, Setting, Vectors, add_python};
use crate::candidate::Result;
use crate::candidates::bare_loop::BareLoop;
use crate::candidates::floors::{Memcpy, RawFile};
use crate::candidates::mcap_log::McapLog;
use crate::candidates::python_peer::{Codec, How, Peer, PythonRecord};
use crate::candidates::raw_hdf5::Hdf5Record;
use crate::candidates::raw_zarrs::ZarrsRecord;
use crate::candidates::simrecorder_store::{FramesInto, ScalarsInto, Store, VectorsInto};
use crate::codec::Blosc;
use crate::comparison::Comparison;
use crate::data::Frames;
use crate::load::Load;

pub(super) fn scalars_by_key(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    let load = Arc::new(work.load());
    let memory = &setting.memory;
    let mut candidates: Candidates = vec![
        Box::new(BareLoop::by_key(&work)),
        Box::new(ScalarsInto::by_key(&work, Store::Lmdb, memory)),
        Box::new(ScalarsInto::by_key(&work, Store::Directory, memory)),
        Box::new(McapLog::new(&load, SLOW, memory)),
        Box::new(Hdf5Record::one_by_one(&load, 500, memory)),
    ];
    // acquire-zarr takes 10 microseconds for each record, because it is made for frames.
    let by_hand = [
        (Peer::Simrecorder(How::ByKey), SLOW),
        (Peer::H5py, SLOW),
        (Peer::ZarrPython, SLOW),
        (Peer::TensorStore, SLOW),
        (Peer::RedisPy, SLOW),
        (Peer::AcquireZarr, 5000),
    ];
    let one_by_one = [
        (Peer::H5py, 10_000),
        (Peer::ZarrPython, 100_000),
        (Peer::TensorStore, 100_000),
        (Peer::RedisPy, 5000),
    ];
    add_python(&mut candidates, setting, &load, &by_hand, &one_by_one);
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "f64 scalars, ten keys in turn, by key",
            load.count as f64 * load.keys.len() as f64 / 1e6,
            "million records/s",
        )
    }
    .of_bytes(load.bytes()))
}

pub(super) fn scalars_by_handle(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Scalars::new(setting.scaled(20_000_000)));
    let candidates: Candidates = vec![
        Box::new(BareLoop::by_handle(&work)),
        Box::new(ScalarsInto::by_handle(&work, Store::Lmdb, &setting.memory)),
        Box::new(ScalarsInto::by_handle(
            &work,
            Store::Directory,
            &setting.memory,
        )),
    ];
    let records = work.records * work.keys.len();
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "f64 scalars, ten keys in turn, by handle",
            records as f64 / 1e6,
            "million records/s",
        )
    }
    .of_bytes(records * size_of::<f64>()))
}

pub(super) fn vectors(setting: &Setting) -> Result<Comparison> {
    let work = Arc::new(Vectors::new(setting.scaled(500_000)));
    let load = Arc::new(work.load());
    let memory = &setting.memory;
    let mut candidates: Candidates = vec![
        Box::new(McapLog::new(&load, 1, memory)),
        Box::new(VectorsInto::new(&work, Store::Lmdb, memory)),
        Box::new(VectorsInto::new(&work, Store::Directory, memory)),
        Box::new(ZarrsRecord::new(&load, Blosc::LZ4, memory)),
    ];
    let by_hand = [
        (Peer::Simrecorder(How::ByKey), 1),
        (Peer::TensorStore, 1),
        (Peer::ZarrPython, 1),
        (Peer::AcquireZarr, 100),
        (Peer::H5py, SLOW),
        (Peer::RedisPy, 1),
    ];
    let one_by_one = [
        (Peer::H5py, 2000),
        (Peer::ZarrPython, 5000),
        (Peer::TensorStore, 5000),
    ];
    add_python(&mut candidates, setting, &load, &by_hand, &one_by_one);
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "100 f64 per record",
            load.count as f64 / 1e6,
            "million records/s",
        )
    }
    .of_bytes(load.bytes()))
}

pub(super) fn smooth_frames(setting: &Setting) -> Result<Comparison> {
    on_disk(setting, Frames::Smooth)
}

pub(super) fn random_frames(setting: &Setting) -> Result<Comparison> {
    on_disk(setting, Frames::Random)
}

pub(super) fn smooth_frames_in_memory(setting: &Setting) -> Result<Comparison> {
    in_memory(setting, Frames::Smooth)
}

pub(super) fn random_frames_in_memory(setting: &Setting) -> Result<Comparison> {
    in_memory(setting, Frames::Random)
}

fn on_disk(setting: &Setting, frames: Frames) -> Result<Comparison> {
    let work = Arc::new(FrameWork::new(frames, setting.scaled(512)));
    let load = Arc::new(work.load());
    let disk = &setting.disk;
    let mut candidates: Candidates = vec![
        Box::new(RawFile::new(&load, disk)),
        Box::new(FramesInto::new(&work, Store::Lmdb, disk)),
        Box::new(FramesInto::new(&work, Store::Directory, disk)),
        Box::new(FramesInto::new(&work, Store::Hdf5, disk)),
        Box::new(McapLog::new(&load, 1, disk).synced()),
        Box::new(ZarrsRecord::new(&load, Blosc::LZ4, disk).synced()),
    ];
    add_frame_peers(&mut candidates, setting, &load, disk, true)?;
    Ok(Comparison {
        candidates,
        on_disk: true,
        ..Comparison::new(
            &format!("1 MiB frames, {frames:?}, on a disk, synced"),
            load.count as f64,
            "MiB/s",
        )
    }
    .of_bytes(load.bytes()))
}

fn in_memory(setting: &Setting, frames: Frames) -> Result<Comparison> {
    let work = Arc::new(FrameWork::new(frames, setting.scaled(512)));
    let load = Arc::new(work.load());
    let memory = &setting.memory;
    let mut candidates: Candidates = vec![
        Box::new(RawFile::new(&load, memory)),
        Box::new(Memcpy::new(&load)),
        Box::new(FramesInto::new(&work, Store::Lmdb, memory)),
        Box::new(FramesInto::new(&work, Store::Directory, memory)),
        Box::new(FramesInto::new(&work, Store::Hdf5, memory)),
        Box::new(McapLog::new(&load, 1, memory)),
        Box::new(ZarrsRecord::new(&load, Blosc::LZ4, memory)),
    ];
    add_frame_peers(&mut candidates, setting, &load, memory, false)?;
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            &format!("1 MiB frames, {frames:?}, in memory"),
            load.count as f64,
            "MiB/s",
        )
    }
    .of_bytes(load.bytes()))
}

fn add_frame_peers(
    candidates: &mut Candidates,
    setting: &Setting,
    load: &Arc<Load>,
    folder: &Path,
    synced: bool,
) -> Result<()> {
    let Some(python) = &setting.python else {
        return Ok(());
    };
    let lz4 = Codec::Blosc(Blosc::LZ4);
    let peers = [
        (Peer::Simrecorder(How::ByKey), Codec::None, 1),
        (Peer::TensorStore, lz4, 1),
        (Peer::ZarrPython, lz4, 1),
        (Peer::AcquireZarr, lz4, 1),
        (Peer::H5py, Codec::Lzf, 2),
        (Peer::H5py, Codec::Gzip(1), 8),
    ];
    for (peer, codec, divisor) in peers {
        let record = PythonRecord::by_hand(python, peer, load, folder);
        let record = record.codec(codec).part_of(divisor);
        candidates.push(match synced {
            true => Box::new(record.synced()),
            false => Box::new(record),
        });
    }
    Ok(())
}
