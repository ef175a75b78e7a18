//! Random sequences of operations on the store and on the in-memory store, which is the reference: both return the same
//! results, and have the same contents in the end.

use std::sync::Arc;
use std::time::Duration;

use ndarray::{Array2, Slice, SliceInfoElem};
use proptest::prelude::*;
use serde_json::json;

use super::Harness;
use super::support::{attributes, commit, for_random, inline, open, show, truncate};
use crate::error::{ErrorKind, Result};
use crate::memory_store::InMemoryDataStore;
use crate::model::chunk::ChunkPolicy;
use crate::model::compression::Compression;
use crate::model::key::Key;
use crate::model::kind::{Kind, NodeKind};
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::reading::view::View;
use crate::recorder::{Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::commit::Change;
use crate::store::data_store::DataStore;
use crate::store::open_mode::OpenMode;

const CASES: u32 = 48;

/// Some are below others, so that kinds clash now and then.
const KEYS: [&str; 9] = [
    "n",
    "v",
    "g/rows",
    "g/text",
    "g/h/object",
    "bytes",
    "value",
    "g",
    "n/below",
];

/// The records of a key, and now and then a wrong one.
#[derive(Clone, Copy, Debug)]
enum What {
    Number,
    Vector,
    Rows,
    Text,
    Object,
    Bytes,
    Points,
}

const WHAT: [What; 7] = [
    What::Number,
    What::Vector,
    What::Rows,
    What::Text,
    What::Object,
    What::Bytes,
    What::Points,
];

#[derive(Clone, Debug)]
enum Step {
    Record {
        key: usize,
        what: What,
        count: usize,
    },
    Set {
        key: usize,
        what: What,
    },
    SetAttributes {
        key: usize,
        count: usize,
    },
    Declare {
        key: usize,
        what: What,
        chunk: u64,
        compression: Compression,
    },
    /// Without the recorder, which has no such call.
    DeclareFilled {
        key: usize,
        what: What,
        filled: u64,
    },
    Flush,
    Checkpoint,
    Read {
        key: usize,
        from: u16,
        to: u16,
        step: isize,
    },
    Take {
        key: usize,
    },
    Refresh {
        view: usize,
    },
    Reopen,
    Truncate {
        key: usize,
        keep: u16,
    },
    GoBack {
        key: usize,
        keep: u64,
    },
    Remove {
        key: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
}

fn series_key() -> impl Strategy<Value = (usize, What)> {
    let usual = (0..6_usize).prop_map(|key| (key, WHAT[key]));
    let odd = (0..KEYS.len(), prop::sample::select(WHAT.to_vec()));
    prop_oneof![12 => usual, 1 => odd]
}

fn step() -> impl Strategy<Value = Step> {
    let any_key = || 0..KEYS.len();
    let compressions = vec![Compression::None, Compression::Fast, Compression::Small];
    prop_oneof![
        12 => (series_key(), prop_oneof![1..4_usize, 5..40_usize])
            .prop_map(|((key, what), count)| Step::Record { key, what, count }),
        2 => (prop_oneof![4 => Just(6_usize), 1 => any_key()], prop::sample::select(WHAT.to_vec()))
            .prop_map(|(key, what)| Step::Set { key, what }),
        1 => (any_key(), 0..3_usize).prop_map(|(key, count)| Step::SetAttributes { key, count }),
        1 => (series_key(), 1..12_u64, prop::sample::select(compressions)).prop_map(
            |((key, what), chunk, compression)| Step::Declare { key, what, chunk, compression }
        ),
        1 => (series_key(), prop_oneof![0..4_u64, 4..60_u64])
            .prop_map(|((key, what), filled)| Step::DeclareFilled { key, what, filled }),
        3 => Just(Step::Flush),
        2 => Just(Step::Checkpoint),
        4 => (any_key(), any::<u16>(), any::<u16>(), prop_oneof![1..4_isize, -3..0_isize])
            .prop_map(|(key, from, to, step)| Step::Read { key, from, to, step }),
        2 => any_key().prop_map(|key| Step::Take { key }),
        2 => (0..8_usize).prop_map(|view| Step::Refresh { view }),
        1 => Just(Step::Reopen),
        1 => (0..6_usize, any::<u16>()).prop_map(|(key, keep)| Step::Truncate { key, keep }),
        2 => (any_key(), 0..80_u64).prop_map(|(key, keep)| Step::GoBack { key, keep }),
        1 => any_key().prop_map(|key| Step::Remove { key }),
        1 => (any_key(), any_key()).prop_map(|(from, to)| Step::Rename { from, to }),
    ]
}

fn record(recorder: &Recorder, key: &str, what: What, i: u64) -> Result<()> {
    let len = i as usize % 5;
    match what {
        What::Number => recorder.record(key, i),
        What::Vector => recorder.record(key, [i as f32, -0.0, f32::NAN]),
        What::Rows => recorder.record(key, Ragged(vec![i as u32; len])),
        What::Text => recorder.record(key, "ü🧠x".repeat(len) + &i.to_string()),
        What::Object => recorder.record(key, Object(json!({"i": i, "x": null}))),
        What::Bytes => recorder.record(key, Blob(vec![i as u8; len])),
        What::Points => recorder.record(key, Ragged(Array2::from_elem((len, 2), i as i16))),
    }
}

fn value(what: What, i: u64) -> Value {
    let len = i as usize % 5;
    match what {
        What::Number => Value::new(i),
        What::Vector => Value::new(vec![i as f32; len]),
        What::Rows => Value::new([[i as u32; 3]; 2]),
        What::Text => Value::new("ü🧠x".repeat(len)),
        What::Object => Value::new(Object(json!({"i": i}))),
        What::Bytes => Value::new(Blob(vec![i as u8; len])),
        What::Points => Value::new(num_complex::Complex::new(i as f64, f64::INFINITY)),
    }
    .unwrap()
}

fn schema(what: What) -> Schema {
    match what {
        What::Number => Schema::scalar::<u64>(),
        What::Vector => Schema::array::<f32>([3]),
        What::Rows => Schema::ragged::<u32>([]),
        What::Text => Schema::text(),
        What::Object => Schema::object(),
        What::Bytes => Schema::bytes(),
        What::Points => Schema::ragged::<i16>([2]),
    }
}

/// All records of a view, one by one.
fn records(view: &dyn ArrayView) -> Vec<Value> {
    view.iter().map(|record| record.unwrap()).collect()
}

#[track_caller]
fn assert_same_records(found: &dyn ArrayView, expected: &dyn ArrayView, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "the shape of {what}");
    let (found, expected) = (records(found), records(expected));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            found == expected,
            "record {i} of {what} is {}, not {}",
            show(found),
            show(expected)
        );
    }
    assert_eq!(found.len(), expected.len(), "the records of {what}");
}

/// One of the two stores: how to open it, and its recorder.
struct Side<'a> {
    open: Box<dyn Fn(OpenMode) -> Arc<dyn DataStore> + 'a>,
    options: RecorderOptions,
    recorder: Recorder,
}

impl<'a> Side<'a> {
    fn new(open: impl Fn(OpenMode) -> Arc<dyn DataStore> + 'a, options: RecorderOptions) -> Self {
        let recorder = Recorder::with_options(open(OpenMode::CreateNew), options.clone());
        Self {
            open: Box::new(open),
            options,
            recorder,
        }
    }

    /// Closes the recorder, lets `between` use the store, and opens it again.
    fn reopen(&mut self, mode: OpenMode, between: impl FnOnce(&dyn DataStore)) {
        self.recorder.close().unwrap();
        self.recorder = Recorder::disabled();
        let store = (self.open)(OpenMode::Append);
        between(&store);
        store.close().unwrap();
        drop(store);
        self.recorder = Recorder::with_options((self.open)(mode), self.options.clone());
    }

    /// Everything except the records.
    fn hierarchy(&self) -> Vec<(String, NodeKind, Option<Attributes>)> {
        let mut found = vec![(
            String::new(),
            NodeKind::Group,
            self.recorder.attributes("").unwrap(),
        )];
        let mut next = 0;
        while let Some((group, kind, _)) = found.get(next).cloned() {
            next += 1;
            if kind == NodeKind::Group {
                found.extend(
                    self.recorder
                        .children(group)
                        .unwrap()
                        .into_iter()
                        .map(|child| {
                            let attributes = self.recorder.attributes(&child.key).unwrap();
                            (child.key.to_string(), child.kind, attributes)
                        }),
                );
            }
        }
        found
    }
}

/// Views of one series in both stores, taken at the same time.
struct Views {
    key: usize,
    found: View,
    expected: View,
}

struct Both<'a> {
    found: Side<'a>,
    expected: Side<'a>,
    views: Vec<Views>,
    /// The number of records and values so far, so that each is different.
    count: u64,
}

impl Both<'_> {
    /// Does the same with both; either both succeed, or both return the same kind of error.
    #[track_caller]
    fn same<T>(&self, act: impl Fn(&Recorder) -> Result<T>) -> Option<(T, T)> {
        match (act(&self.found.recorder), act(&self.expected.recorder)) {
            (Ok(found), Ok(expected)) => Some((found, expected)),
            (Err(found), Err(expected)) => {
                assert_eq!(
                    found.kind(),
                    expected.kind(),
                    "{found:?} is not {expected:?}"
                );
                None
            }
            (Ok(_), Err(error)) => panic!("this should have failed: {error:?}"),
            (Err(error), Ok(_)) => panic!("this should not have failed: {error:?}"),
        }
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Record { key, what, count } => {
                for _ in 0..count {
                    self.count += 1;
                    self.same(|recorder| record(recorder, KEYS[key], what, self.count));
                }
            }
            Step::Set { key, what } => {
                self.count += 1;
                let value = value(what, self.count);
                self.same(|recorder| recorder.set(KEYS[key], &value));
            }
            Step::SetAttributes { key, count } => {
                self.count += 1;
                let names = (0..count).map(|i| (format!("a{i}"), json!([self.count, "x"])));
                let new = attributes(serde_json::Value::Object(names.collect()));
                self.same(|recorder| recorder.set_attributes(KEYS[key], new.clone()));
            }
            Step::Declare {
                key,
                what,
                chunk,
                compression,
            } => {
                self.count += 1;
                let mut schema = schema(what).with_units(format!("unit {}", self.count));
                if chunk % 3 == 0 {
                    let names = (0..schema.axes()).map(|axis| format!("axis {axis} of {chunk}"));
                    schema = schema.with_dimension_names(names.collect::<Vec<_>>());
                }
                // The backend decides whether it refuses records of another type than the series.
                let is_there = self.same(|recorder| recorder.kind_of(KEYS[key]));
                if is_there.is_some_and(|(_, kind)| kind.is_none()) {
                    schema = schema.with_chunk_policy(ChunkPolicy::records(chunk));
                    schema = schema.with_compression(compression);
                }
                self.same(|recorder| recorder.declare(KEYS[key], schema.clone()));
            }
            Step::DeclareFilled { key, what, filled } => self.declare_filled(key, what, filled),
            Step::Flush => drop(self.same(Recorder::flush)),
            Step::Checkpoint => drop(self.same(Recorder::checkpoint)),
            Step::Read {
                key,
                from,
                to,
                step,
            } => self.read(key, from, to, step),
            Step::Take { key } => {
                if let Some((found, expected)) = self.same(|recorder| recorder.get_all(KEYS[key])) {
                    self.views.push(Views {
                        key,
                        found,
                        expected,
                    });
                }
            }
            Step::Refresh { view } => {
                if let Some(Views {
                    found, expected, ..
                }) = self.views.get(view)
                {
                    assert_same_records(found, expected, "a view from before");
                    // Views from before a reopening do not belong to the new recorder.
                    self.flush();
                    let found = found.refresh().unwrap();
                    assert_same_records(&found, &expected.refresh().unwrap(), "a refreshed view");
                }
            }
            Step::Reopen => {
                self.found.reopen(OpenMode::Append, |_| {});
                self.expected.reopen(OpenMode::Append, |_| {});
            }
            Step::Truncate { key, keep } => self.truncate(key, keep),
            Step::GoBack { key, keep } => {
                self.views.retain(|views| views.key != key);
                self.same(|recorder| recorder.truncate(KEYS[key], keep));
            }
            Step::Remove { key } => {
                self.drop_views(key);
                self.same(|recorder| recorder.remove(KEYS[key]));
            }
            Step::Rename { from, to } => {
                self.drop_views(from);
                self.same(|recorder| recorder.rename(KEYS[from], KEYS[to]));
            }
        }
    }

    fn declare_filled(&mut self, key: usize, what: What, filled: u64) {
        let mut schema = schema(what).with_chunk_policy(ChunkPolicy::records(7));
        match what {
            What::Number => schema = schema.with_fill_value(9_u64),
            What::Vector => schema = schema.with_fill_value(-0.5_f32),
            _ => {}
        }
        let (key, schema) = (Key::new(KEYS[key]).unwrap(), Arc::new(schema));
        let mut declared = Vec::new();
        for side in [&mut self.found, &mut self.expected] {
            side.reopen(OpenMode::Append, |store| {
                let declare = Change::Declare {
                    key: key.clone(),
                    schema: Arc::clone(&schema),
                    filled,
                };
                declared.push(commit(store, vec![declare]).map_err(|error| error.kind()));
            });
        }
        assert_eq!(
            declared[0], declared[1],
            "declaring '{key}' with filled records"
        );
    }

    /// Views of a key and of keys below it need no longer be readable.
    fn drop_views(&mut self, key: usize) {
        let gone = Key::new(KEYS[key]).unwrap();
        self.views
            .retain(|views| !views.found.key().is_within(&gone));
    }

    fn flush(&self) {
        self.same(Recorder::flush).unwrap();
    }

    fn read(&self, key: usize, from: u16, to: u16, step: isize) {
        if let Some((found, expected)) = self.same(|recorder| recorder.kind_of(KEYS[key])) {
            assert_eq!(found, expected, "what '{}' is", KEYS[key]);
        }
        if let Some((found, expected)) = self.same(|recorder| recorder.get(KEYS[key])) {
            assert_eq!(found, expected, "the value at '{}'", KEYS[key]);
        }
        let Some((found, expected)) = self.same(|recorder| recorder.get_all(KEYS[key])) else {
            return;
        };
        assert_eq!(
            found.shape(),
            expected.shape(),
            "the shape of '{}'",
            KEYS[key]
        );
        let len = found.len() as usize;
        let (from, to) = (usize::from(from) % (len + 1), usize::from(to) % (len + 1));
        let slice = Slice::new(from.min(to) as isize, Some(from.max(to) as isize), step);
        let elements = vec![SliceInfoElem::from(slice)];
        let part = |view: View| view.select(elements.clone()).unwrap();
        let (found, expected) = (part(found), part(expected));
        assert_same_records(&found, &expected, &format!("{slice:?} of '{}'", KEYS[key]));
        if found.kind() == Kind::Array {
            assert_eq!(found.read_value().unwrap(), expected.read_value().unwrap());
        }
    }

    fn truncate(&mut self, key: usize, keep: u16) {
        let len = match self.same(|recorder| recorder.get_all(KEYS[key])) {
            Some((found, _)) => found.len(),
            None => return,
        };
        let keep = u64::from(keep) % (len + 2);
        // Records that were cut off can no longer be read.
        self.views.retain(|views| views.key != key);
        let cut = |store: &dyn DataStore| {
            commit(store, vec![truncate(KEYS[key], keep)]).unwrap();
        };
        self.found.reopen(OpenMode::Append, cut);
        self.expected.reopen(OpenMode::Append, cut);
    }

    #[track_caller]
    fn compare(&self) {
        assert_eq!(self.found.hierarchy(), self.expected.hierarchy());
        for key in KEYS {
            if let Some((found, expected)) = self.same(|recorder| recorder.get_all(key)) {
                assert_same_records(&found, &expected, &format!("'{key}'"));
                let of = |view: &View| {
                    let names = view.dimension_names().map(<[_]>::to_vec);
                    (view.schema().to_string(), view.attributes().clone(), names)
                };
                assert_eq!(of(&found), of(&expected), "'{key}'");
            }
            if let Some((found, expected)) = self.same(|recorder| recorder.get(key)) {
                assert_eq!(found, expected, "the value at '{key}'");
            }
            if let Some((found, expected)) = self.same(|recorder| recorder.attributes(key)) {
                assert_eq!(found, expected, "the attributes of '{key}'");
            }
        }
    }
}

fn compare_with_memory(harness: &dyn Harness, options: &RecorderOptions) {
    let steps = prop::collection::vec(step(), 1..40);
    for_random(CASES, &steps, |steps| {
        let harness = harness.another();
        let memory = InMemoryDataStore::new();
        let mut both = Both {
            found: Side::new(|mode| open(&*harness, mode), options.clone()),
            expected: Side::new(|mode| Arc::new(memory.open(mode).unwrap()), inline()),
            views: Vec::new(),
            count: 0,
        };
        for step in &steps {
            both.act(step);
        }
        both.compare();
        both.found.reopen(OpenMode::Read, |_| {});
        both.expected.reopen(OpenMode::Read, |_| {});
        both.compare();
        for views in &both.views {
            let what = format!("an old view of '{}'", KEYS[views.key]);
            assert_same_records(&views.found, &views.expected, &what);
        }
        // It reads its own records and no others.
        let refused = both.found.recorder.record("n", 0_u64).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ReadOnly);
        both.found.recorder.close().unwrap();
    });
}

/// The calling thread does all work.
pub fn random_operations_give_what_memory_gives(harness: &dyn Harness) {
    compare_with_memory(harness, &inline().memory_bound(1 << 20));
}

/// With threads, timed commits, and so little memory that buffers are sent early.
pub fn random_operations_in_threads_give_what_memory_gives(harness: &dyn Harness) {
    let options = RecorderOptions::new()
        .memory_bound(32 << 10)
        .commit_interval(Duration::from_millis(1));
    compare_with_memory(harness, &options);
}
