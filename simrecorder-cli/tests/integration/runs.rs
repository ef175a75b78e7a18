//! Runs that the tests record.

use simrecorder::ndarray::Array1;
use simrecorder::{Coordinate, Recorder, prelude::*};

use crate::support::{Places, create};

/// Records a run: a timeline of `ticks` ticks, other series and values.
pub(crate) fn record(recorder: &Recorder, ticks: u32) {
    let mut net = recorder
        .timeline("net", Coordinate::new("time").units("ms"))
        .unwrap();
    for i in 0..ticks {
        let v = Array1::from_elem(50, f64::from(i));
        net.tick(f64::from(i) * 0.5, (("rate", f64::from(i) * 0.1), ("v", v)))
            .unwrap();
        recorder.record("log", format!("step {i}")).unwrap();
        recorder
            .record("spikes", Ragged(vec![i; i as usize % 4]))
            .unwrap();
    }
    net.finish().unwrap();
    recorder.set("meta/seed", 42_u64).unwrap();
    recorder.set("meta/tau", 20.0).unwrap();
}

/// A closed recording in each backend.
pub(crate) fn closed(places: &Places, name: &str, ticks: u32) -> Vec<String> {
    let recordings = places.recordings(name);
    for recording in &recordings {
        let recorder = Recorder::new(create(recording));
        record(&recorder, ticks);
        recorder.close().unwrap();
    }
    recordings
}
