//! Series with common ticks: as a timeline, compared with the same records in independent series.

use std::sync::Arc;

use super::{SLOW, Setting, add_python};
use crate::candidate::Result;
use crate::candidates::python_peer::{How as FromPython, Peer};
use crate::candidates::ticks::{How, Ticks, TicksInto};
use crate::comparison::Comparison;
use crate::data::times;
use crate::load::{Load, Numbers};

/// The number of records in a run, of all series together.
const RECORDS: usize = 20_000_000;

/// By tokens, compared with typed handles.
pub(super) fn by_member<const SERIES: usize>(setting: &Setting) -> Result<Comparison> {
    Ok(compare(
        setting,
        &scalars(setting, SERIES),
        How::Handles,
        How::Members,
    ))
}

/// By names, compared with keys.
pub(super) fn by_name<const SERIES: usize>(setting: &Setting) -> Result<Comparison> {
    Ok(compare(
        setting,
        &scalars(setting, SERIES),
        How::Keys,
        How::Names,
    ))
}

/// A frame of 1 MiB and ten scalars in each tick.
pub(super) fn with_frames(setting: &Setting) -> Result<Comparison> {
    let ticks = Arc::new(Ticks::new(10, setting.scaled(512)).with_frames());
    Ok(compare(setting, &ticks, How::Keys, How::Names))
}

/// A million ticks of ten f64 and the time, with the Python package. Peers record the same in
/// independent arrays.
pub(super) fn from_python(setting: &Setting) -> Result<Comparison> {
    let count = setting.scaled(1_000_000);
    let names = ["time".to_owned()].into_iter();
    let names = names.chain((0..10).map(|i| format!("mean_rate_{i}")));
    let load = Arc::new(Load {
        keys: names.map(|name| format!("net/{name}")).collect(),
        // Every series has the values of the coordinate, which increase.
        numbers: Numbers::F64(times(count)),
        shape: Vec::new(),
        count,
    });
    let by_hand = [
        (Peer::Lists, 1),
        (Peer::Simrecorder(FromPython::ByName), 1),
        (Peer::Simrecorder(FromPython::ByTick), 1),
        (Peer::Simrecorder(FromPython::ByKey), 1),
        (Peer::TensorStore, SLOW),
        (Peer::ZarrPython, SLOW),
        (Peer::H5py, SLOW),
    ];
    let one_by_one = [(Peer::H5py, 10_000), (Peer::ZarrPython, 100_000)];
    let mut candidates = Vec::new();
    add_python(&mut candidates, setting, &load, &by_hand, &one_by_one);
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "Python: ticks of ten f64 and the time",
            (count * load.keys.len()) as f64 / 1e6,
            "million records/s",
        )
    }
    .of_bytes(load.bytes()))
}

fn scalars(setting: &Setting, series: usize) -> Arc<Ticks> {
    let ticks = setting.scaled(RECORDS / (series + 1));
    Arc::new(Ticks::new(series, ticks))
}

/// The reference are independent series.
fn compare(setting: &Setting, ticks: &Arc<Ticks>, free: How, timeline: How) -> Comparison {
    let candidate = |how| Box::new(TicksInto::new(ticks, how, &setting.memory)) as _;
    let records = ticks.records();
    let title = format!("ticks of {records} records, the time included");
    let amount = (ticks.count * records) as f64 / 1e6;
    Comparison {
        candidates: vec![candidate(free), candidate(timeline)],
        ..Comparison::new(&title, amount, "million records/s")
    }
    .of_bytes(ticks.count * ticks.bytes())
}
