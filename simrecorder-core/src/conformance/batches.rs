//! Batches of all sizes around the border of a chunk, one after the other.

use ndarray::{Array2, Array3, ArrayD, Axis, concatenate};

use super::Harness;
use super::support::{
    append, append_numbers, check_numbers, check_reopened, check_series, commit, declare, inline,
    key, open, recorder, value, write_and_check,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::recorder::{Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

const CHUNK: u64 = 8;

fn numbers() -> Schema {
    Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(CHUNK))
}

/// One record less than a chunk, a chunk, one record more, and several chunks.
pub fn series_that_end_around_the_border_of_a_chunk_are_whole(harness: &dyn Harness) {
    let lengths = [
        1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK - 1,
        2 * CHUNK,
        2 * CHUNK + 1,
    ];
    write_and_check(
        harness,
        |recorder| {
            for len in lengths {
                let key = format!("n{len}");
                recorder.declare(&key, numbers()).unwrap();
                (0..len).for_each(|i| recorder.record(&key, i).unwrap());
            }
        },
        |recorder| {
            for len in lengths {
                let view = recorder.get_all(format!("n{len}")).unwrap();
                assert_eq!(view.shape(), [len]);
                check_numbers(&view, 0..len);
            }
        },
    );
}

/// Commits of odd sizes, each read back at once.
pub fn many_commits_of_odd_sizes_give_one_series(harness: &dyn Harness) {
    let sizes = [1, 7, 8, 9, 3, 5, 15, 16, 17, 1, 1, 1, 6, 40, 2, 31];
    let writer = recorder(harness, OpenMode::CreateNew);
    writer.declare("n", numbers()).unwrap();
    let mut len = 0;
    for size in sizes {
        for i in len..len + size {
            writer.record("n", i).unwrap();
            writer.record("other", [i as f32; 3]).unwrap();
        }
        len += size;
        writer.flush().unwrap();
        check_numbers(&writer.get_all("n").unwrap(), 0..len);
    }
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("n").unwrap(), 0..len);
        let other = reader.get_all("other").unwrap().read::<f32>().unwrap();
        for (i, row) in other.outer_iter().enumerate() {
            assert!(row.iter().all(|&x| x == i as f32), "record {i} is {row}");
        }
    });
}

/// A batch may begin and end anywhere, even if the store planned otherwise.
pub fn batches_need_not_end_where_chunks_do(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let mut len = 0;
    let mut changes = vec![declare("n", numbers())];
    for (number, size) in [5, 8, 13, 1, 0, 30, 2, 21, 3, 8, 8].into_iter().enumerate() {
        changes.push(append_numbers(&store, "n", len, len..len + size));
        len += size;
        // Two and three batches of one series in one commit.
        if number % 3 != 0 {
            commit(&store, std::mem::take(&mut changes)).unwrap();
            check_numbers(&store.series_view(&key("n")).unwrap(), 0..len);
        }
    }
    commit(&store, changes).unwrap();
    store.close().unwrap();
    check_numbers(&store.series_view(&key("n")).unwrap(), 0..len);
    drop(store);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("n").unwrap(), 0..len);
    });
}

/// A batch may contain many chunks.
pub fn a_batch_of_many_chunks_is_taken_whole(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let changes = vec![
        declare("n", numbers()),
        append_numbers(&store, "n", 0, 0..3),
        append_numbers(&store, "n", 3, 3..3003),
        append_numbers(&store, "n", 3003, 3003..3005),
    ];
    commit(&store, changes).unwrap();
    check_numbers(&store.series_view(&key("n")).unwrap(), 0..3005);
    store.close().unwrap();
    drop(store);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("n").unwrap(), 0..3005);
    });
}

/// A commit to several series, with batches of all kinds.
pub fn a_commit_may_hold_batches_of_all_kinds(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let kinds = [
        ("array", Schema::array::<f64>([2]), value([0.5, 1.5])),
        ("ragged", Schema::ragged::<i32>([]), value([1_i32, 2, 3])),
        ("text", Schema::text(), value("text")),
        ("bytes", Schema::bytes(), value(Blob(b"bytes"))),
        ("object", Schema::object(), value(Object([1, 2]))),
    ];
    // Each commit has a batch of one record and one of two.
    for round in 0..4 {
        let mut changes = Vec::new();
        for (name, schema, record) in &kinds {
            if round == 0 {
                changes.push(declare(name, schema.clone()));
            }
            for (start, count) in [(3 * round, 1), (3 * round + 1, 2)] {
                let records = vec![record.clone(); count];
                changes.push(append(&store, name, schema.clone(), start, &records));
            }
        }
        commit(&store, changes).unwrap();
    }
    store.close().unwrap();
    drop(store);
    check_reopened(harness, |reader| {
        for (name, _, record) in &kinds {
            check_series(reader, name, &vec![record.clone(); 12]);
        }
    });
}

/// Records larger than a chunk are split, and read back complete.
pub fn records_larger_than_a_chunk_are_split_and_come_back_whole(harness: &dyn Harness) {
    let record = |step: usize| {
        Array3::from_shape_fn((5, 7, 11), |(i, j, k)| {
            (((step * 10 + i) * 10 + j) * 100 + k) as f64
        })
    };
    let policies = [
        ChunkPolicy::target_bytes(100),
        ChunkPolicy::target_bytes(11 * 8 * 3),
        ChunkPolicy::target_bytes(7 * 11 * 8),
        ChunkPolicy::shape([1, 2, 3, 4]).unwrap(),
        ChunkPolicy::shape([4, 5, 2, 11]).unwrap(),
        ChunkPolicy::records(3),
    ];
    write_and_check(
        harness,
        |recorder| {
            for (number, policy) in policies.iter().enumerate() {
                let schema = Schema::array::<f64>([5, 7, 11]).with_chunk_policy(policy.clone());
                recorder.declare(format!("v{number}"), schema).unwrap();
                for step in 0..7 {
                    recorder.record(format!("v{number}"), record(step)).unwrap();
                    if step == 4 {
                        recorder.flush().unwrap();
                    }
                }
            }
        },
        |recorder| {
            let records: Vec<_> = (0..7).map(record).collect();
            let views: Vec<_> = records
                .iter()
                .map(|r| r.view().insert_axis(Axis(0)))
                .collect();
            let expected = concatenate(Axis(0), &views).unwrap().into_dyn();
            for number in 0..policies.len() {
                let view = recorder.get_all(format!("v{number}")).unwrap();
                assert!(view.chunk_shape().iter().all(|&len| len > 0));
                assert_eq!(view.chunk_shape().len(), 4);
                assert_eq!(view.read::<f64>().unwrap(), expected, "policy {number}");
            }
        },
    );
}

/// A recorder with a small memory bound loses nothing.
pub fn a_small_memory_bound_loses_nothing(harness: &dyn Harness) {
    let record =
        |series: usize, step: usize| ArrayD::from_elem(vec![50, 40], (series * 1000 + step) as f32);
    for inline in [true, false] {
        let harness = harness.another();
        let options = RecorderOptions::new().memory_bound(64 << 10).inline(inline);
        let writer = Recorder::with_options(open(&*harness, OpenMode::CreateNew), options);
        for step in 0..20 {
            for series in 0..6 {
                writer
                    .record(format!("s{series}"), record(series, step))
                    .unwrap();
                writer.record(format!("n{series}"), step as u64).unwrap();
            }
        }
        writer.close().unwrap();
        drop(writer);
        check_reopened(&*harness, |reader| {
            for series in 0..6 {
                let expected: Vec<_> = (0..20).map(|step| value(record(series, step))).collect();
                check_series(reader, &format!("s{series}"), &expected);
                check_numbers(&reader.get_all(format!("n{series}")).unwrap(), 0..20);
            }
        });
    }
}

/// Vectors with a chunk of a few records, over many chunks.
pub fn vectors_over_many_chunks_are_whole(harness: &dyn Harness) {
    const RECORDS: usize = 101;
    let expected = Array2::from_shape_fn((RECORDS, 33), |(i, j)| (i * 100 + j) as i32);
    let fill = |recorder: &Recorder| {
        let schema = Schema::array::<i32>([33]).with_chunk_policy(ChunkPolicy::records(CHUNK));
        recorder.declare("v", schema).unwrap();
        for row in expected.outer_iter() {
            recorder.record("v", row).unwrap();
        }
    };
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        assert_eq!(view.read::<i32>().unwrap(), expected.clone().into_dyn());
    });
}

/// A handle of a series records like the recorder, even before the series exists.
pub fn a_typed_handle_records_as_the_recorder_does(harness: &dyn Harness) {
    for from in [0, 20] {
        let writer = recorder(harness, OpenMode::OpenOrCreate);
        let scalars = writer.series::<u64>("/scalars/").unwrap();
        let vectors = writer.series::<f32>("vectors").unwrap();
        let rows = writer.series::<u64>("rows").unwrap();
        for i in from..from + 20 {
            if i % 2 == 0 {
                scalars.record(i).unwrap();
            } else {
                writer.record("scalars", i).unwrap();
            }
            vectors.record([i as f32, 0.5]).unwrap();
            rows.record(Ragged(vec![i; i as usize % 3])).unwrap();
            if i % 7 == 0 {
                writer.flush().unwrap();
            }
        }
        let refused = scalars.record([1_u64]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::SchemaMismatch, "{refused:?}");
        writer.close().unwrap();
        drop((writer, scalars, vectors, rows));
        check_reopened(harness, |reader| {
            check_numbers(&reader.get_all("scalars").unwrap(), 0..from + 20);
            let expected: Vec<_> = (0..from + 20).map(|i| value([i as f32, 0.5])).collect();
            check_series(reader, "vectors", &expected);
            let expected: Vec<_> = (0..from + 20)
                .map(|i| value(vec![i; i as usize % 3]))
                .collect();
            check_series(reader, "rows", &expected);
        });
    }
}

/// Dropping a recorder without closing it writes its records.
pub fn dropping_the_recorder_writes_what_it_holds(harness: &dyn Harness) {
    for (inline, from) in [(true, 0), (false, 5)] {
        let options = self::inline().inline(inline);
        let writer = Recorder::with_options(open(harness, OpenMode::OpenOrCreate), options);
        (from..from + 5).for_each(|i: u64| writer.record("n", i).unwrap());
        drop(writer);
        check_reopened(harness, |reader| {
            check_numbers(&reader.get_all("n").unwrap(), 0..from + 5);
        });
    }
}
