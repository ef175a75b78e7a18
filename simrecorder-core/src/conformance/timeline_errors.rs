//! Errors of timelines, after which nothing is lost.

use super::Harness;
use super::support::{attributes, check_numbers, check_reopened, expect_error, recorder};
use crate::error::ErrorKind;
use crate::model::schema::Schema;
use crate::recorder::{Coordinate, Recorder, TIMELINE_ATTRIBUTE, Timeline};
use crate::store::open_mode::OpenMode;

fn time() -> Coordinate {
    Coordinate::new("time")
}

/// A timeline with a series `v` and some ticks.
fn open_net(recorder: &Recorder) -> Timeline<f64> {
    let mut net = recorder.timeline("net", time()).unwrap();
    for tick in 0..4_u64 {
        net.tick(tick as f64, [("v", tick)]).unwrap();
    }
    net
}

/// Checks that the timeline has the first ticks and nothing else.
#[track_caller]
fn check_net(recorder: &Recorder, len: u64) {
    let net = recorder.group("net").unwrap();
    let names: Vec<_> = net.series().map(|(name, _)| name).collect();
    assert_eq!(names, ["time", "v"]);
    assert_eq!(net.view("time").unwrap().len(), len);
    check_numbers(net.view("v").unwrap(), 0..len);
}

/// The coordinate increases; a tick that does not is an error that names it.
pub fn ticks_out_of_order_are_refused_and_the_tick_before_stays(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = writer.timeline("net", time()).unwrap();
    expect_error(
        net.advance(f64::NAN),
        ErrorKind::InvalidArgument,
        &["net/time", "NaN"],
    );
    expect_error(
        net.record("v", 0_u64),
        ErrorKind::InvalidArgument,
        &["net/v", "advance()"],
    );
    net.advance(f64::NEG_INFINITY).unwrap();
    net.discard_tick();
    net.advance(0.0).unwrap();
    net.record("v", 0_u64).unwrap();
    for wrong in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
        let number = wrong.to_string();
        expect_error(
            net.advance(wrong),
            ErrorKind::InvalidArgument,
            &["net/time", &number],
        );
    }
    assert_eq!((net.len(), net.last()), (0, None));
    net.advance(1.0).unwrap();
    net.record("v", 1_u64).unwrap();
    writer.close().unwrap();
    check_reopened(harness, |reader| check_net(reader, 2));
}

/// The error names series, tick and remedy, and the missing record may follow.
pub fn a_tick_with_a_missing_or_second_record_is_refused_and_stays_open(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = open_net(&writer);
    net.advance(4.0).unwrap();
    for _ in 0..2 {
        let missing = [
            "'net'",
            "'net/v'",
            "tick 4 (time = 4)",
            "discard_tick()",
            "fill value",
        ];
        expect_error(net.advance(5.0), ErrorKind::InvalidArgument, &missing);
    }
    net.record("v", 4_u64).unwrap();
    let second = [
        "net/v",
        "tick 4 (time = 4)",
        "advance()",
        "timeline of its own",
    ];
    expect_error(net.record("v", 5_u64), ErrorKind::InvalidArgument, &second);
    expect_error(
        net.record("v", "text"),
        ErrorKind::SchemaMismatch,
        &["net/v"],
    );
    expect_error(
        net.record("time", 5.0),
        ErrorKind::InvalidArgument,
        &["net/time", "advance()"],
    );
    expect_error(net.record("a/b", 5.0), ErrorKind::InvalidKey, &["a/b"]);
    expect_error(net.member(""), ErrorKind::InvalidKey, &[]);
    let mut other = writer.timeline::<f64>("other", time()).unwrap();
    let foreign = other.member("v").unwrap();
    expect_error(
        net.push(foreign, 5_u64),
        ErrorKind::InvalidArgument,
        &["'net'", "member()"],
    );
    net.advance(5.0).unwrap();
    assert_eq!((net.len(), net.last()), (5, Some(4.0)));
    expect_error(
        net.finish(),
        ErrorKind::InvalidArgument,
        &["net/v", "tick 5 (time = 5)"],
    );
    check_net(&writer, 5);
}

/// It would be shorter than the others.
pub fn a_series_that_joins_late_without_a_fill_value_is_refused(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = open_net(&writer);
    net.advance(4.0).unwrap();
    let late = ["net/late", "4 ticks", "fill value"];
    expect_error(net.record("late", 1.0), ErrorKind::InvalidArgument, &late);
    let declared = net.declare("late", Schema::scalar::<f64>());
    expect_error(declared, ErrorKind::InvalidArgument, &late);
    let named = Schema::scalar::<f64>().with_dimension_names(["step"]);
    expect_error(
        net.declare("v", named),
        ErrorKind::InvalidArgument,
        &["'time'", "'step'"],
    );
    net.record("v", 4_u64).unwrap();
    net.finish().unwrap();
    check_net(&writer, 5);
}

/// Even after the handle was finished, and after reopening.
pub fn series_of_a_timeline_are_recorded_through_its_handle_alone(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let check = |writer: &Recorder| {
        let refused = |key: &str| {
            let parts = [key, "'net'", "timeline"];
            expect_error(
                writer.record(key, 9_u64),
                ErrorKind::InvalidArgument,
                &parts,
            );
            let declared = writer.declare(key, Schema::scalar::<u64>());
            expect_error(declared, ErrorKind::InvalidArgument, &parts);
            let handle = writer.series::<u64>(key).map(|series| series.record(9_u64));
            expect_error(
                handle.unwrap_or_else(Err),
                ErrorKind::InvalidArgument,
                &parts,
            );
        };
        ["net/v", "net/new"].iter().for_each(|key| refused(key));
        writer.set("net/value", 1_u64).unwrap();
        writer.record("net/sub/free", 1_u64).unwrap();
        writer
            .set_attributes("net", attributes(serde_json::json!({"a": 1})))
            .unwrap();
        let net = writer.attributes("net").unwrap().unwrap();
        assert_eq!(
            (&net["a"], &net[TIMELINE_ATTRIBUTE]),
            (&1.into(), &"time".into())
        );
    };
    let mut net = open_net(&writer);
    let second = writer.timeline::<f64>("net", time());
    expect_error(second, ErrorKind::Locked, &["'net'", "finish()"]);
    check(&writer);
    net.tick(4.0, [("v", 4_u64)]).unwrap();
    net.finish().unwrap();
    check(&writer);
    writer.close().unwrap();
    drop(writer);
    let writer = recorder(harness, OpenMode::Append);
    check(&writer);
    writer
        .timeline::<f64>("net", time())
        .unwrap()
        .tick(5.0, [("v", 5_u64)])
        .unwrap();
    check_net(&writer, 6);
}

/// Each error says why, and changes nothing.
pub fn a_group_that_cannot_be_a_timeline_is_refused(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    writer.record("free/v", 1_u64).unwrap();
    writer.set("value", 1_u64).unwrap();
    open_net(&writer).finish().unwrap();
    let refuse = |group: &str, coordinate, kind, parts: &[&str]| {
        expect_error(writer.timeline::<f64>(group, coordinate), kind, parts);
    };
    use ErrorKind::{InvalidArgument, InvalidKey, KindMismatch};
    refuse(
        "free",
        time(),
        InvalidArgument,
        &["'free'", "'free/v'", "1 record"],
    );
    refuse("value", time(), KindMismatch, &["'value'"]);
    refuse("free/v", time(), KindMismatch, &["'free/v'"]);
    refuse(
        "net",
        Coordinate::new("step"),
        InvalidArgument,
        &["'net'", "'time'", "'step'"],
    );
    refuse("new", Coordinate::new("a/b"), InvalidKey, &["a/b"]);
    refuse("new", Coordinate::new(""), InvalidKey, &[]);
    let typed = writer.timeline::<u64>("net", time());
    expect_error(typed, ErrorKind::SchemaMismatch, &["float64", "uint64"]);
    // xarray refuses a group whose coordinate hides another one with the same name.
    refuse("net/sub", time(), InvalidArgument, &["net", "xarray"]);
    refuse("", time(), InvalidArgument, &["net", "xarray"]);
    let mut nested = writer.timeline("net/sub", Coordinate::new("step")).unwrap();
    nested.tick(1_u64, [("w", 0.5)]).unwrap();
    refuse(
        "net/sub/deep",
        Coordinate::new("step"),
        InvalidArgument,
        &["net/sub", "xarray"],
    );
    let mut root = writer.timeline("", Coordinate::new("day")).unwrap();
    root.tick(1_i64, [("x", 0.5)]).unwrap();
    expect_error(writer.record("y", 1.0), InvalidArgument, &["y", "timeline"]);
    root.finish().unwrap();
    nested.finish().unwrap();
    check_net(&writer, 4);
}

/// After removing, renaming and truncating, the series of a timeline have the same length.
pub fn series_of_a_timeline_are_never_left_out_of_step(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let net = open_net(&writer);
    writer.record("free", 1_u64).unwrap();
    for key in ["net", "net/v", "net/time"] {
        expect_error(writer.remove(key), ErrorKind::Locked, &["net", "finish()"]);
        expect_error(
            writer.rename(key, "moved"),
            ErrorKind::Locked,
            &["net", "finish()"],
        );
    }
    expect_error(
        writer.rename("free", "net/free"),
        ErrorKind::InvalidArgument,
        &["net"],
    );
    net.finish().unwrap();
    let coordinate = ["net/time", "coordinate"];
    expect_error(
        writer.remove("net/time"),
        ErrorKind::InvalidArgument,
        &coordinate,
    );
    expect_error(
        writer.rename("net/time", "t"),
        ErrorKind::InvalidArgument,
        &coordinate,
    );
    expect_error(
        writer.rename("free", "net/free"),
        ErrorKind::InvalidArgument,
        &["net"],
    );
    writer.truncate("net/v", 3).unwrap();
    check_net(&writer, 3);
    writer.truncate("net/time", 2).unwrap();
    check_net(&writer, 2);
    expect_error(
        writer.truncate("net/none", 1),
        ErrorKind::NotFound,
        &["net/none"],
    );
    writer.rename("net", "other").unwrap();
    let mut other = writer.timeline::<f64>("other", time()).unwrap();
    assert_eq!(other.last(), Some(1.0));
    other.tick(2.0, [("v", 2_u64)]).unwrap();
    other.finish().unwrap();
    writer.rename("other", "net").unwrap();
    check_net(&writer, 3);
    writer.remove("net/v").unwrap();
    assert_eq!(writer.get_all("net/time").unwrap().len(), 3);
    writer.remove("net").unwrap();
    writer.record("net/v", 1_u64).unwrap();
}
