//! Timelines: series that share their ticks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Harness;
use super::support::{
    check_numbers, check_reopened, check_series, expect_error, inline, open, recorder, value,
    write_and_check,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::key::Key;
use crate::model::record::{Object, Ragged};
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::group::Group;
use crate::recorder::{
    Coordinate, OnDivergence, Recorder, RecorderOptions, TIMELINE_ATTRIBUTE, Timeline,
};
use crate::store::open_mode::OpenMode;

fn step() -> Coordinate {
    Coordinate::new("step")
}

/// Opens the timeline `net` with two series of small chunks, `n` and `rows`.
fn open_net(recorder: &Recorder) -> Timeline<u64> {
    let mut net = recorder.timeline("net", step()).unwrap();
    let policy = ChunkPolicy::records(8);
    let n = Schema::scalar::<u64>().with_chunk_policy(policy.clone());
    net.declare("n", n).unwrap();
    let rows = Schema::ragged::<u64>([]).with_chunk_policy(policy);
    net.declare("rows", rows).unwrap();
    net
}

fn row(step: u64) -> Vec<u64> {
    vec![step; step as usize % 3]
}

fn record_ticks(net: &mut Timeline<u64>, steps: impl IntoIterator<Item = u64>) {
    for step in steps {
        net.advance(step).unwrap();
        net.record("n", step).unwrap();
        net.record("rows", Ragged(row(step))).unwrap();
    }
}

/// Checks that `net` has these ticks and no others.
#[track_caller]
fn check_ticks(recorder: &Recorder, steps: impl IntoIterator<Item = u64>) {
    let steps: Vec<u64> = steps.into_iter().collect();
    let net = recorder.group("net").unwrap();
    check_numbers(net.view("step").unwrap(), steps.iter().copied());
    check_numbers(net.view("n").unwrap(), steps.iter().copied());
    let rows: Vec<Value> = steps.iter().map(|&step| value(row(step))).collect();
    check_series(recorder, "net/rows", &rows);
}

/// The common length of the series of a group.
#[track_caller]
fn common_len(group: &Group) -> u64 {
    let lens: Vec<_> = group
        .series()
        .map(|(name, view)| (name, view.len()))
        .collect();
    let len = lens.first().map_or(0, |(_, len)| *len);
    assert!(
        lens.iter().all(|(_, other)| *other == len),
        "out of step: {lens:?}"
    );
    len
}

/// Records of every kind, in ticks of `f64`, `i64` and `u64`.
pub fn the_series_of_a_timeline_have_one_record_per_tick(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        recorder.set("net/neurons", 3_u64).unwrap();
        let time = Coordinate::new("time").units("ms").attribute("axis", "T");
        let mut net = recorder.timeline("net", time).unwrap();
        assert!(net.is_empty());
        let rate = net.member("rate").unwrap();
        for i in 0..30_u64 {
            net.advance(0.5 * i as f64).unwrap();
            net.push(rate, i as f32).unwrap();
            net.record("v", [i as f64; 3]).unwrap();
            net.record("spikes", Ragged(row(i))).unwrap();
            net.record("note", format!("tick {i}")).unwrap();
            net.record("state", Object(&(i, "x"))).unwrap();
        }
        assert_eq!((net.len(), net.last()), (29, Some(14.0)));
        net.finish().unwrap();
        let mut signed = recorder.timeline("signed", Coordinate::new("t")).unwrap();
        for t in -5_i64..5 {
            signed.tick(t, [("a", t as f64), ("b", 0.0)]).unwrap();
        }
        let mut alone = recorder.timeline("alone/at", step()).unwrap();
        (0..4_u64).for_each(|step| alone.advance(step * step).unwrap());
    };
    let check = |recorder: &Recorder| {
        let net = recorder.group("net").unwrap();
        assert_eq!(net.attributes()[TIMELINE_ATTRIBUTE], "time");
        let time = net.view("time").unwrap();
        let expected: Vec<f64> = (0..30).map(|i| 0.5 * f64::from(i)).collect();
        assert_eq!(
            time.read::<f64>().unwrap().into_raw_vec_and_offset().0,
            expected
        );
        assert_eq!(time.attributes()["units"], "ms");
        assert_eq!(time.attributes()["axis"], "T");
        assert_eq!(common_len(&net), 30);
        for (name, view) in net.series() {
            let first = view.dimension_names().unwrap()[0].as_deref();
            assert_eq!(first, Some("time"), "{name}");
        }
        let series = |record: &dyn Fn(u64) -> Value| (0..30).map(record).collect::<Vec<_>>();
        check_series(recorder, "net/rate", &series(&|i| value(i as f32)));
        check_series(recorder, "net/v", &series(&|i| value([i as f64; 3])));
        check_series(recorder, "net/spikes", &series(&|i| value(row(i))));
        check_series(
            recorder,
            "net/note",
            &series(&|i| value(format!("tick {i}"))),
        );
        check_series(
            recorder,
            "net/state",
            &series(&|i| value(Object(&(i, "x")))),
        );
        let signed = recorder.group("signed").unwrap();
        assert_eq!(common_len(&signed), 10);
        let ticks = signed.view("t").unwrap().read::<i64>().unwrap();
        assert_eq!(
            ticks.into_raw_vec_and_offset().0,
            (-5..5).collect::<Vec<i64>>()
        );
        // The last tick of each is open while its recorder is.
        let alone = recorder.get_all("alone/at/step").unwrap();
        check_numbers(&alone, (0..alone.len()).map(|step| step * step));
    };
    write_and_check(harness, write, check);
}

/// Neither to the recorder itself, nor after a checkpoint, nor after closing.
pub fn a_tick_that_is_incomplete_is_never_visible(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = open_net(&writer);
    check_ticks(&writer, []);
    record_ticks(&mut net, 0..20);
    check_ticks(&writer, 0..19);
    net.advance(20).unwrap();
    net.record("rows", Ragged(row(20))).unwrap();
    for _ in 0..2 {
        check_ticks(&writer, 0..20);
        writer.flush().unwrap();
        writer.checkpoint().unwrap();
    }
    net.discard_tick();
    net.discard_tick();
    assert_eq!((net.len(), net.last()), (20, Some(19)));
    // The same tick may be recorded again.
    record_ticks(&mut net, [20, 25]);
    net.advance(30).unwrap();
    net.record("n", 30_u64).unwrap();
    writer.close().unwrap();
    expect_error(net.advance(40), ErrorKind::Closed, &[]);
    expect_error(net.record("n", 1_u64), ErrorKind::Closed, &["net/n"]);
    drop(net);
    check_reopened(harness, |reader| check_ticks(reader, (0..21).chain([25])));
}

/// A program that saves its state and flushes resumes after that step.
pub fn a_flush_completes_a_whole_tick(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = writer.timeline("net", step()).unwrap();
    net.advance(0).unwrap();
    net.record("n", 0_u64).unwrap();
    writer.flush().unwrap();
    // More series may join the first tick.
    assert_eq!((net.len(), net.last()), (0, None));
    net.record("rows", Ragged(row(0))).unwrap();
    net.advance(1).unwrap();
    net.record("n", 1_u64).unwrap();
    writer.flush().unwrap();
    assert_eq!(net.last(), Some(0));
    net.record("rows", Ragged(row(1))).unwrap();
    writer.flush().unwrap();
    assert_eq!((net.len(), net.last()), (2, Some(1)));
    check_ticks(&writer, 0..2);
    expect_error(
        net.record("n", 1_u64),
        ErrorKind::InvalidArgument,
        &["net/n", "advance()"],
    );
    record_ticks(&mut net, 2..4);
    drop(net);
    check_ticks(&writer, 0..4);
}

/// If one record of a tick is refused, nothing of the tick remains.
pub fn a_tick_is_recorded_in_one_call_or_not_at_all(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = open_net(&writer);
    for step in 0..10 {
        net.tick(step, (("n", step), ("rows", Ragged(row(step)))))
            .unwrap();
        assert_eq!(net.last(), Some(step));
    }
    let wrong = net.tick(10, (("n", 10_u64), ("rows", "text")));
    expect_error(wrong, ErrorKind::SchemaMismatch, &["net/rows"]);
    expect_error(
        net.tick(10, [("n", 10_u64)]),
        ErrorKind::InvalidArgument,
        &["net/rows", "10"],
    );
    expect_error(
        net.tick(9, [("n", 10_u64)]),
        ErrorKind::InvalidArgument,
        &["net/step", "9"],
    );
    assert_eq!((net.len(), net.last()), (10, Some(9)));
    net.tick(10, (("rows", Ragged(row(10))), ("n", 10_u64)))
        .unwrap();
    check_ticks(&writer, 0..11);
}

/// After a handle was finished, and after the recording was closed.
pub fn a_timeline_continues_after_its_last_tick(harness: &dyn Harness) {
    let mut steps = 0_u64;
    for more in [1, 7, 1, 20, 3] {
        let mode = if steps == 0 {
            OpenMode::CreateNew
        } else {
            OpenMode::Append
        };
        let writer = recorder(harness, mode);
        let mut net = open_net(&writer);
        assert_eq!((net.len(), net.last()), (steps, steps.checked_sub(1)));
        if let Some(last) = steps.checked_sub(1) {
            expect_error(net.advance(last), ErrorKind::InvalidArgument, &["net/step"]);
        }
        record_ticks(&mut net, steps..steps + more);
        steps += more;
        // After a handle is dropped, the next one continues the timeline.
        net.finish().unwrap();
        let mut net = open_net(&writer);
        record_ticks(&mut net, [steps]);
        steps += 1;
        writer.close().unwrap();
        check_reopened(harness, |reader| check_ticks(reader, 0..steps));
    }
}

/// With a handle and without, into chunks and tails, and again.
pub fn a_rewound_timeline_has_each_tick_once(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = open_net(&writer);
    // To the middle of a chunk, to a tail, to a missing tick, and to the last tick.
    for (last, to, kept) in [
        (21, 11, 12),
        (19, 16, 17),
        (40, 23, 24),
        (30, 30, 31),
        (31, 99, 32),
    ] {
        let from = net.len();
        record_ticks(&mut net, from..=last);
        net.advance(last + 1).unwrap();
        net.rewind(to).unwrap();
        assert_eq!((net.len(), net.last()), (kept, Some(kept - 1)));
        check_ticks(&writer, 0..kept);
    }
    // Before the first tick.
    record_ticks(&mut net, [100, 200]);
    net.rewind(150).unwrap();
    assert_eq!(net.last(), Some(100));
    writer.close().unwrap();
    drop((net, writer));

    let writer = recorder(harness, OpenMode::Append);
    writer.rewind("step", 9_u64).unwrap();
    check_ticks(&writer, 0..10);
    // Again, like a program that is killed before it records anything.
    writer.rewind("step", 9_u64).unwrap();
    let mut net = open_net(&writer);
    assert_eq!(net.last(), Some(9));
    record_ticks(&mut net, 10..16);
    writer.close().unwrap();
    drop((net, writer));
    check_reopened(harness, |reader| check_ticks(reader, 0..16));

    let writer = recorder(harness, OpenMode::Append);
    let mut net = writer.timeline::<u64>("net", step()).unwrap();
    net.record("n", 0_u64).unwrap_err();
    net.advance(16).unwrap();
    writer.truncate("net/rows", 0).unwrap();
    assert_eq!((net.len(), net.last()), (0, None));
    record_ticks(&mut net, 0..3);
    net.finish().unwrap();
    check_ticks(&writer, 0..3);
}

/// In one call, with and without handles; other timelines do not change.
pub fn timelines_with_one_coordinate_are_rewound_together(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut fast = writer.timeline("fast", step()).unwrap();
    let mut slow = writer.timeline("slow", step()).unwrap();
    let mut other = writer.timeline("other", Coordinate::new("time")).unwrap();
    for step in 0..=49_u64 {
        fast.tick(step, [("x", step)]).unwrap();
        if step % 10 == 0 {
            slow.tick(step, [("y", step)]).unwrap();
            other.tick(step as f64, [("z", step)]).unwrap();
        }
    }
    expect_error(
        writer.rewind("stop", 1.0),
        ErrorKind::NotFound,
        &["'stop'", "'step'", "'time'"],
    );
    expect_error(
        writer.rewind("time", f64::NAN),
        ErrorKind::InvalidArgument,
        &["NaN"],
    );
    slow.finish().unwrap();
    writer.rewind("step", 25.5).unwrap();
    assert_eq!((fast.len(), other.len()), (26, 5));
    let check = |recorder: &Recorder| {
        check_numbers(&recorder.get_all("fast/step").unwrap(), 0..26);
        check_numbers(&recorder.get_all("fast/x").unwrap(), 0..26);
        check_numbers(
            &recorder.get_all("slow/step").unwrap(),
            [0, 10, 20].into_iter(),
        );
        check_numbers(
            &recorder.get_all("slow/y").unwrap(),
            [0, 10, 20].into_iter(),
        );
        assert_eq!(recorder.get_all("other/z").unwrap().len(), 5);
    };
    check(&writer);
    writer.close().unwrap();
    drop((fast, other, writer));
    check_reopened(harness, check);
}

/// Only with `CutToShortest`; otherwise an error names both.
pub fn stores_that_differ_are_cut_to_the_same_tick(harness: &dyn Harness) {
    let second = harness.another();
    for (harness, steps) in [(harness, 23), (&*second, 18)] {
        let writer = recorder(harness, OpenMode::CreateNew);
        record_ticks(&mut open_net(&writer), 0..steps);
        writer.close().unwrap();
    }
    let open_both = |options: RecorderOptions| {
        let stores = [harness, &*second].map(|harness| open(harness, OpenMode::Append));
        Recorder::with_options(stores.to_vec(), options)
    };
    let both = open_both(inline());
    let error = both.timeline::<u64>("net", step());
    expect_error(
        error,
        ErrorKind::Diverged,
        &["net", "23", "18", "CutToShortest"],
    );
    both.close().unwrap();
    drop(both);

    let both = open_both(inline().on_divergence(OnDivergence::CutToShortest));
    let mut net = open_net(&both);
    assert_eq!((net.len(), net.last()), (18, Some(17)));
    record_ticks(&mut net, 18..30);
    both.close().unwrap();
    drop((net, both));
    for harness in [harness, &*second] {
        check_reopened(harness, |reader| check_ticks(reader, 0..30));
    }
}

/// In this process; each backend tests kills and readers in other processes.
pub fn readers_see_whole_ticks_at_any_moment(harness: &dyn Harness) {
    let options = RecorderOptions::new()
        .commit_interval(Duration::from_millis(1))
        .memory_bound(1 << 20);
    let writer = Recorder::with_options(open(harness, OpenMode::CreateNew), options);
    let mut net = open_net(&writer);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 0..3000_u64 {
                net.advance(step).unwrap();
                net.record("n", step).unwrap();
                net.record("rows", Ragged(row(step))).unwrap();
                net.record("wide", [step as f64; 512]).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let reader = harness
            .allows_concurrent_readers()
            .then(|| recorder(harness, OpenMode::Read));
        let mut longest = 0;
        while !done.load(Ordering::Acquire) {
            for recorder in std::iter::once(&writer).chain(&reader) {
                let group = recorder.group("net");
                let len = group.map_or(0, |group| common_len(&group));
                longest = longest.max(len);
            }
            writer.flush().unwrap();
        }
        assert!(longest > 0, "no reader has seen a tick");
    });
    drop(net);
    assert_eq!(common_len(&writer.group("net").unwrap()), 3000);
    writer.close().unwrap();
    check_reopened(harness, |reader| check_ticks(reader, 0..3000));
}

/// A series with a fill value may miss ticks.
pub fn gaps_have_the_fill_value(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        let mut net = open_net(recorder);
        let gap = Schema::array::<f64>([2]).with_fill_value(-1.0);
        net.declare("gap", gap).unwrap();
        for step in 0..40 {
            record_ticks(&mut net, [step]);
            if step % 3 == 0 {
                net.record("gap", [step as f64; 2]).unwrap();
            }
        }
        net.finish().unwrap();
    };
    let check = |recorder: &Recorder| {
        check_ticks(recorder, 0..40);
        let gap = (0..40).map(|step| match step % 3 {
            0 => value([f64::from(step); 2]),
            _ => value([-1.0; 2]),
        });
        check_series(recorder, "net/gap", &gap.collect::<Vec<_>>());
    };
    write_and_check(harness, write, check);
}

/// A series with a fill value may join after the first tick, at any commit.
pub fn a_late_series_has_the_fill_value_before(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        let mut net = open_net(recorder);
        record_ticks(&mut net, 0..20);
        let late = Schema::scalar::<u64>().with_fill_value(7_u64);
        net.declare("late", late).unwrap();
        record_ticks(&mut net, 20..22);
        net.record("late", 21_u64).unwrap();
        recorder.flush().unwrap();
        let later = Schema::array::<f64>([3]).with_fill_value(f64::NAN);
        record_ticks(&mut net, 22..30);
        net.declare("later", later).unwrap();
        net.record("later", [29.0; 3]).unwrap();
        record_ticks(&mut net, 30..40);
        net.finish().unwrap();
    };
    let check = |recorder: &Recorder| {
        check_ticks(recorder, 0..40);
        assert_eq!(common_len(&recorder.group("net").unwrap()), 40);
        let late = (0..40).map(|step| if step == 21 { 21 } else { 7 });
        check_numbers(&recorder.get_all("net/late").unwrap(), late);
        let later = recorder
            .get_all("net/later")
            .unwrap()
            .read::<f64>()
            .unwrap();
        let given: Vec<_> = later.indexed_iter().filter(|(_, x)| !x.is_nan()).collect();
        assert!(given.len() == 3 && given.iter().all(|(at, x)| at[0] == 29 && **x == 29.0));
    };
    write_and_check(harness, write, check);
}

/// Free-standing series of the same length as a series with the name of the coordinate.
pub fn series_of_one_length_become_a_timeline(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    for step in 0..11_u64 {
        writer.record("net/step", step).unwrap();
        writer.record("net/n", step).unwrap();
        writer.record("net/rows", Ragged(row(step))).unwrap();
    }
    let handle = writer.series::<u64>("net/n").unwrap();
    let mut net = writer.timeline::<u64>("net", step()).unwrap();
    assert_eq!((net.len(), net.last()), (11, Some(10)));
    expect_error(
        handle.record(11_u64),
        ErrorKind::InvalidArgument,
        &["net/n", "timeline"],
    );
    record_ticks(&mut net, 11..14);
    writer.close().unwrap();
    drop((net, handle, writer));
    check_reopened(harness, |reader| {
        check_ticks(reader, 0..14);
        let names = reader
            .get_all("net/n")
            .unwrap()
            .dimension_names()
            .unwrap()
            .to_vec();
        assert_eq!(names, [Some("step".to_owned())]);
        let root = reader.attributes(Key::ROOT).unwrap().unwrap();
        assert!(!root.contains_key(TIMELINE_ATTRIBUTE));
    });
}
