//! Copying and verifying timelines.

use std::sync::Arc;

use super::Harness;
use super::support::{
    append_numbers, check_numbers, check_reopened, check_series, commit, expect_error, inline, key,
    open, recorder, value,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::record::Ragged;
use crate::model::schema::Schema;
use crate::recorder::{Coordinate, Recorder, TIMELINE_ATTRIBUTE, Timeline};
use crate::store::commit::Change;
use crate::store::data_store::DataStore;
use crate::store::open_mode::OpenMode;
use crate::tools::copy::{CopyOptions, copy};
use crate::tools::verify::verify;

/// The tick at which the series `net/late` joins.
const LATE: u64 = 21;

/// Records a timeline `net` with these ticks, and one above it, `net/sub`.
fn record(recorder: &Recorder, ticks: u64) -> Timeline<u64> {
    let mut net = recorder.timeline("net", Coordinate::new("step")).unwrap();
    let n = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(8));
    net.declare("n", n).unwrap();
    for step in 0..ticks {
        if step == LATE {
            let late = Schema::scalar::<u64>().with_fill_value(7_u64);
            net.declare("late", late).unwrap();
        }
        net.advance(step).unwrap();
        net.record("n", step).unwrap();
        net.record("rows", Ragged(vec![step; step as usize % 3]))
            .unwrap();
        if step > LATE {
            net.record("late", step).unwrap();
        }
    }
    let mut sub = recorder
        .timeline("net/sub", Coordinate::new("day"))
        .unwrap();
    (0..5_i64).for_each(|day| sub.tick(day, [("w", day)]).unwrap());
    sub.finish().unwrap();
    net
}

/// A store with the timelines of [`record`].
fn recorded(harness: &dyn Harness, ticks: u64) -> Arc<dyn DataStore> {
    let writer = recorder(harness, OpenMode::CreateNew);
    record(&writer, ticks).finish().unwrap();
    writer.close().unwrap();
    drop(writer);
    open(harness, OpenMode::Append)
}

/// Checks these ticks of `net`.
#[track_caller]
fn check(recorder: &Recorder, ticks: std::ops::Range<u64>) {
    let net = recorder.group("net").unwrap();
    assert_eq!(net.attributes()[TIMELINE_ATTRIBUTE], "step");
    check_numbers(net.view("step").unwrap(), ticks.clone());
    check_numbers(net.view("n").unwrap(), ticks.clone());
    let rows: Vec<_> = ticks
        .clone()
        .map(|step| value(vec![step; step as usize % 3]))
        .collect();
    check_series(recorder, "net/rows", &rows);
    let late = ticks.map(|step| if step > LATE { step } else { 7 });
    check_numbers(net.view("late").unwrap(), late);
}

/// A whole copy and a copy of a range of the coordinate, with and without decoding. The copy of a timeline can be resumed.
pub fn a_copy_of_a_timeline_has_the_same_ticks_of_every_series(harness: &dyn Harness) {
    let from = recorded(harness, 50);
    let all = CopyOptions::new;
    let cases = [
        (all(), 0..50),
        (all().reencode(true), 0..50),
        (all().select_by("step", 10..), 10..50),
        (all().select_by("step", 24..=40), 24..41),
        (all().select_by("step", ..17.5), 0..18),
        (all().select_by("step", 90..).reencode(true), 50..50),
    ];
    for (options, ticks) in cases {
        let target = harness.another();
        let to = open(&*target, OpenMode::CreateNew);
        copy(&from, &to, options).unwrap();
        to.close().unwrap();
        drop(to);
        check_reopened(&*target, |reader| {
            check(reader, ticks.clone());
            assert_eq!(reader.get_all("net/sub/w").unwrap().len(), 5);
        });
        let writer = recorder(&*target, OpenMode::Append);
        let mut net = writer
            .timeline::<u64>("net", Coordinate::new("step"))
            .unwrap();
        assert_eq!(net.len(), ticks.end - ticks.start);
        for step in ticks.end..ticks.end + 9 {
            let rows = Ragged(vec![step; step as usize % 3]);
            let late = if step > LATE { step } else { 7 };
            net.tick(step, (("n", step), ("rows", rows), ("late", late)))
                .unwrap();
        }
        writer.close().unwrap();
        drop((net, writer));
        check_reopened(&*target, |reader| check(reader, ticks.start..ticks.end + 9));
    }
    let target = harness.another();
    let to = open(&*target, OpenMode::CreateNew);
    let missing = copy(&from, &to, CopyOptions::new().select_by("time", 1..2));
    expect_error(missing, ErrorKind::NotFound, &["'time'"]);
}

/// A pattern that selects a series of a timeline selects its group and coordinate too.
pub fn a_copied_series_of_a_timeline_brings_its_coordinate(harness: &dyn Harness) {
    let from = recorded(harness, 30);
    let only = |text| CopyOptions::new().only(key(text));
    let cases = [
        (CopyOptions::new().include("net/n"), "net", "step", "n"),
        (
            CopyOptions::new()
                .include("**")
                .exclude("net/[!n]*")
                .exclude("net/sub/**"),
            "net",
            "step",
            "n",
        ),
        (only("net/n"), "net", "step", "n"),
        (only("net/sub/w"), "net/sub", "day", "w"),
        (only("net/sub"), "net/sub", "day", "w"),
    ];
    for (options, group, coordinate, member) in cases {
        let target = harness.another();
        let to = open(&*target, OpenMode::CreateNew);
        copy(&from, &to, options).unwrap();
        to.close().unwrap();
        drop(to);
        check_reopened(&*target, |reader| {
            let found = reader.group(group).unwrap();
            assert_eq!(found.attributes()[TIMELINE_ATTRIBUTE], coordinate);
            let names: Vec<_> = found.series().map(|(name, _)| name).collect();
            let mut expected = vec![coordinate, member];
            expected.sort_unstable();
            assert_eq!(names, expected);
            let lens = [coordinate, member].map(|name| found.view(name).unwrap().len());
            assert_eq!(lens[0], lens[1]);
        });
    }
}

/// A copy that would give the series of a timeline in the target different lengths is refused.
pub fn a_copy_adds_no_series_to_a_timeline(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    record(&writer, 30).finish().unwrap();
    writer.record("free/n", 1_u64).unwrap();
    writer.record("beside/n", 1_u64).unwrap();
    writer.close().unwrap();
    drop(writer);
    let from = open(harness, OpenMode::Append);
    let target = harness.another();
    let writer = recorder(&*target, OpenMode::CreateNew);
    writer.record("net/other", 1_u64).unwrap();
    writer
        .timeline("free", Coordinate::new("step"))
        .unwrap()
        .tick(1_u64, [("m", 1_u64)])
        .unwrap();
    writer.close().unwrap();
    drop(writer);
    let to = open(&*target, OpenMode::Append);
    for (pattern, name) in [("net/**", "'net'"), ("free/**", "'free/n'")] {
        let copied = copy(&from, &to, CopyOptions::new().include(pattern));
        expect_error(copied, ErrorKind::AlreadyExists, &[name, "timeline"]);
    }
    copy(&from, &to, CopyOptions::new().include("beside/**")).unwrap();
}

/// While the source is written, all its series are copied up to the same tick.
pub fn a_timeline_is_copied_while_it_is_written(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let writer = Recorder::with_options(vec![store.clone()], inline());
    let mut net = record(&writer, 30);
    writer.flush().unwrap();
    let target = harness.another();
    let to = open(&*target, OpenMode::CreateNew);
    let mut step = 29;
    let options = CopyOptions::new().on_progress(|_| {
        step += 1;
        let rows = Ragged(vec![step; step as usize % 3]);
        net.tick(step, (("n", step), ("rows", rows), ("late", step)))
            .unwrap();
        writer.flush().unwrap();
        std::ops::ControlFlow::Continue(())
    });
    copy(&*store, &to, options).unwrap();
    to.close().unwrap();
    drop(to);
    check_reopened(&*target, |reader| {
        let ticks = reader.get_all("net/step").unwrap().len();
        check(reader, 0..ticks);
    });
}

/// Series of different lengths, and a coordinate that does not increase, are damage of their group.
pub fn verifying_finds_timelines_that_are_out_of_step(harness: &dyn Harness) {
    let store = recorded(harness, 30);
    let report = verify(&store).unwrap();
    assert!(report.is_sound(), "{report}");
    // As other software may leave it.
    let claim = Change::Claim { group: key("net") };
    let more = append_numbers(&*store, "net/step", 30, 5..6);
    commit(&*store, vec![claim, more]).unwrap();
    let report = verify(&store).unwrap().to_string();
    for part in [
        "'net'",
        "'n' has 30",
        "31 ticks",
        "'step' does not increase at tick 30",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}
