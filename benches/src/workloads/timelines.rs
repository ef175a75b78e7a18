//! Series that share their ticks: as a timeline, beside the same records in free-standing series.

use std::sync::Arc;

use super::Setting;
use crate::candidate::Result;
use crate::candidates::ticks::{How, Ticks, TicksInto};
use crate::comparison::Comparison;

/// The records of a run, of all series together.
const RECORDS: usize = 20_000_000;

/// By tokens, beside typed handles.
pub(super) fn by_member<const SERIES: usize>(setting: &Setting) -> Result<Comparison> {
    Ok(compare(
        setting,
        &scalars(setting, SERIES),
        How::Handles,
        How::Members,
    ))
}

/// By names, beside keys.
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

fn scalars(setting: &Setting, series: usize) -> Arc<Ticks> {
    let ticks = setting.scaled(RECORDS / (series + 1));
    Arc::new(Ticks::new(series, ticks))
}

/// The yardstick are free-standing series.
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
