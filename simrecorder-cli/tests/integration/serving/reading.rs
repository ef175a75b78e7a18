//! What the page reads: figures at every zoom level, records, values.

use serde_json::{Value as Json, json};
use simrecorder::{Coordinate, Object, Recorder, Schema};

use super::Server;
use crate::support::{Places, create, runs};

/// The smallest and the largest number of a line, and their positions.
fn extremes(figure: &Json) -> [(f64, f64); 2] {
    let parts = figure["lines"][0]["parts"].as_array().unwrap();
    let points = parts.iter().flat_map(|part| part.as_array().unwrap());
    let points: Vec<_> = points
        .map(|point| (point[0].as_f64().unwrap(), point[1].as_f64().unwrap()))
        .collect();
    let least = points
        .iter()
        .copied()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap();
    let most = points
        .iter()
        .copied()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap();
    [least, most]
}

#[test]
fn one_deviating_record_of_a_hundred_million_is_seen_at_every_zoom_level() {
    const LEN: u64 = 100_000_000;
    const DEVIATING: u64 = 61_234_567;
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    let series = recorder.series::<u8>("v").unwrap();
    for index in 0..LEN {
        series.record(u8::from(index == DEVIATING)).unwrap();
    }
    recorder.close().unwrap();
    let server = Server::start(&[&run]);
    let mut width = LEN;
    while width > 4 {
        let from = DEVIATING.saturating_sub(width / 3);
        let to = from + width;
        let path = format!("figure?recording=0&key=v&columns=300&from={from}&to={to}");
        let [least, most] = extremes(&server.json(&path));
        assert_eq!((least.1, most.1), (0.0, 1.0), "{path}");
        let distance = (most.0 - DEVIATING as f64).abs();
        assert!(
            distance <= 1.5 * width as f64 / 300.0 + 1.0,
            "{path}: {}",
            most.0
        );
        width /= 5;
    }
}

#[test]
fn one_deviating_record_of_millions_is_seen_at_every_zoom_level() {
    const LEN: u32 = 2_000_000;
    const DEVIATING: u32 = 1_234_567;
    const COLUMNS: usize = 100;
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    let mut net = recorder
        .timeline("net", Coordinate::new("time").units("ms"))
        .unwrap();
    for step in 0..LEN {
        net.advance(f64::from(step) * 0.5).unwrap();
        let x = match step {
            DEVIATING => 99.0,
            // Directly next to it, so that an error of one record is noticed.
            _ if step == DEVIATING + 1 => -7.0,
            _ => f64::from(step % 10),
        };
        net.record("rate", x).unwrap();
    }
    net.finish().unwrap();
    recorder.close().unwrap();
    let server = Server::start(&[&run]);
    for (by, unit) in [("", 0.5), ("&index=1", 1.0)] {
        let place = f64::from(DEVIATING) * unit;
        let (mut from, mut to) = (0.0, f64::from(LEN) * unit);
        while to - from > 4.0 * unit {
            let path = format!(
                "figure?recording=0&key=net/rate&columns={COLUMNS}&from={from}&to={to}{by}"
            );
            let figure = server.json(&path);
            let width = (to - from) / COLUMNS as f64;
            let [least, most] = extremes(&figure);
            assert_eq!((least.1, most.1), (-7.0, 99.0), "{path}");
            for (x, _) in [least, most] {
                // In its column, or in the next one if the column ends within a block.
                assert!(
                    (x - place).abs() <= 1.5 * width + unit,
                    "{path}: {x} {place}"
                );
            }
            assert_eq!(
                (figure["x"]["start"].as_f64(), figure["x"]["end"].as_f64()),
                (Some(from), Some(to))
            );
            // Zoom in, never with the record in the middle.
            let part = (to - from) / 3.0;
            (from, to) = (place - part * 0.3, place + part * 0.5);
        }
        // Finally single records, and one next to the window.
        let (from, to) = (place - unit, place + unit);
        let path = format!("figure?recording=0&key=net/rate&from={from}&to={to}{by}");
        let figure = server.json(&path);
        let points = &figure["lines"][0]["parts"][0];
        let numbers: Vec<_> = points
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point[1].clone())
            .collect();
        assert_eq!(numbers, [json!(5.0), json!(6.0), json!(99.0), json!(-7.0)]);
        assert_eq!(figure["note"], "4 of 4 points");
    }
    let all = server.json("figure?recording=0&key=net/rate&columns=100");
    assert!(
        all["note"]
            .as_str()
            .unwrap()
            .contains(" of 2 000 000 points"),
        "{}",
        all["note"]
    );
}

#[test]
fn a_figure_follows_a_series_that_grows_and_is_cut() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    let record = |x: f64, count: usize| {
        for _ in 0..count {
            recorder.record("v", x).unwrap();
        }
        recorder.flush().unwrap();
    };
    record(1.0, 900_000);
    let server = Server::start(&[&run]);
    let figure = || server.json("figure?recording=0&key=v&columns=100");
    let range = || {
        let [(_, least), (_, most)] = extremes(&figure());
        (least, most)
    };
    assert_eq!(range(), (1.0, 1.0));
    record(2.0, 700);
    assert_eq!(range(), (1.0, 2.0));
    record(-3.0, 5000);
    assert_eq!(range(), (-3.0, 2.0));
    recorder.truncate("v", 900_000).unwrap();
    recorder.flush().unwrap();
    assert_eq!(range(), (1.0, 1.0));
    recorder.truncate("v", 10).unwrap();
    record(5.0, 950_000);
    assert_eq!(range(), (1.0, 5.0));
    assert!(
        figure()["note"]
            .as_str()
            .unwrap()
            .contains(" of 950 010 points")
    );
}

#[test]
fn a_figure_shows_what_a_resumed_run_has_recorded_again() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let record = |recorder: &Recorder, x: f64, count: usize| {
        for _ in 0..count {
            recorder.record("v", x).unwrap();
        }
    };
    let recorder = Recorder::new(create(&run));
    record(&recorder, 1.0, 900_000);
    recorder.close().unwrap();
    drop(recorder);
    let server = Server::start(&[&run]);
    let most = || extremes(&server.json("figure?recording=0&key=v&columns=100"))[1].1;
    assert_eq!(most(), 1.0);
    assert_eq!(server.json("recordings")[0]["state"], "ended");

    let recorder = Recorder::new(simrecorder::append(&run).unwrap());
    recorder.truncate("v", 100_000).unwrap();
    record(&recorder, 5.0, 1000);
    // With the same length and the same end as before.
    record(&recorder, 1.0, 800_000);
    recorder.flush().unwrap();
    assert_eq!(server.json("recordings")[0]["state"], "recording");
    assert_eq!(most(), 5.0);
}

#[test]
fn nan_and_infinities_are_distinguished() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    for x in [1.0, f64::NAN, 2.0, f64::INFINITY, 3.0, f64::NEG_INFINITY] {
        recorder.record("v", x).unwrap();
    }
    recorder.close().unwrap();
    let server = Server::start(&[&run]);
    let figure = server.json("figure?recording=0&key=v");
    assert_eq!(figure["lines"][0]["nan"], json!([1.0, 3.0, 5.0]));
    assert_eq!(
        figure["lines"][0]["parts"],
        json!([[[0.0, 1.0]], [[2.0, 2.0]], [[4.0, 3.0]]])
    );
    let records = server.json("records?recording=0&key=v");
    let values: Vec<_> = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["value"].clone())
        .collect();
    let expected = [
        json!(1.0),
        json!("NaN"),
        json!(2.0),
        json!("Infinity"),
        json!(3.0),
        json!("-Infinity"),
    ];
    assert_eq!(values, expected);
    assert_eq!(
        server.json("last?recording=0")["rows"][0]["value"],
        "-Infinity"
    );
}

#[test]
fn records_and_values_are_read_on_every_backend() {
    let places = Places::new();
    let recordings = runs(&places);
    let arguments: Vec<&str> = recordings.iter().map(|run| &**run).collect();
    let server = Server::start(&arguments);
    for number in 0..recordings.len() {
        let json = |path: &str| server.json(&path.replace('#', &number.to_string()));
        let children = json("children?recording=#");
        assert_eq!(
            children,
            json!([["events", "group"], ["meta", "group"], ["net", "group"]])
        );
        assert_eq!(
            json("search?recording=#&text=RAT"),
            json!({"keys": [["net/rate", "series"]], "total": 1})
        );
        let nodes = json("nodes?recording=#&key=net/v&key=nothing&key=meta/seed");
        assert_eq!(
            (
                &nodes[0]["units"],
                &nodes[1]["value"],
                nodes.as_array().unwrap().len()
            ),
            (&json!("mV"), &json!(42), 2)
        );
        assert_eq!(
            json("node?recording=#&key=net/v")["attributes"],
            json!({"units": "mV"})
        );
        let records = json("records?recording=#&key=net/rate&first=1&count=3");
        assert_eq!(records["len"], 20);
        let record = json!({"index": 1, "coordinate": {"time": 0.5}, "value": 1.0});
        assert_eq!(records["records"][0], record);
        assert_eq!(records["records"][2]["value"], "NaN");
        assert_eq!(
            json("records?recording=#&key=events/rows&count=1")["records"][0]["value"],
            json!([3, 3, 3])
        );
        let found = json(
            "records?recording=#&key=events/log&text=LINE 2"
                .replace(' ', "%20")
                .as_str(),
        );
        assert_eq!(
            (&found["found"], &found["records"][0]["index"]),
            (&json!(1), &json!(2))
        );
        let last = json("last?recording=#");
        assert_eq!((&last["total"], &last["is_all"]), (&json!(2), &json!(true)));
        let rate =
            json!({"key": "net/rate", "len": 20, "value": 19.0, "coordinate": {"time": 9.5}});
        assert_eq!(last["rows"][0], rate);
        let sparklines =
            json("sparklines?recording=#&key=net/rate&key=net/v&key=events/log&columns=2");
        assert_eq!(
            sparklines,
            json!([{"key": "net/rate", "min": [0.0, 10.0], "max": [9.0, 19.0], "last": 19.0, "nan": 1}])
        );
        for (key, marks) in [
            ("net/rate", "lines"),
            ("net/v", "cells"),
            ("events/rows", "cells"),
        ] {
            let figure = json(&format!("figure?recording=#&key={key}&columns=50&rows=50"));
            assert!(!figure[marks].is_null(), "{key}: {figure}");
        }
    }
    let both = server.json("figure?recording=0&recording=1&key=net/rate");
    let labels: Vec<_> = both["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["label"].clone())
        .collect();
    assert_eq!(labels, ["run.mdb: net/rate", "run.zarr: net/rate"]);
}

#[test]
fn long_values_are_shortened_and_say_so() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    recorder.record("text", "x".repeat(10_000)).unwrap();
    recorder.record("short", "x").unwrap();
    recorder
        .declare("field", Schema::array::<f32>([5000]))
        .unwrap();
    recorder.record("field", vec![1_f32; 5000]).unwrap();
    recorder
        .record("object", Object(json!({"list": vec![1; 5000]})))
        .unwrap();
    recorder.set("value", vec![2_u8; 5000]).unwrap();
    recorder.close().unwrap();
    let server = Server::start(&[&run]);
    let record =
        |key: &str| server.json(&format!("records?recording=0&key={key}"))["records"][0].take();
    assert_eq!(record("text")["value"].as_str().unwrap().len(), 2000);
    assert_eq!(record("field")["value"].as_array().unwrap().len(), 1000);
    assert!(record("object")["value"]["list"].as_array().unwrap().len() <= 1000);
    for key in ["text", "field", "object"] {
        assert_eq!(record(key)["truncated"], true, "{key}");
    }
    assert_eq!(record("short"), json!({"index": 0, "value": "x"}));
    let value = server.json("node?recording=0&key=value");
    assert_eq!(
        (
            value["value"].as_array().unwrap().len(),
            &value["truncated"]
        ),
        (1000, &json!(true))
    );
}

#[test]
fn the_demo_has_something_for_each_kind_of_panel() {
    let server = Server::start(&["--demo"]);
    let found = server.json("search?recording=0&text=");
    let keys: Vec<_> = found["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key[0].as_str().unwrap())
        .collect();
    for key in [
        "net/rate",
        "net/v",
        "net/spikes",
        "field/concentration",
        "field/density",
        "log",
        "meta/seed",
    ] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    let figure = |key: &str| {
        server.json(&format!(
            "figure?recording=0&key={key}&columns=100&rows=100"
        ))
    };
    assert!(figure("net/rate")["lines"].is_array());
    for key in [
        "net/v",
        "net/spikes",
        "field/concentration",
        "field/density%5B-1,3%5D",
    ] {
        assert!(figure(key)["cells"]["picture"].is_string(), "{key}");
    }
    assert!(server.json("records?recording=0&key=log")["len"].as_u64() > Some(5));
    assert_eq!(server.json("recordings")[0]["state"], "recording");
}
