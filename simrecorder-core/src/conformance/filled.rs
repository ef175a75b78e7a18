//! Series that begin with records of their fill value, which are not written.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, s};

use super::Harness;
use super::support::{append, commit, declare, expect_error, key, open, set, truncate, value};
use crate::error::ErrorKind;
use crate::memory_store::InMemoryDataStore;
use crate::model::chunk::ChunkPolicy;
use crate::model::compression::Compression;
use crate::model::record::IntoValue;
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::group::Group;
use crate::reading::view::View;
use crate::store::array_view::ArrayView;
use crate::store::commit::Change;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;
use crate::tools::copy::{CopyOptions, copy};
use crate::tools::verify::verify;

const CHUNK: u64 = 8;
/// Ends in the middle of a chunk.
const FILLED: u64 = 21;
const MANY: u64 = 100_000_000;

/// A series of the cases: the schema of its records, and a function that returns the record at an index.
struct Filled {
    key: &'static str,
    schema: Schema,
    fill: Value,
    record: fn(u64) -> Value,
}

fn series() -> [Filled; 4] {
    let chunks = |schema: Schema| schema.with_chunk_policy(ChunkPolicy::records(CHUNK));
    [
        Filled {
            key: "net/number",
            schema: chunks(Schema::scalar::<u64>().with_fill_value(7_u64)),
            fill: value(7_u64),
            record: |index| value(1000 + index),
        },
        Filled {
            key: "net/vector",
            schema: chunks(Schema::array::<f32>([3]).with_fill_value(f32::NAN)),
            fill: value([f32::NAN; 3]),
            record: |index| value([index as f32, -0.0, 0.5]),
        },
        // Without a fill value, which is then zero.
        Filled {
            key: "net/zeros",
            schema: chunks(Schema::array::<i16>([2, 2])),
            fill: value([[0_i16; 2]; 2]),
            record: |index| value([[index as i16; 2], [-1; 2]]),
        },
        // Its chunks are much longer.
        Filled {
            key: "net/short",
            schema: Schema::scalar::<f64>().with_fill_value(-1.5),
            fill: value(-1.5),
            record: |index| value(index as f64),
        },
    ]
}

impl Filled {
    fn declare(&self, filled: u64) -> Change {
        declare_filled(self.key, self.schema.clone(), filled)
    }

    fn append(&self, store: &dyn DataStore, records: Range<u64>) -> Change {
        let values: Vec<_> = records.clone().map(self.record).collect();
        let (key, schema) = (self.key, self.schema.clone());
        append(store, key, schema, records.start, &values)
    }

    /// Checks all records: `filled` with the fill value, and those after them.
    #[track_caller]
    fn check(&self, store: &dyn DataStore, filled: u64, len: u64) {
        let view = self.view(store);
        assert_eq!((view.filled(), view.len()), (filled, len), "{}", self.key);
        let key = view.key();
        let group = Group::load(store, &key.parent().unwrap());
        let group = group.unwrap().unwrap().unwrap();
        assert_eq!(group.view(key.name()).unwrap().filled(), filled);
        assert_eq!(view.shape()[1..], self.schema.record_shape()[..]);
        for range in [0..len, 0..filled, filled..len, len / 3..len - len / 3] {
            let records = view.read_records(range.clone(), usize::MAX).unwrap();
            assert_eq!(records.len(), range.end - range.start);
            let start = range.start;
            for index in range {
                let found = records.record(index - start).unwrap();
                let expected = match index < filled {
                    true => self.fill.clone(),
                    false => (self.record)(index),
                };
                // NaN is not equal to itself.
                let expected = expected.as_record().unwrap();
                assert_eq!(found, &*expected.data, "record {index} of {}", self.key);
            }
        }
    }

    fn view(&self, store: &dyn DataStore) -> View {
        store.view(&key(self.key)).unwrap().unwrap()
    }
}

fn declare_filled(key: &str, schema: Schema, filled: u64) -> Change {
    Change::Declare {
        key: self::key(key),
        schema: Arc::new(schema),
        filled,
    }
}

/// Has the store plan all series, so that it encodes their batches ahead.
fn plan(store: &dyn DataStore) {
    for series in series() {
        let key = key(series.key);
        store.plan(&key, Some(&series.schema)).unwrap();
    }
}

fn declare_all(store: &dyn DataStore) {
    plan(store);
    let declare = series()
        .iter()
        .map(|series| series.declare(FILLED))
        .collect();
    commit(store, declare).unwrap();
}

fn append_all(store: &dyn DataStore, records: Range<u64>) {
    let append = |series: &Filled| series.append(store, records.clone());
    commit(store, series().iter().map(append).collect()).unwrap();
}

#[track_caller]
fn check_all(store: &dyn DataStore, filled: u64, len: u64) {
    for series in series() {
        series.check(store, filled, len);
    }
    let report = verify(store).unwrap();
    assert!(report.is_sound(), "{report}");
}

/// At each stage, with and without other records.
pub fn a_series_begins_with_records_of_its_fill_value(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    declare_all(&*store);
    check_all(&*store, FILLED, FILLED);
    let mut len = FILLED;
    for count in [1, 2, 3, 40] {
        append_all(&*store, len..len + count);
        len += count;
        check_all(&*store, FILLED, len);
        store.checkpoint().unwrap();
        check_all(&*store, FILLED, len);
    }
    store.close().unwrap();
    drop(store);

    let store = open(harness, OpenMode::Append);
    check_all(&*store, FILLED, len);
    plan(&*store);
    append_all(&*store, len..len + 5);
    store.close().unwrap();
    drop(store);
    check_all(&*open(harness, OpenMode::Read), FILLED, len + 5);
}

/// The series is declared and appended to in one commit, and reopened before each further commit.
pub fn a_filled_series_is_appended_to_after_each_reopening(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let mut changes = Vec::new();
    for series in series() {
        changes.push(series.declare(FILLED));
        changes.push(series.append(&*store, FILLED..FILLED + 1));
    }
    commit(&*store, changes).unwrap();
    store.close().unwrap();
    drop(store);
    let mut len = FILLED + 1;
    for count in [1, 1, 30, 2] {
        let store = open(harness, OpenMode::Append);
        check_all(&*store, FILLED, len);
        append_all(&*store, len..len + count);
        len += count;
        store.close().unwrap();
    }
    check_all(&*open(harness, OpenMode::Read), FILLED, len);
}

/// A series that is only declared exists after a checkpoint and when the recording is opened again.
pub fn a_series_may_hold_nothing_but_filled_records(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    declare_all(&*store);
    store.checkpoint().unwrap();
    check_all(&*store, FILLED, FILLED);
    store.close().unwrap();
    drop(store);
    let store = open(harness, OpenMode::Append);
    check_all(&*store, FILLED, FILLED);
    append_all(&*store, FILLED..FILLED + 12);
    check_all(&*store, FILLED, FILLED + 12);
}

/// Writing and reading do not take longer for more filled records; otherwise this would take hours.
pub fn a_hundred_million_filled_records_cost_nothing(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    plan(&*store);
    let schema = Schema::array::<f32>([1 << 10, 1 << 8]);
    let fields = declare_filled("net/field", schema.clone(), MANY);
    let mut changes: Vec<_> = series().iter().map(|series| series.declare(MANY)).collect();
    changes.push(fields);
    changes.push(append(
        &*store,
        "net/field",
        schema,
        MANY,
        &[value(Array2::<f32>::ones((1 << 10, 1 << 8)))],
    ));
    commit(&*store, changes).unwrap();
    append_all(&*store, MANY..MANY + 20);
    let check = |store: &dyn DataStore| {
        for series in series() {
            let view = series.view(store);
            assert_eq!((view.filled(), view.len()), (MANY, MANY + 20));
            let ends = [0, MANY / 2, MANY - 1, MANY, MANY + 19];
            for index in ends {
                let expected = match index < MANY {
                    true => series.fill.clone(),
                    false => (series.record)(index),
                };
                let found = view.get(index).unwrap();
                let (found, expected) = (found.as_record().unwrap(), expected.as_record().unwrap());
                assert_eq!(
                    found.data, expected.data,
                    "record {index} of {}",
                    series.key
                );
            }
        }
        let numbers = store.view(&key("net/number")).unwrap().unwrap();
        let around = numbers.select(s![-22..-18]).unwrap().read::<u64>().unwrap();
        let expected = [7, 7, 1000 + MANY, 1001 + MANY];
        assert_eq!(around.as_slice().unwrap(), expected);
        let field = store.view(&key("net/field")).unwrap().unwrap();
        let ends = field.select(s![-2.., 3, 5]).unwrap().read::<f32>().unwrap();
        assert_eq!(ends.as_slice().unwrap(), [0.0, 1.0]);
        let report = verify(store).unwrap();
        assert!(report.is_sound(), "{report}");
    };
    check(&*store);
    store.checkpoint().unwrap();
    check(&*store);

    let (another, memory) = (harness.another(), InMemoryDataStore::new());
    let copied = open(&*another, OpenMode::CreateNew);
    let progress = copy(&*store, &*copied, CopyOptions::new()).unwrap();
    assert_eq!(progress.record_count, progress.record_total);
    check(&*copied);
    copy(&*copied, &memory, CopyOptions::new().reencode(true)).unwrap();
    check(&memory);
    store.close().unwrap();
    drop(store);

    let store = open(harness, OpenMode::Append);
    check(&*store);
    // Among the filled records, and before all.
    for len in [MANY / 2, 5] {
        let cut = ["net/number", "net/field"].map(|key| truncate(key, len));
        commit(&*store, cut.into()).unwrap();
        let view = store.view(&key("net/number")).unwrap().unwrap();
        assert_eq!((view.filled(), view.len()), (len, len));
    }
    store.close().unwrap();
}

/// Cuts within the filled records, at their end, and after them; then appends other records.
pub fn filled_series_are_cut_and_appended_to(harness: &dyn Harness) {
    for len in [0, 1, 8, 16, 20, FILLED, 22, 24, 30, 44] {
        for is_folded in [false, true] {
            let harness = harness.another();
            let store = open(&*harness, OpenMode::CreateNew);
            declare_all(&*store);
            append_all(&*store, FILLED..45);
            if is_folded {
                store.checkpoint().unwrap();
            }
            let cut = series().map(|series| truncate(series.key, len));
            commit(&*store, cut.into()).unwrap();
            let filled = len.min(FILLED);
            check_all(&*store, filled, len);
            store.checkpoint().unwrap();
            check_all(&*store, filled, len);
            append_all(&*store, len..len + 3);
            check_all(&*store, filled, len + 3);
            append_all(&*store, len + 3..len + 20);
            check_all(&*store, filled, len + 20);
            store.close().unwrap();
            drop(store);
            check_all(&*open(&*harness, OpenMode::Read), filled, len + 20);
        }
    }
}

/// A series is declared, appended to, cut and appended to again in one commit.
pub fn filled_series_are_cut_in_the_commit_that_declares_them(harness: &dyn Harness) {
    for len in [5, FILLED, 30] {
        let harness = harness.another();
        let store = open(&*harness, OpenMode::CreateNew);
        plan(&*store);
        let mut changes = Vec::new();
        for series in series() {
            changes.push(series.declare(FILLED));
            changes.push(series.append(&*store, FILLED..40));
            changes.push(truncate(series.key, len));
            changes.push(series.append(&*store, len..50));
        }
        commit(&*store, changes).unwrap();
        check_all(&*store, len.min(FILLED), 50);
        store.checkpoint().unwrap();
        check_all(&*store, len.min(FILLED), 50);
    }
}

/// A copy begins with the same filled records, whether or not chunks are decoded.
pub fn copies_of_filled_series_keep_their_filled_records(harness: &dyn Harness) {
    for len in [FILLED, FILLED + 1, 24, 60] {
        let from = harness.another();
        let from = open(&*from, OpenMode::CreateNew);
        declare_all(&*from);
        append_all(&*from, FILLED..len);
        for reencode in [false, true] {
            let (another, memory) = (harness.another(), InMemoryDataStore::new());
            let to = open(&*another, OpenMode::CreateNew);
            copy(&*from, &*to, CopyOptions::new().reencode(reencode)).unwrap();
            check_all(&*to, FILLED, len);
            append_all(&*to, len..len + 9);
            check_all(&*to, FILLED, len + 9);
            copy(&*from, &memory, CopyOptions::new()).unwrap();
            check_all(&memory, FILLED, len);
            let another = harness.another();
            let to = open(&*another, OpenMode::CreateNew);
            copy(&memory, &*to, CopyOptions::new()).unwrap();
            check_all(&*to, FILLED, len);
        }
        from.checkpoint().unwrap();
        let another = harness.another();
        let to = open(&*another, OpenMode::CreateNew);
        copy(&*from, &*to, CopyOptions::new()).unwrap();
        check_all(&*to, FILLED, len);
    }
}

/// A renamed series keeps its filled records; a new series at the key of a removed one has only its own.
pub fn filled_series_are_renamed_and_removed(harness: &dyn Harness) {
    for len in [FILLED, 30] {
        let harness = harness.another();
        let store = open(&*harness, OpenMode::CreateNew);
        declare_all(&*store);
        append_all(&*store, FILLED..len);
        commit(&*store, vec![truncate("net/number", 10)]).unwrap();
        store.rename(&key("net"), &key("other")).unwrap();
        let view = |name| store.view(&key(name)).unwrap().unwrap();
        let (cut, vector) = (view("other/number"), view("other/vector"));
        assert_eq!((cut.filled(), cut.len()), (10, 10));
        assert_eq!((vector.filled(), vector.len()), (FILLED, len));
        assert!(verify(&*store).unwrap().is_sound());
        store.rename(&key("other"), &key("net")).unwrap();
        store.remove(&key("net")).unwrap();
        let again = series().map(|series| series.declare(3));
        commit(&*store, again.into()).unwrap();
        append_all(&*store, 3..20);
        check_all(&*store, 3, 20);
        store.close().unwrap();
        drop(store);
        check_all(&*open(&*harness, OpenMode::Read), 3, 20);
    }
}

/// Attributes, other declarations and invalid changes do not change the filled records.
pub fn filled_records_are_those_of_the_first_declaration(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    declare_all(&*store);
    for filled in [0, 5, MANY] {
        let again = series().map(|series| series.declare(filled));
        commit(&*store, again.into()).unwrap();
    }
    check_all(&*store, FILLED, FILLED);
    let units = serde_json::json!({"units": "mV"});
    let describe = series().map(|series| super::support::set_attributes(series.key, units.clone()));
    commit(&*store, describe.into()).unwrap();
    check_all(&*store, FILLED, FILLED);
    commit(&*store, vec![declare("plain", Schema::scalar::<u64>())]).unwrap();
    commit(
        &*store,
        vec![declare_filled("plain", Schema::scalar::<u64>(), 4)],
    )
    .unwrap();
    assert_eq!(store.view(&key("plain")).unwrap().unwrap().len(), 0);
}

/// Records of other kinds have no fill value, and no store counts records beyond 2^53.
pub fn only_series_of_arrays_begin_with_filled_records(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let number = Schema::scalar::<u64>();
    for (schema, filled) in [
        (Schema::text(), 1),
        (Schema::bytes(), 1),
        (Schema::object(), 1),
        (Schema::ragged::<u8>([]), 1),
        (number.clone(), (1 << 53) + 1),
        (number.clone(), u64::MAX),
    ] {
        let changes = vec![set("value", 1), declare_filled("series", schema, filled)];
        expect_error(
            commit(&*store, changes),
            ErrorKind::InvalidArgument,
            &["series"],
        );
    }
    assert!(store.children(&crate::Key::ROOT).unwrap().is_empty());
    commit(&*store, vec![declare_filled("series", Schema::text(), 0)]).unwrap();
    commit(&*store, vec![declare_filled("most", number, 1 << 53)]).unwrap();
    let view = store.view(&key("most")).unwrap().unwrap();
    assert_eq!(view.get((1 << 53) - 1).unwrap(), value(0_u64));
}

/// A batch that does not begin at the end of the series is refused, and views do not change.
pub fn views_of_filled_series_stay_the_same_while_these_grow(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    declare_all(&*store);
    let wrong = series().map(|series| series.append(&*store, 0..2));
    if !harness.many_writers() || !harness.persists() {
        for wrong in wrong {
            commit(&*store, vec![wrong]).unwrap_err();
        }
    }
    let views = series().map(|series| series.view(&*store));
    append_all(&*store, FILLED..22);
    store.checkpoint().unwrap();
    append_all(&*store, 22..60);
    store.checkpoint().unwrap();
    for (view, series) in views.iter().zip(series()) {
        assert_eq!(view.len(), FILLED);
        for record in view.iter() {
            let (record, fill) = (record.unwrap(), &series.fill);
            assert_eq!(
                record.as_record().unwrap().data,
                fill.as_record().unwrap().data
            );
        }
        let now = view.refresh().unwrap();
        assert_eq!((now.filled(), now.len()), (FILLED, 60));
    }
    check_all(&*store, FILLED, 60);
}

/// The fill value is exact, although rounding would change it.
pub fn filled_records_of_a_lossy_series_keep_every_bit(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let schema = Schema::array::<f64>([3])
        .with_fill_value(0.1)
        .with_chunk_policy(ChunkPolicy::records(CHUNK))
        .with_compression(Compression::lossy(0.01).unwrap());
    let declare = declare_filled("lossy", schema.clone(), FILLED);
    let values: Vec<_> = (0..5)
        .map(|index| value([0.1, 0.7, f64::from(index)]))
        .collect();
    let append = append(&*store, "lossy", schema, FILLED, &values);
    commit(&*store, vec![declare, append]).unwrap();
    let check = |store: &dyn DataStore| {
        let view = store.view(&key("lossy")).unwrap().unwrap();
        let all = view.read::<f64>().unwrap();
        assert!(
            all.slice(s![..FILLED as isize, ..])
                .iter()
                .all(|&x| x == 0.1)
        );
        let rest: Vec<f64> = all
            .slice(s![FILLED as isize.., ..])
            .iter()
            .copied()
            .collect();
        for (found, index) in rest.chunks(3).zip(0..) {
            let expected = [0.1, 0.7, f64::from(index)];
            let far = found
                .iter()
                .zip(expected)
                .any(|(x, y)| (x - y).abs() > 0.01);
            assert!(!far, "{found:?} is far from {expected:?}");
        }
        rest
    };
    let before = check(&*store);
    store.checkpoint().unwrap();
    assert_eq!(check(&*store), before);
}
