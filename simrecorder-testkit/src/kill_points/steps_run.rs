//! Series of every kind that appear during the run, one of which is renamed and removed.

use std::ops::Range;

use simrecorder_core::ndarray::ArrayViewD;
use simrecorder_core::{
    ChunkPolicy, DataStore, DataStoreExt, InMemoryDataStore, Key, OnStoreError, OpenMode, Recorder,
    Result, Schema,
};

use super::{Known, Run, inline, report};
use crate::steps::{check_prefixes, cut, try_declare_steps, try_record_step};

/// The steps of the whole run.
const STEPS: u64 = 50;
/// The recorders of the run, and the steps that each of them records.
const HALVES: [(OpenMode, Range<u64>); 2] = [
    (OpenMode::CreateNew, 0..STEPS - 20),
    (OpenMode::Append, STEPS - 20..STEPS),
];
/// The steps after which a series is renamed and removed. Each is a separate commit.
const RENAMED_AT: u64 = 16;
const REMOVED_AT: u64 = 24;
/// The records of that series.
const TRIAL: u64 = 3;
/// The steps that the resuming program records.
const MORE: u64 = 3;

/// Free-standing series. A position is the number of steps that all of them have. Commits happen at each
/// flush, at the checkpoint, and when each part is closed.
#[derive(Clone, Copy, Debug)]
pub struct StepsRun;

impl Run for StepsRun {
    const END: u64 = STEPS;

    fn write<S: DataStore + 'static>(self, open: impl Fn(OpenMode) -> Result<S>) -> Result<()> {
        for (mode, steps) in HALVES {
            let recorder = Recorder::with_options(open(mode)?, inline());
            let end = steps.end;
            let result = declare(&recorder).and_then(|()| record(&recorder, steps));
            if result.is_err() {
                let closed = recorder.close();
                assert!(closed.is_err(), "a store that failed closes well");
                return result;
            }
            recorder.close()?;
            println!("settled {end}");
        }
        Ok(())
    }

    fn write_beside<S: DataStore + 'static>(
        self,
        open: impl Fn(OpenMode) -> Result<S>,
    ) -> Result<()> {
        let memory = InMemoryDataStore::new();
        for (mode, steps) in HALVES {
            let stores = (open(mode)?, memory.open(OpenMode::Append)?);
            let options = inline().on_store_error(OnStoreError::Detach);
            let recorder = Recorder::with_options(stores, options);
            let end = steps.end;
            declare(&recorder).unwrap();
            record(&recorder, steps).unwrap();
            let closed = recorder.close();
            let reader = Recorder::new(memory.open(OpenMode::Read)?);
            assert_eq!(check_series(&reader), end);
            check_values(&reader, end);
            closed?;
            println!("settled {end}");
        }
        Ok(())
    }

    fn resume<S: DataStore + 'static>(self, store: S, report: fn(&str, u64)) -> Result<u64> {
        let before = store.view(&Key::new("n")?)?.map_or(0, |view| view.len());
        cut(&store, self.cut_to(before))?;
        let end = self.resumed(before);
        let recorder = Recorder::with_options(store, inline());
        declare(&recorder)?;
        for step in self.cut_to(before)..end {
            record_one(&recorder, step)?;
        }
        recorder.flush()?;
        report("flushed", end);
        recorder.close()?;
        report("settled", end);
        Ok(end)
    }

    fn check(self, recorder: &Recorder, known: Known) -> u64 {
        let found = check_series(recorder);
        // A rewind does not cut values.
        let written = known.written.unwrap_or(found);
        check_values(recorder, written);
        check_trial(recorder, written);
        found
    }

    fn commits(self, flushed: u64) -> Vec<u64> {
        let is_commit = |end: &u64| end.is_multiple_of(8) || [21, STEPS - 20, STEPS].contains(end);
        let next = (1..=STEPS).filter(is_commit).find(|&end| end > flushed);
        vec![flushed, next.unwrap_or(STEPS)]
    }

    fn cut_to(self, steps: u64) -> u64 {
        steps.saturating_sub(1)
    }

    fn resumed(self, steps: u64) -> u64 {
        self.cut_to(steps) + MORE
    }

    fn resuming(self, steps: u64) -> Vec<u64> {
        vec![steps, self.cut_to(steps), self.resumed(steps)]
    }
}

fn declare(recorder: &Recorder) -> Result<()> {
    try_declare_steps(recorder, 8)?;
    let field = Schema::array::<u32>([FIELD as u64]).with_chunk_policy(ChunkPolicy::records(6));
    recorder.declare("field", field)?;
    let outgrown = Schema::array::<u32>([OUTGROWN as u64]);
    let outgrown = outgrown.with_chunk_policy(ChunkPolicy::records(24));
    recorder.declare("outgrown", outgrown)
}

fn record(recorder: &Recorder, steps: Range<u64>) -> Result<()> {
    for step in steps {
        record_one(recorder, step)?;
        if step % 10 == 0 {
            recorder.set(format!("parameters/{step}"), step)?;
        }
        if step == RENAMED_AT - 1 {
            for number in 0..TRIAL {
                recorder.record("trial/0", field(number))?;
            }
        }
        if step % 8 == 7 {
            recorder.set("last", step)?;
            recorder.flush()?;
            report(recorder, "flushed", step + 1);
        }
        match step + 1 {
            RENAMED_AT => recorder.rename("trial", "moved")?,
            REMOVED_AT => recorder.remove("moved/0")?,
            _ => {}
        }
        if step == 20 {
            recorder.checkpoint()?;
            report(recorder, "settled", step + 1);
        }
    }
    Ok(())
}

fn record_one(recorder: &Recorder, step: u64) -> Result<()> {
    try_record_step(recorder, step)?;
    recorder.record("frames", [step as f32; 500])?;
    recorder.record("field", field(step))?;
    recorder.record("outgrown", &field(step)[..OUTGROWN])
}

/// The elements of a large record.
const FIELD: usize = 4000;
/// The elements of a record of a series that is short at the checkpoint and fills a chunk with the next flush.
const OUTGROWN: usize = 200;

/// A large record that does not compress.
fn field(step: u64) -> Vec<u32> {
    let mut noise = step;
    let mut next = || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (noise >> 32) as u32
    };
    (0..FIELD).map(|_| next()).collect()
}

/// Checks the values that are set while the steps are recorded and committed.
fn check_values(recorder: &Recorder, steps: u64) {
    let last = (0..steps).rfind(|step| step % 8 == 7);
    assert_eq!(recorder.get_as::<u64>("last").unwrap(), last, "{steps}");
    for step in (0..STEPS).step_by(10) {
        let parameter = recorder.get_as(format!("parameters/{step}")).unwrap();
        assert_eq!(parameter, (step < steps).then_some(step), "{steps}");
    }
}

/// Checks that the series that is renamed and then removed is complete at one key, or removed.
fn check_trial(recorder: &Recorder, steps: u64) {
    let places = ["trial/0", "moved/0"].map(|key| {
        recorder.kind_of(key).unwrap().map(|_| {
            let found = recorder.get_all(key).unwrap().read::<u32>().unwrap();
            let is_whole = |(number, row): (usize, ArrayViewD<'_, u32>)| {
                row.iter().copied().eq(field(number as u64))
            };
            assert_eq!(
                found.len(),
                TRIAL as usize * FIELD,
                "'{key}' after {steps} steps"
            );
            assert!(found.outer_iter().enumerate().all(is_whole), "'{key}'");
        })
    });
    let expected: &[_] = match steps {
        RENAMED_AT => &[[true, false], [false, true]],
        REMOVED_AT => &[[false, true], [false, false]],
        steps if (RENAMED_AT..REMOVED_AT).contains(&steps) => &[[false, true]],
        _ => &[[false, false]],
    };
    let found = places.map(|place| place.is_some());
    assert!(expected.contains(&found), "{found:?} after {steps} steps");
}

/// Checks that all series are correct prefixes of the same length, and returns the length; 0 if nothing was
/// committed yet.
fn check_series(recorder: &Recorder) -> u64 {
    if recorder.keys().unwrap().is_empty() {
        return 0;
    }
    let mut lengths = check_prefixes(recorder);
    let frames = recorder.get_all("frames").unwrap();
    for (step, frame) in frames.read::<f32>().unwrap().outer_iter().enumerate() {
        assert!(frame.iter().all(|&x| x == step as f32));
    }
    let fields = recorder.get_all("field").unwrap();
    for (step, record) in fields.read::<u32>().unwrap().outer_iter().enumerate() {
        assert!(record.iter().copied().eq(field(step as u64)));
    }
    let outgrown = recorder.get_all("outgrown").unwrap();
    for (step, record) in outgrown.read::<u32>().unwrap().outer_iter().enumerate() {
        assert!(record.iter().eq(&field(step as u64)[..OUTGROWN]));
    }
    lengths.extend([frames.len(), fields.len(), outgrown.len()]);
    let length = frames.len();
    assert!(
        lengths.iter().all(|&other| other == length),
        "a part of a commit: {lengths:?}"
    );
    length
}
