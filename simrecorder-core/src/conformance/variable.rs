//! Records of variable size: ragged rows, text, bytes and objects.

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};

use super::Harness;
use super::support::{check_series, check_value, expect_error, recorder, value, write_and_check};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::dtype::DType;
use crate::model::kind::Kind;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::open_mode::OpenMode;

/// Rows of numbers with all lengths, including 0.
pub fn ragged_rows_keep_their_lengths(harness: &dyn Harness) {
    let lengths = [3, 0, 0, 1, 700, 0, 2, 64, 65, 63, 0];
    let row = |index: usize| -> Vec<u32> {
        (0..lengths[index] as u32)
            .map(|i| i + 1000 * index as u32)
            .collect()
    };
    write_and_check(
        harness,
        |recorder| {
            let small = Schema::ragged::<u32>([]).with_chunk_policy(ChunkPolicy::target_bytes(256));
            recorder.declare("small chunks", small).unwrap();
            let short = Schema::ragged::<u32>([]).with_chunk_policy(ChunkPolicy::records(3));
            recorder.declare("three rows", short).unwrap();
            for index in 0..lengths.len() {
                for key in ["small chunks", "three rows", "by itself"] {
                    recorder.record(key, Ragged(row(index))).unwrap();
                }
            }
        },
        |recorder| {
            let expected: Vec<_> = (0..lengths.len()).map(|i| value(row(i))).collect();
            for key in ["small chunks", "three rows", "by itself"] {
                check_series(recorder, key, &expected);
                let rows = recorder.get_all(key).unwrap().read_ragged::<u32>().unwrap();
                let found: Vec<_> = rows.rows().map(|row| row.len()).collect();
                assert_eq!(found, lengths, "{key}");
                assert_eq!(rows.values().len(), lengths.iter().sum::<usize>());
                assert_eq!(rows.row(3).unwrap(), ndarray::arr1(&row(3)).into_dyn());
                assert!(rows.row(lengths.len()).is_none());
            }
        },
    );
}

/// Rows of points or matrices, whose number may differ.
pub fn ragged_rows_of_arrays_keep_their_trailing_shape(harness: &dyn Harness) {
    let row = |len: usize, item: &[usize]| {
        let shape: Vec<usize> = [len].into_iter().chain(item.iter().copied()).collect();
        let len: usize = shape.iter().product();
        let elements = (0..len).map(|i| i as f64 + 0.5).collect();
        ArrayD::from_shape_vec(IxDyn(&shape), elements).unwrap()
    };
    let lengths = [2, 0, 5, 1, 0];
    let items: [&[usize]; 2] = [&[3], &[2, 2]];
    write_and_check(
        harness,
        |recorder| {
            for (number, item) in items.iter().enumerate() {
                for len in lengths {
                    let row = row(len, item);
                    recorder
                        .record(format!("rows{number}"), Ragged(row))
                        .unwrap();
                }
                let other = Ragged(ArrayD::<f64>::zeros(IxDyn(&[2, 4])));
                expect_error(
                    recorder.record(format!("rows{number}"), other),
                    ErrorKind::SchemaMismatch,
                    &["ragged rows of float64 items of shape [4]"],
                );
            }
        },
        |recorder| {
            for (number, item) in items.iter().enumerate() {
                let key = format!("rows{number}");
                let view = recorder.get_all(&key).unwrap();
                let item_shape: Vec<u64> = item.iter().map(|&len| len as u64).collect();
                assert_eq!(view.schema().record_shape(), item_shape);
                let expected: Vec<_> = lengths.iter().map(|&len| value(row(len, item))).collect();
                check_series(recorder, &key, &expected);
                let rows = view.read_ragged::<f64>().unwrap();
                assert_eq!(rows.row(2).unwrap(), row(5, item));
                assert_eq!(rows.row(4).unwrap(), row(0, item));
            }
        },
    );
}

/// A series may consist only of empty rows, empty text or empty bytes.
pub fn series_of_empty_records_alone_are_counted(harness: &dyn Harness) {
    let none: [f32; 0] = [];
    write_and_check(
        harness,
        |recorder| {
            for _ in 0..9 {
                recorder.record("rows", Ragged(none)).unwrap();
                recorder.record("text", "").unwrap();
                recorder.record("bytes", Blob([])).unwrap();
            }
        },
        |recorder| {
            check_series(recorder, "rows", &vec![value(none); 9]);
            check_series(recorder, "text", &vec![value(""); 9]);
            check_series(recorder, "bytes", &vec![value(Blob([])); 9]);
            let rows = recorder
                .get_all("rows")
                .unwrap()
                .read_ragged::<f32>()
                .unwrap();
            assert_eq!((rows.len(), rows.values().len()), (9, 0));
        },
    );
}

/// A ragged row whose items have no elements would lose its length.
pub fn ragged_rows_whose_items_have_no_elements_are_refused(harness: &dyn Harness) {
    let recorder = recorder(harness, OpenMode::CreateNew);
    let row = Ragged(ArrayD::<f64>::zeros(IxDyn(&[3, 0])));
    expect_error(
        recorder.record("rows", row),
        ErrorKind::InvalidArgument,
        &["rows"],
    );
    recorder.close().unwrap();
}

/// Single records may be larger than a chunk, a batch or the usual size of a commit.
pub fn variable_records_larger_than_a_chunk_come_back(harness: &dyn Harness) {
    let row: Vec<f64> = (0..200_000).map(f64::from).collect();
    let text = "größer 🧠 ".repeat(80_000);
    let noise: Vec<u8> = (0..1_500_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    write_and_check(
        harness,
        |recorder| {
            for len in [0, 1, row.len(), 10] {
                recorder.record("rows", Ragged(&row[..len])).unwrap();
            }
            for text in ["short", &text, "", &text] {
                recorder.record("text", text).unwrap();
            }
            for len in [noise.len(), 1, 0, noise.len() / 2] {
                recorder.record("bytes", Blob(&noise[..len])).unwrap();
            }
            recorder.record("objects", Object(&text)).unwrap();
        },
        |recorder| {
            let rows = [0, 1, row.len(), 10].map(|len| value(&row[..len]));
            check_series(recorder, "rows", &rows);
            check_series(recorder, "text", &["short", &text, "", &text].map(value));
            let bytes = [noise.len(), 1, 0, noise.len() / 2].map(|len| value(Blob(&noise[..len])));
            check_series(recorder, "bytes", &bytes);
            check_series(recorder, "objects", &[value(Object(&text))]);
        },
    );
}

const TEXTS: [&str; 12] = [
    "one line",
    "",
    "two\nlines\r\nand a tab\t",
    "NUL \0 within, and at the end \0",
    "größe Δt ≈ 0.1 µs",
    "日本語 العربية עברית हिन्दी",
    "🧠👩‍👩‍👧 e\u{301} é",
    "\u{feff}byte order mark",
    "\u{10ffff}\u{e000}\u{fffd}",
    "   spaces around   ",
    "\"quotes\" \\ 'back' `slash`",
    "\u{1}\u{1b}[31m control \u{7f}\u{85}",
];

/// Text of any content.
pub fn text_of_any_content_comes_back(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            for text in TEXTS {
                recorder.record("log", text).unwrap();
                recorder.record("log", text.to_owned()).unwrap();
            }
            for (index, text) in TEXTS.iter().enumerate() {
                recorder.set(format!("value {index}"), *text).unwrap();
            }
        },
        |recorder| {
            let view = recorder.get_all("log").unwrap();
            assert_eq!((view.kind(), view.dtype()), (Kind::Text, None));
            let twice: Vec<&str> = TEXTS.iter().flat_map(|text| [*text, *text]).collect();
            assert_eq!(view.read_text().unwrap(), twice);
            for (index, text) in TEXTS.iter().enumerate() {
                check_value(recorder, &format!("value {index}"), &value(*text));
            }
        },
    );
}

/// Bytes with any content and length.
pub fn bytes_of_any_content_come_back(harness: &dyn Harness) {
    let all: Vec<u8> = (0..=255).collect();
    let blobs: [&[u8]; 6] = [
        &all,
        b"",
        b"\0",
        b"\0\0\0",
        b"\xff\xfe not UTF-8 \xc3",
        &all[7..200],
    ];
    write_and_check(
        harness,
        |recorder| {
            for (index, blob) in blobs.iter().enumerate() {
                recorder.record("frames", Blob(blob)).unwrap();
                recorder.set(format!("value {index}"), Blob(blob)).unwrap();
            }
        },
        |recorder| {
            let view = recorder.get_all("frames").unwrap();
            assert_eq!((view.kind(), view.dtype()), (Kind::Bytes, None));
            check_series(recorder, "frames", &blobs.map(|blob| value(Blob(blob))));
            assert_eq!(view.read_bytes().unwrap(), blobs);
            let objects = view.read_objects::<u8>();
            let parts = &["frames", "read_bytes()"];
            expect_error(objects, ErrorKind::KindMismatch, parts);
            for (index, blob) in blobs.iter().enumerate() {
                check_value(recorder, &format!("value {index}"), &value(Blob(blob)));
            }
        },
    );
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Rule {
    Off,
    Rate(f64),
    Pair(i8, String),
    Named { tau: f32, inner: Option<Box<Rule>> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parameters {
    name: String,
    nan: f64,
    infinities: (f64, f32),
    negative_zero: f64,
    extremes: (i64, u64, i8, char, bool),
    some: Option<u8>,
    none: Option<u8>,
    rules: Vec<Rule>,
    nested: BTreeMap<String, BTreeMap<u32, Vec<Option<f64>>>>,
    empty: (Vec<u8>, BTreeMap<String, u8>, String),
    unit: (),
}

fn parameters() -> Parameters {
    let inner = BTreeMap::from([
        (7, vec![Some(0.1), None, Some(f64::MAX)]),
        (u32::MAX, vec![]),
    ]);
    Parameters {
        name: "excitatory 🧠".to_owned(),
        nan: f64::from_bits(0x7ff8_0123_4567_89ab),
        infinities: (f64::INFINITY, f32::NEG_INFINITY),
        negative_zero: -0.0,
        extremes: (i64::MIN, u64::MAX, -1, '🧠', true),
        some: Some(0),
        none: None,
        rules: vec![
            Rule::Off,
            Rule::Rate(f64::NEG_INFINITY),
            Rule::Pair(-3, String::new()),
            Rule::Named {
                tau: 0.1,
                inner: Some(Box::new(Rule::Off)),
            },
            Rule::Named {
                tau: f32::MIN_POSITIVE,
                inner: None,
            },
        ],
        nested: BTreeMap::from([
            ("größe".to_owned(), inner),
            (String::new(), BTreeMap::new()),
        ]),
        empty: (Vec::new(), BTreeMap::new(), String::new()),
        unit: (),
    }
}

fn check_parameters(found: &Value) {
    let (found, expected) = (found.object::<Parameters>().unwrap(), parameters());
    assert_eq!(found.nan.to_bits(), expected.nan.to_bits());
    assert_eq!(
        found.negative_zero.to_bits(),
        expected.negative_zero.to_bits()
    );
    let without_nan = |parameters| Parameters {
        nan: 0.0,
        ..parameters
    };
    assert_eq!(without_nan(found), without_nan(expected));
}

/// Any serde value, with NaN, infinities, options, enums and nested maps.
pub fn objects_come_back_as_they_were(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.record("objects", Object(parameters())).unwrap();
            recorder.record("objects", Object(Rule::Off)).unwrap();
            recorder.record("objects", Object(f64::NAN)).unwrap();
            recorder.record("objects", Object(None::<u8>)).unwrap();
            recorder.record("objects", Object(&parameters())).unwrap();
            recorder.set("object", Object(&parameters())).unwrap();
        },
        |recorder| {
            let view = recorder.get_all("objects").unwrap();
            assert_eq!((view.kind(), view.dtype()), (Kind::Object, None));
            check_parameters(&view.get(0).unwrap());
            assert_eq!(view.get(1).unwrap().object::<Rule>().unwrap(), Rule::Off);
            assert!(view.get(2).unwrap().object::<f64>().unwrap().is_nan());
            assert_eq!(view.get(3).unwrap().object::<Option<u8>>().unwrap(), None);
            check_parameters(&view.get(4).unwrap());
            check_parameters(&recorder.get("object").unwrap().unwrap());
            let kind = ErrorKind::TypeMismatch;
            expect_error(view.get(1).unwrap().object::<u64>(), kind, &[]);
            let rule = view.select(1..2).unwrap();
            assert_eq!(rule.read_objects::<Rule>().unwrap(), [Rule::Off]);
            expect_error(view.read_objects::<Rule>(), kind, &["objects"]);
        },
    );
}

/// Many small records of unknown size, so that they fill several batches.
pub fn many_variable_records_keep_their_order(harness: &dyn Harness) {
    const RECORDS: usize = 20_000;
    let row = |index: usize| vec![index as u16; index % 7];
    let text = |index: usize| format!("{index}{}", "-".repeat(index % 90));
    let fill = |recorder: &Recorder| {
        for index in 0..RECORDS {
            recorder.record("rows", Ragged(row(index))).unwrap();
            recorder.record("text", text(index)).unwrap();
        }
    };
    write_and_check(harness, fill, |recorder| {
        let rows = recorder.get_all("rows").unwrap();
        assert_eq!(
            (rows.len(), rows.dtype()),
            (RECORDS as u64, Some(DType::U16))
        );
        let rows = rows.read_ragged::<u16>().unwrap();
        for (index, found) in rows.rows().enumerate() {
            assert_eq!(found.as_slice().unwrap(), row(index), "row {index}");
        }
        let texts = recorder.get_all("text").unwrap();
        for (index, found) in texts.iter().enumerate() {
            assert_eq!(
                found.unwrap().as_str().unwrap(),
                text(index),
                "text {index}"
            );
        }
        let index = RECORDS as u64 / 2 + 1;
        assert_eq!(
            texts.get(index).unwrap().as_str().unwrap(),
            text(index as usize)
        );
    });
}
