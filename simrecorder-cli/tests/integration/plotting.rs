//! `plot`, and images of `export`.

use std::path::Path;

use serde_json::Value as Json;
use simrecorder::ndarray::{Array2, Array3};
use simrecorder::{Coordinate, Ragged, Recorder, Schema};
use simrecorder_testkit::{assert_success, python};

use crate::support::{Places, create, error, json_lines, runs, simrec, stdout};

/// The index of the outlier among the records of `deviating`, and their number.
const DEVIATING: u64 = 123_456;
const RECORDS: u64 = 1_000_000;

/// Records data for each kind of plot, and a timeline whose ticks are not evenly spaced.
fn record_plots(recorder: &Recorder) {
    let deviating = recorder.series::<f32>("deviating").unwrap();
    for i in 0..RECORDS {
        deviating
            .record(if i == DEVIATING { -5.0 } else { (i % 3) as f32 })
            .unwrap();
    }
    let mut net = recorder
        .timeline("net", Coordinate::new("time").units("ms"))
        .unwrap();
    for step in 0..200_u32 {
        net.advance(f64::from(step) + f64::from(step * step) / 100.0)
            .unwrap();
        let wave = |i: u32| (f64::from(step) / 20.0 + f64::from(i)).sin();
        net.record("rate", if step == 50 { f64::NAN } else { wave(0) })
            .unwrap();
        net.record("v", (0..12).map(wave).collect::<Vec<_>>())
            .unwrap();
        net.record("xy", [wave(0), wave(2)]).unwrap();
        let spikes = (0..30).filter(|i| (step * 7 + i * 13) % 31 == 0);
        net.record("spikes", Ragged(spikes.collect::<Vec<_>>()))
            .unwrap();
    }
    net.finish().unwrap();
    for frame in 0..3_u32 {
        let field = Array2::from_shape_fn((30, 40), |(y, x)| {
            f64::from(frame) + y as f64 * 40.0 + x as f64
        });
        recorder.record("field", &field).unwrap();
        let pixel = |x: usize| (x as u32 * 7 + frame) as u8;
        recorder
            .record(
                "grey",
                Array2::from_shape_fn((9, 5), |(y, x)| pixel(y * 5 + x)),
            )
            .unwrap();
        let colours = Array3::from_shape_fn((9, 5, 3), |(y, x, c)| pixel((y * 5 + x) * 3 + c));
        recorder.record("colours", &colours).unwrap();
        let deep = Array2::from_shape_fn((9, 5), |(y, x)| (y * 5 + x) as u16 * 300);
        recorder.record("deep", &deep).unwrap();
        let mask = Array2::from_shape_fn((9, 5), |(y, x)| (x + y) % 2 == 0);
        recorder.record("mask", &mask).unwrap();
    }
}

fn plots(places: &Places) -> String {
    let run = places.path("plots.mdb");
    let recorder = Recorder::new(create(&run));
    record_plots(&recorder);
    recorder.close().unwrap();
    run
}

/// NumPy computes from the data where the pixels must be. One of a million records is an outlier.
#[test]
fn pictures_show_what_numpy_computes_from_the_data() {
    let places = Places::new();
    let run = plots(&places);
    for key in [
        "deviating",
        "net/time",
        "net/rate",
        "net/v",
        "field",
        "grey",
        "colours",
        "deep",
        "mask",
    ] {
        let file = places.path(&format!("{}.npy", key.replace('/', "-")));
        stdout(&["export", &run, key, "-o", &file]);
    }
    stdout(&[
        "export",
        &run,
        "net/spikes",
        "-o",
        &places.path("spikes.jsonl"),
    ]);
    let pictures: &[&[&str]] = &[
        &["deviating"],
        &["net/rate"],
        &["net/v"],
        &["net/spikes"],
        &["field[1]"],
        &["net/v", "--as", "histogram", "--bins", "20"],
    ];
    for (name, arguments) in ["deviating", "rate", "v", "spikes", "field", "histogram"]
        .iter()
        .zip(pictures)
    {
        for extension in ["png", "svg"] {
            let file = places.path(&format!("{name}.{extension}"));
            stdout(
                &[
                    &["plot", &run],
                    *arguments,
                    &["-o", &file, "--size", "800x500"],
                ]
                .concat(),
            );
        }
    }
    for key in ["grey", "colours", "deep", "mask"] {
        stdout(&[
            "export",
            &run,
            &format!("{key}[1]"),
            "-o",
            &places.path(&format!("{key}.png")),
        ]);
    }
    let program = "simrecorder-cli/tests/python/check_plots.py";
    assert_success(python(program).arg(places.path("")));
}

/// The terminal is a pseudo-terminal of Python, with 100 columns and 30 rows.
#[test]
fn a_terminal_shows_plots_in_colours_that_fit_into_it() {
    let places = Places::new();
    let run = plots(&places);
    let program = "simrecorder-cli/tests/python/check_terminal_plots.py";
    assert_success(python(program).arg(simrec(&[]).get_program()).arg(&run));
}

#[test]
fn lines_are_drawn_of_every_backend_with_their_coordinate_and_without_colours_in_a_pipe() {
    let places = Places::new();
    for run in runs(&places) {
        let text = stdout(&["plot", &run, "net/rate"]);
        assert!(text.starts_with("net/rate\n20"), "{text}");
        assert!(text.contains("time [ms]"), "{text}");
        assert!(text.ends_with("19 of 20 points; 1 NaN\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let figure = &json_lines(&["plot", &run, "net/rate", "--json"])[0];
        let parts = figure["lines"][0]["parts"].as_array().unwrap();
        // NaN interrupts the line.
        let lens: Vec<_> = parts
            .iter()
            .map(|part| part.as_array().unwrap().len())
            .collect();
        assert_eq!(lens, [3, 16]);
        assert_eq!(parts[1][0], Json::from(vec![2.0, 4.0]));
        let figure =
            &json_lines(&["plot", &run, "net/rate", "--json", "--index", "--from", "8"])[0];
        assert_eq!(
            figure["lines"][0]["parts"][0][0],
            Json::from(vec![0.0, 16.0])
        );
    }
}

#[test]
fn several_recordings_and_series_share_one_plot() {
    let places = Places::new();
    let run = &runs(&places)[0];
    let other = places.path("other.mdb");
    stdout(&["copy", run, &other, "--select", "time=2..4"]);
    let of = |arguments: &[&str]| {
        let figure = json_lines(&[&["plot", run, "--json"], arguments].concat()).remove(0);
        let lines = figure["lines"].as_array().unwrap();
        lines
            .iter()
            .map(|line| line["label"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(&["net/rate", "--with", &other]),
        ["run.mdb: net/rate", "other.mdb: net/rate"]
    );
    assert_eq!(
        of(&["net/v[:, 0]"]),
        ["net/v[:, 0][:, 0]", "net/v[:, 0][:, 1]"]
    );
    assert_eq!(
        of(&["net/v[:, 0, 1]", "net/rate"]),
        ["net/v[:, 0, 1]", "net/rate"]
    );
    // A coordinate is an axis, not a line.
    assert_eq!(of(&["net/[rt]*"]), ["net/rate"]);
    let text = stdout(&["plot", run, "net/rate", "--with", &other]);
    assert!(
        text.contains("• run.mdb: net/rate  × other.mdb: net/rate"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_plotted_is_named_and_leaves_no_file() {
    let places = Places::new();
    let run = plots(&places);
    let file = places.path("x.png");
    let failed = |arguments: &[&str], expected: &str| {
        let line = error(2, &[&["plot", &run], arguments, &["-o", &file]].concat());
        assert!(line.contains(expected), "{line}");
        assert!(!Path::new(&file).exists());
    };
    failed(&["net/rat"], "the nearest keys are 'net/rate'");
    failed(
        &["net/rate", "--as", "image"],
        "an image shows a record of two dimensions",
    );
    failed(
        &["net/v", "net/rate", "--as", "heat-map"],
        "a plot as heat-map shows one series, and 2 were given; plot one",
    );
    failed(
        &["field", "--as", "lines"],
        "select an element, as in 'KEY[:, 3]'",
    );
    failed(
        &["net/rate", "--size", "1x1"],
        "give a width and a height from 300 to 4000 pixels",
    );
    failed(&["net/rate", "--bins", "0"], "--bins");
    let line = error(2, &["plot", &run, "net/rate", "-o", &places.path("x.gif")]);
    assert!(line.contains("end it in .svg or .png"), "{line}");
    let run = &runs(&places)[0];
    let line = error(2, &["plot", run, "events/log"]);
    assert!(
        line.contains("'events/log': the series is text; only real numbers can be plotted"),
        "{line}"
    );
    let line = error(2, &["export", run, "net/v[0]", "-o", &file]);
    assert!(
        line.contains("no image") && line.contains("simrec plot"),
        "{line}"
    );
    std::fs::write(&file, "before").unwrap();
    let line = error(2, &["plot", run, "net/rate", "-o", &file]);
    assert!(line.contains("this path already exists"), "{line}");
}

/// Empty series, one record, equal records, the largest numbers, and only NaN.
#[test]
fn series_of_any_numbers_are_drawn() {
    let places = Places::new();
    let run = places.path("odd.mdb");
    let recorder = Recorder::new(create(&run));
    recorder.declare("empty", Schema::scalar::<f64>()).unwrap();
    recorder.record("one", 1.5).unwrap();
    for x in [
        f64::MAX,
        f64::MIN,
        f64::INFINITY,
        f64::NAN,
        0.0,
        f64::NEG_INFINITY,
        5e-324,
    ] {
        recorder.record("extreme", x).unwrap();
        recorder.record("nan", f64::NAN).unwrap();
        recorder.record("equal", -7_i8).unwrap();
        recorder.record("large", u64::MAX).unwrap();
        recorder.record("arrays", vec![x; 20]).unwrap();
        recorder.record("rows", Ragged(vec![x; 2])).unwrap();
        recorder.record("none", Ragged(Vec::<f64>::new())).unwrap();
        recorder
            .record("without", Array2::<f32>::zeros((0, 3)))
            .unwrap();
    }
    let row = |row: &[f64]| {
        recorder
            .record("beside infinity", Ragged(row.to_vec()))
            .unwrap()
    };
    row(&[f64::INFINITY, 1.0]);
    row(&[2.0]);
    recorder.close().unwrap();
    let keys = [
        "empty", "one", "extreme", "nan", "equal", "large", "arrays", "rows", "none",
    ];
    for key in keys {
        for form in ["lines", "histogram", "raster", "heat-map"] {
            let arguments = ["plot", &run, key, "--as", form];
            for extra in [
                &[][..],
                &["--log"],
                &["--json"],
                &["--force", "-o", &places.path("x.svg")],
            ] {
                let ended = simrec(&[&arguments[..], extra].concat()).output().unwrap();
                let status = ended.status.code().unwrap();
                let text = String::from_utf8(ended.stderr).unwrap();
                assert!(
                    status == 0 && text.is_empty() || status == 2 && text.lines().count() == 1,
                    "{key} {form}: {text}"
                );
            }
        }
        stdout(&["plot", &run, key]);
    }
    stdout(&["plot", &run, "without[0]"]);
    let text = stdout(&["plot", &run, "beside infinity"]);
    assert!(
        text.ends_with("2 of 3 events; 1 are not finite\n"),
        "{text}"
    );
    let text = stdout(&["plot", &run, "extreme"]);
    assert!(
        text.ends_with("4 of 7 points; 1 NaN; infinities are not drawn\n"),
        "{text}"
    );
    let text = stdout(&["plot", &run, "extreme", "--log"]);
    assert!(
        text.ends_with(
            "2 of 7 points; 1 NaN; values that are infinite or not above 0 are not drawn\n"
        ),
        "{text}"
    );
}

#[test]
fn coordinates_that_are_not_sorted_are_drawn_where_they_are_or_by_index() {
    let places = Places::new();
    let run = places.path("unsorted.mdb");
    let recorder = Recorder::new(create(&run));
    let of_time = |schema: Schema, names: &[&str]| schema.with_dimension_names(names.to_vec());
    recorder
        .declare("u/y", of_time(Schema::scalar::<f64>(), &["time"]))
        .unwrap();
    recorder
        .declare("u/m", of_time(Schema::array::<f64>([20]), &["time", "x"]))
        .unwrap();
    for time in [3.0, 1.0, 5.0, f64::NAN, 2.0] {
        recorder.record("u/time", time).unwrap();
        recorder.record("u/y", -time).unwrap();
        recorder.record("u/m", vec![time; 20]).unwrap();
    }
    recorder
        .record("empty", Array2::<f64>::zeros((3, 0)))
        .unwrap();
    recorder.close().unwrap();
    let figure = &json_lines(&["plot", &run, "u/y", "--json"])[0];
    assert_eq!(
        (&figure["x"]["start"], &figure["x"]["end"]),
        (&Json::from(1.0), &Json::from(5.0))
    );
    assert_eq!(
        figure["note"],
        "4 of 5 points; 1 without a finite coordinate"
    );
    assert_eq!(
        figure["lines"][0]["parts"][0][1],
        Json::from(vec![1.0, -1.0])
    );
    let figure = &json_lines(&["plot", &run, "u/m", "--json"])[0];
    assert_eq!(
        (&figure["x"]["label"], &figure["x"]["end"]),
        (&Json::from("index"), &Json::from(4.5))
    );
    // Nothing is drawn for records without elements.
    assert!(
        stdout(&["plot", &run, "empty[:, 0]", "--as", "heat-map"]).ends_with("0 of 0 elements\n")
    );
}
