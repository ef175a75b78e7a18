//! Coordinates that other software wrote, and coordinates that it reads.

use std::path::Path;

use serde_json::json;
use simrecorder_core::{
    ChunkPolicy, Coordinate, CoordinateType, DataStore, Labeled, OpenMode, Recorder, Result,
    Schema, View,
};

use crate::{assert_success, python};

/// The days that `write_coordinates.py` wrote.
const DAYS: u64 = 300;

/// The value of an element of the array, whose elements count from 0 over days, 19 latitudes and 4
/// levels.
#[track_caller]
fn check_first(part: &View, shape: &[u64], [day, lat, level]: [i64; 3]) {
    assert_eq!(part.shape(), shape);
    let first = part.read::<i64>().unwrap().into_iter().next();
    assert_eq!(first, Some((day * 19 + lat) * 4 + level));
}

/// Creates a file with `write_coordinates.py`, which gets `arguments` after the path, and selects in it by its
/// coordinates, which are the stored numbers.
pub fn what_xarray_wrote_is_selected_by_coordinates<S: DataStore + 'static>(
    path: &Path,
    arguments: &[&str],
    open: impl FnOnce(OpenMode) -> Result<S>,
) {
    let mut writer = python("simrecorder-testkit/python/write_coordinates.py");
    assert_success(writer.arg(path).args(arguments));
    let recorder = Recorder::new(open(OpenMode::Read).unwrap());

    let group = recorder.group("").unwrap();
    for t in [
        recorder.get_all("t").unwrap(),
        group.view("t").unwrap().clone(),
    ] {
        let time = t.coordinate(0).unwrap().unwrap();
        let days = time.read::<i64>().unwrap();
        assert!(days.into_iter().eq(0..DAYS as i64));
        let units = time.attributes()["units"].as_str().unwrap();
        assert!(units.starts_with("days since 2000-01-01"), "{units}");

        check_first(
            &t.select_by("time", 30..60).unwrap(),
            &[30, 19, 4],
            [30, 0, 0],
        );
        check_first(
            &t.select_by("time", 298.5..).unwrap(),
            &[1, 19, 4],
            [299, 0, 0],
        );
        let tropics = t.select_by("lat", -23.5..=23.5).unwrap();
        check_first(&tropics, &[DAYS, 5, 4], [0, 7, 0]);
        let lat = tropics.coordinate(1).unwrap().unwrap();
        let expected = [20.0, 10.0, 0.0, -10.0, -20.0];
        assert_eq!(lat.read::<f64>().unwrap().as_slice(), Some(&expected[..]));
        check_first(
            &t.select_by("level", 900..).unwrap(),
            &[DAYS, 19, 1],
            [0, 0, 1],
        );
        let apart = t.select_by("level", 400.0..).unwrap_err().to_string();
        assert!(apart.contains("not sorted"), "{apart}");

        assert_eq!(t.nearest("time", 12.4).unwrap(), 12);
        assert_eq!(t.nearest("lat", 44).unwrap(), 5);
        assert_eq!(t.nearest("lat", 45).unwrap(), 4);
        assert_eq!(t.nearest("level", 250_u64).unwrap(), 2);
    }
    let v = recorder.get_all("hours/v").unwrap();
    let part = v.select_by("time", 1.0..2.0).unwrap();
    assert_eq!(
        part.read::<i64>().unwrap().as_slice(),
        Some(&[4, 5, 6, 7][..])
    );
    assert_eq!(v.nearest("time", 74.3).unwrap(), 297);
}

/// Records ten ticks of a timeline with a static coordinate. Its elements count the ticks.
fn record_timeline<T: CoordinateType>(
    recorder: &Recorder,
    group: &str,
    coordinate: Coordinate,
    at: impl Fn(u32) -> T,
) {
    let name = coordinate.name().to_owned();
    let x = Labeled::new([0.0, 0.5, 1.0], ["x"]).units("m");
    recorder.set(format!("{group}/x"), x).unwrap();
    let mut timeline = recorder.timeline(group, coordinate).unwrap();
    let u = Schema::array::<f64>([3]).with_dimension_names([&*name, "x"]);
    let u = u.with_chunk_policy(ChunkPolicy::records(4));
    timeline.declare("u", u).unwrap();
    for tick in 0..10 {
        timeline.advance(at(tick)).unwrap();
        timeline.record("v", f64::from(tick)).unwrap();
        timeline.record("u", [f64::from(tick); 3]).unwrap();
    }
    timeline.finish().unwrap();
}

/// Records timelines whose coordinates have units of several forms, two of them with one name at two rates, and runs
/// `read_timelines.py`, which selects in them by time. `path` is that of the store.
pub fn other_software_selects_by_the_coordinate_of_a_timeline<S: DataStore + 'static>(
    path: &Path,
    store: S,
) {
    let recorder = Recorder::new(store);
    let time = |units: &str| Coordinate::new("time").units(units);
    for (group, units, step) in [
        ("fast", "ms", 0.1),
        ("slow", "ms", 10.0),
        ("seconds", "seconds", 0.5),
    ] {
        record_timeline(&recorder, group, time(units), |tick| f64::from(tick) * step);
    }
    let dates = time("nanoseconds since 1970-01-01");
    let now = 1_700_000_000_123_456_789;
    record_timeline(&recorder, "dates", dates, |tick| now + i64::from(tick));
    let step = Coordinate::new("step");
    record_timeline(&recorder, "steps", step, |tick| u64::from(tick) * 100);

    // The type of the index, and its type when durations are decoded.
    let expected = json!({
        "fast": ["time", "float64", "float64"],
        "slow": ["time", "float64", "float64"],
        "seconds": ["time", "float64", "timedelta64[ns]"],
        "dates": ["time", "datetime64[ns]", "datetime64[ns]"],
        "steps": ["step", "uint64", "uint64"],
    });
    let read = |state| {
        let mut reader = python("simrecorder-testkit/python/read_timelines.py");
        assert_success(reader.arg(path).arg(expected.to_string()).arg(state));
    };
    recorder.flush().unwrap();
    // Readers of the other forms see what a commit changed later.
    if path.extension().is_some_and(|it| it == "mdb") {
        read("growing");
    }
    recorder.close().unwrap();
    read("closed");
}
