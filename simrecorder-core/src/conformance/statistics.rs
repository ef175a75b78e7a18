//! What a store and its views tell about their contents: statistics, sizes, and the recording as a whole.

use half::{bf16, f16};

use super::Harness;
use super::support::{append, commit, expect_error, key, open, value, write_and_check};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::dtype::Element;
use crate::model::record::Ragged;
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::commit::Change;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

const RECORDS: usize = 20;

/// Arrays of two elements over some chunks and a tail: 0 and 1, 2 and 3, ...
fn record<T: Element>(recorder: &Recorder, name: &str, of: impl Fn(usize) -> T) {
    let schema = Schema::array::<T>([2]).with_chunk_policy(ChunkPolicy::records(8));
    recorder.declare(name, schema).unwrap();
    for i in 0..RECORDS {
        let record = ndarray::Array1::from_vec(vec![of(2 * i), of(2 * i + 1)]);
        recorder.record(name, &record).unwrap();
    }
}

/// The statistics of a view are those of its elements, of every real type.
pub fn statistics_are_those_of_the_elements(harness: &dyn Harness) {
    let fill = |recorder: &Recorder| {
        record(recorder, "u8", |i| i as u8);
        record(recorder, "i64", |i| i64::MIN + i as i64);
        record(recorder, "u64", |i| u64::MAX - i as u64);
        record(recorder, "f16", |i| f16::from_f64(i as f64));
        record(recorder, "bf16", |i| bf16::from_f64(i as f64));
        record(
            recorder,
            "f32",
            |i| if i == 3 { f32::NAN } else { i as f32 },
        );
        record(recorder, "f64", |i| {
            if i == 7 { f64::INFINITY } else { -(i as f64) }
        });
        record(recorder, "bool", |i| i == 5);
        record(recorder, "nan", |_| f64::NAN);
        for i in 0..RECORDS {
            recorder
                .record("rows", Ragged(vec![i as i32; i % 3]))
                .unwrap();
        }
        recorder.record("text", "no numbers").unwrap();
    };
    write_and_check(harness, fill, |recorder| {
        let check =
            |name: &str, min: Option<Value>, max: Option<Value>, mean: Option<f64>, nan: u64| {
                let found = recorder.get_all(name).unwrap().statistics().unwrap();
                assert_eq!((&found.min, &found.max), (&min, &max), "{name}");
                assert_eq!((found.mean, found.nan_count), (mean, nan), "{name}");
            };
        let some = |x: Value| Some(x);
        check("u8", some(value(0_u8)), some(value(39_u8)), Some(19.5), 0);
        check(
            "i64",
            some(value(i64::MIN)),
            some(value(i64::MIN + 39)),
            Some(i64::MIN as f64),
            0,
        );
        check(
            "u64",
            some(value(u64::MAX - 39)),
            some(value(u64::MAX)),
            Some(u64::MAX as f64),
            0,
        );
        check(
            "f16",
            some(value(f16::ZERO)),
            some(value(f16::from_f64(39.0))),
            Some(19.5),
            0,
        );
        check(
            "bf16",
            some(value(bf16::ZERO)),
            some(value(bf16::from_f64(39.0))),
            Some(19.5),
            0,
        );
        check(
            "f32",
            some(value(0.0_f32)),
            some(value(39.0_f32)),
            Some((780.0 - 3.0) / 39.0),
            1,
        );
        check(
            "f64",
            some(value(-39.0)),
            some(value(f64::INFINITY)),
            Some(f64::INFINITY),
            0,
        );
        check(
            "bool",
            some(value(false)),
            some(value(true)),
            Some(0.025),
            0,
        );
        check("nan", None, None, None, 40);
        let rows: Vec<_> = (0..RECORDS).flat_map(|i| vec![i; i % 3]).collect();
        let mean = rows.iter().sum::<usize>() as f64 / rows.len() as f64;
        check(
            "rows",
            some(value(1_i32)),
            some(value(19_i32)),
            Some(mean),
            0,
        );

        let part = recorder
            .get_all("u8")
            .unwrap()
            .select(ndarray::s![2..4, 1])
            .unwrap();
        let found = part.statistics().unwrap();
        assert_eq!((found.count, found.mean), (2, Some(6.0)));
        let one = recorder
            .get_all("u8")
            .unwrap()
            .select(ndarray::s![2, 1])
            .unwrap();
        assert_eq!(one.statistics().unwrap().max, some(value(5_u8)));
        let text = recorder.get_all("text").unwrap().statistics();
        expect_error(text, ErrorKind::TypeMismatch, &["statistics", "text"]);
    });
}

/// Statistics include filled records without reading them.
pub fn statistics_count_filled_records(harness: &dyn Harness) {
    const FILLED: u64 = 1 << 40;
    let store = open(harness, OpenMode::CreateNew);
    let schema = Schema::scalar::<f64>().with_fill_value(0.5);
    let declare = Change::Declare {
        key: key("long"),
        schema: schema.clone().into(),
        filled: FILLED,
    };
    commit(&*store, vec![declare]).unwrap();
    let batch = append(
        &*store,
        "long",
        schema,
        FILLED,
        &[value(f64::NAN), value(2.0)],
    );
    commit(&*store, vec![batch]).unwrap();
    let found = store
        .series_view(&key("long"))
        .unwrap()
        .statistics()
        .unwrap();
    assert_eq!((found.count, found.nan_count), (FILLED + 2, 1));
    assert_eq!((found.min, found.max), (Some(value(0.5)), Some(value(2.0))));
    let mean = (0.5 * FILLED as f64 + 2.0) / (FILLED + 1) as f64;
    assert_eq!(found.mean, Some(mean));
}

/// The extents of a plot are those of the elements in each cell, of any number of axes, over chunks, filled
/// records and tails.
pub fn envelopes_are_those_of_the_elements(harness: &dyn Harness) {
    const FILLED: u64 = 5;
    let element = |i: usize| {
        if i % 7 == 3 {
            f64::NAN
        } else {
            (i * 31 % 17) as f64
        }
    };
    let store = open(harness, OpenMode::CreateNew);
    let schema = Schema::array::<f64>([3])
        .with_fill_value(-1.0)
        .with_chunk_policy(ChunkPolicy::records(8));
    let declare = Change::Declare {
        key: key("v"),
        schema: schema.clone().into(),
        filled: FILLED,
    };
    commit(&*store, vec![declare]).unwrap();
    let record =
        |i: usize| ndarray::arr1(&[element(3 * i), element(3 * i + 1), element(3 * i + 2)]);
    let records: Vec<_> = (0..RECORDS).map(|i| value(record(i))).collect();
    commit(
        &*store,
        vec![append(&*store, "v", schema, FILLED, &records)],
    )
    .unwrap();

    let view = store.series_view(&key("v")).unwrap();
    let all = view.read::<f64>().unwrap();
    let check = |rows: &[u64], columns: &[u64]| {
        let found = view.envelope(&[rows.to_vec(), columns.to_vec()]).unwrap();
        for ((row, column), extent) in found
            .into_dimensionality::<ndarray::Ix2>()
            .unwrap()
            .indexed_iter()
        {
            let part =
                |bounds: &[u64], part: usize| bounds[part] as usize..bounds[part + 1] as usize;
            let cell = all.slice(ndarray::s![part(rows, row), part(columns, column)]);
            let numbers: Vec<_> = cell.iter().copied().filter(|x| !x.is_nan()).collect();
            let expected = [
                numbers.first().copied(),
                numbers.iter().copied().reduce(f64::min),
                numbers.iter().copied().reduce(f64::max),
                numbers.last().copied(),
            ];
            let found = [extent.first, extent.min, extent.max, extent.last];
            assert_eq!(
                found.map(|x| (!x.is_nan()).then_some(x)),
                expected,
                "{row} {column}"
            );
            let nan_count = (cell.len() - numbers.len()) as u64;
            assert_eq!(
                (extent.count, extent.nan_count),
                (cell.len() as u64, nan_count)
            );
        }
    };
    check(&[0, 25], &[0, 3]);
    check(&[0, 3, 3, 11, 24, 25], &[0, 1, 2, 3]);
    check(&[2, 4, 9], &[1, 3]);
    check(&(0..=25).collect::<Vec<_>>(), &[0, 2]);
    check(&[7], &[0, 3]);

    let scalar = |row: usize| {
        view.select(ndarray::s![row, 2])
            .unwrap()
            .envelope(&[])
            .unwrap()
    };
    assert_eq!(scalar(0)[[]].min, -1.0);
    assert_eq!(scalar(6)[[]].last, element(5));
    let steps = view.select(ndarray::s![..;-4, 0]).unwrap();
    assert_eq!(
        steps.envelope(&[vec![0, 7]]).unwrap()[0].first,
        element(3 * 19)
    );
    for bounds in [
        &[vec![0, 25]][..],
        &[vec![5, 0], vec![0, 3]],
        &[vec![0, 26], vec![0, 3]],
    ] {
        expect_error(
            view.envelope(bounds),
            ErrorKind::InvalidArgument,
            &["envelope", "v"],
        );
    }
}

/// The stored size of a series, if the store knows it, is at least what its records need, and not much more.
pub fn a_series_knows_how_many_bytes_it_takes(harness: &dyn Harness) {
    // Multiplying by an odd number mixes the low bits.
    let noise = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    write_and_check(
        harness,
        |recorder| {
            record(recorder, "noise", noise);
            for i in 0..RECORDS {
                recorder.record("rows", Ragged(vec![noise(i); 8])).unwrap();
            }
        },
        |recorder| {
            for (name, data) in [("noise", 2 * 8 * RECORDS), ("rows", 8 * 8 * RECORDS)] {
                let view = recorder.get_all(name).unwrap();
                if let Some(bytes) = view.stored_bytes().unwrap() {
                    // The index of a shard takes 16 KiB.
                    let bounds = data as u64 / 2..data as u64 * 2 + (20 << 10);
                    assert!(bounds.contains(&bytes), "{name}: {bytes} of {data} bytes");
                }
                assert_eq!(view.select(..1).unwrap().stored_bytes().unwrap(), None);
            }
        },
    );
}

/// A store tells how its recording is stored, and whether other software sees all of it.
pub fn a_store_describes_its_recording(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let recorder = Recorder::new(store.clone());
    recorder.record("v", 1.5).unwrap();
    recorder.flush().unwrap();
    let open_info = store.info().unwrap();
    assert!(!open_info.format.is_empty());
    assert_ne!(open_info.is_being_written, Some(false));
    recorder.close().unwrap();
    drop(recorder);
    drop(store);

    let info = open(harness, OpenMode::Read).info().unwrap();
    assert_eq!(
        (&info.format, &info.version),
        (&open_info.format, &open_info.version)
    );
    assert_eq!(info.id, open_info.id);
    let is_known = open_info.is_being_written.is_some();
    assert_eq!(info.is_being_written, is_known.then_some(false));
    if let Some(bytes) = info.bytes {
        assert!(bytes > 0);
        assert_eq!(info.version, Some(1));
        assert!(
            info.writer
                .is_some_and(|writer| writer.starts_with("simrecorder "))
        );
        assert_eq!(info.id.map(|id| id.len()), Some(32));
        assert_eq!((info.tails, info.is_checkpointed), (Some(0), Some(true)));
        // Before it was closed, the record was in a tail.
        assert_eq!(
            (open_info.tails, open_info.is_checkpointed),
            (Some(1), Some(false))
        );
    }
}
