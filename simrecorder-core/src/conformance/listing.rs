//! The hierarchy: the nodes below a group, and their order.

use super::Harness;
use super::support::{
    check_reopened, children, expect_error, key, keys, open, recorder, write_and_check,
};
use crate::error::ErrorKind;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::{Attributes, Schema};
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::Node;
use crate::store::open_mode::OpenMode;

/// Children and keys are in the order of their names, level by level.
pub fn children_and_keys_are_listed_in_order(harness: &dyn Harness) {
    let names = [
        "z", "a/b", "a-b", "a/c/d", "ab", "a.b", "B", "a/B", "é", "a/c/a", "10", "9",
    ];
    write_and_check(
        harness,
        |recorder| {
            for (index, name) in names.iter().enumerate() {
                match index % 3 {
                    0 => recorder.set(name, 1).unwrap(),
                    1 => recorder.record(name, 1).unwrap(),
                    _ => recorder.record(name, "text").unwrap(),
                }
            }
            recorder
                .set_attributes("a/empty", Attributes::new())
                .unwrap();
        },
        |recorder| {
            assert_eq!(
                keys(recorder),
                [
                    "10", "9", "B", "a/B", "a/b", "a/c/a", "a/c/d", "a-b", "a.b", "ab", "z", "é"
                ]
            );
            assert_eq!(
                children(recorder, ""),
                [
                    "10: series",
                    "9: series",
                    "B: value",
                    "a: group",
                    "a-b: series",
                    "a.b: series",
                    "ab: series",
                    "z: value",
                    "é: series"
                ]
            );
            assert_eq!(
                children(recorder, "a"),
                ["a/B: series", "a/b: series", "a/c: group", "a/empty: group"]
            );
            assert_eq!(
                children(recorder, "/a//c/"),
                ["a/c/a: value", "a/c/d: value"]
            );
        },
    );
}

/// Only groups have children; an unused key has none.
pub fn values_series_and_nothing_have_no_children(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.set("group/value", [1, 2]).unwrap();
            recorder.record("group/array", [[1.0; 3]; 2]).unwrap();
            recorder.record("group/rows", Ragged([1])).unwrap();
            recorder.record("group/text", "x").unwrap();
        },
        |recorder| {
            for key in [
                "group/value",
                "group/array",
                "group/rows",
                "group/text",
                "no",
                "gro",
                "group/n",
            ] {
                assert!(children(recorder, key).is_empty(), "{key}");
            }
            assert_eq!(children(recorder, "group").len(), 4);
            assert_eq!(recorder.kind_of("no").unwrap(), None);
            assert_eq!(recorder.kind_of("gro").unwrap(), None);
            assert_eq!(recorder.kind_of("").unwrap(), Some(NodeKind::Group));
        },
    );
}

/// The parts of a series or value of any kind are not listed.
pub fn parts_of_series_and_values_do_not_show(harness: &dyn Harness) {
    let names = ["array", "bytes", "object", "rows", "text"];
    write_and_check(
        harness,
        |recorder| {
            for group in ["", "deep/", "rows in here/"] {
                for i in 0..20_u8 {
                    recorder
                        .record(format!("{group}rows"), Ragged(vec![i; i.into()]))
                        .unwrap();
                    recorder
                        .record(format!("{group}text"), i.to_string())
                        .unwrap();
                    recorder
                        .record(format!("{group}bytes"), Blob(vec![i; i.into()]))
                        .unwrap();
                    recorder
                        .record(format!("{group}object"), Object(i))
                        .unwrap();
                    recorder.record(format!("{group}array"), [i; 2]).unwrap();
                }
            }
            recorder.set("values/text", "x").unwrap();
            recorder.set("values/object", Object([1, 2])).unwrap();
            recorder.set("values/bytes", Blob("x")).unwrap();
        },
        |recorder| {
            for group in ["deep", "rows in here"] {
                let series = names.map(|name| format!("{group}/{name}: series"));
                assert_eq!(children(recorder, group), series);
            }
            assert_eq!(
                children(recorder, "values"),
                [
                    "values/bytes: value",
                    "values/object: value",
                    "values/text: value"
                ]
            );
            assert_eq!(children(recorder, "").len(), names.len() + 3);
            assert_eq!(keys(recorder).len(), 3 * names.len() + 3);
        },
    );
}

/// Each method of a store works for keys of each kind, and for the root.
pub fn a_store_answers_for_keys_of_every_kind(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    writer.set("group/value", 1).unwrap();
    writer.record("group/series", [1_u16, 2]).unwrap();
    writer.declare("group/declared", Schema::text()).unwrap();
    writer.close().unwrap();
    drop(writer);
    let store = open(harness, OpenMode::Read);
    let expected = [
        (Key::ROOT, Some(NodeKind::Group)),
        (key("group"), Some(NodeKind::Group)),
        (key("group/value"), Some(NodeKind::Value)),
        (key("group/series"), Some(NodeKind::Series)),
        (key("group/declared"), Some(NodeKind::Series)),
        (key("group/nothing"), None),
        (key("group/value/below"), None),
        (key("group/series/below"), None),
        (key("group/series/0"), None),
    ];
    for (key, kind) in expected {
        let is = |wanted| kind == Some(wanted);
        let node = store.node(&key).unwrap();
        assert_eq!(node.as_ref().map(|node| node.kind()), kind, "node '{key}'");
        assert_eq!(
            store.value(&key).unwrap().is_some(),
            is(NodeKind::Value),
            "value '{key}'"
        );
        assert_eq!(
            store.view(&key).unwrap().is_some(),
            is(NodeKind::Series),
            "view '{key}'"
        );
        assert_eq!(
            store.attributes(&key).unwrap().is_some(),
            kind.is_some(),
            "'{key}'"
        );
        assert_eq!(
            store.children(&key).unwrap().is_empty(),
            !is(NodeKind::Group),
            "'{key}'"
        );
    }
    match store.node(&key("group/series")).unwrap() {
        Some(Node::Series(view)) => {
            assert_eq!(view.schema().to_string(), "array of uint16, shape [2]");
            assert_eq!(view.len(), 1);
        }
        other => panic!("'group/series' is {other:?}"),
    }
    assert_eq!(store.keys_within(&key("group")).unwrap().len(), 3);
    store.close().unwrap();
}

/// An empty recording has a root and nothing else.
pub fn an_empty_recording_has_a_root_alone(harness: &dyn Harness) {
    recorder(harness, OpenMode::CreateNew).close().unwrap();
    check_reopened(harness, |reader| {
        assert!(keys(reader).is_empty());
        assert!(children(reader, "").is_empty());
        assert_eq!(reader.attributes("").unwrap(), Some(Attributes::new()));
        assert_eq!(reader.kind_of("").unwrap(), Some(NodeKind::Group));
        assert_eq!(reader.get("x").unwrap(), None);
        expect_error(reader.get_all("x"), ErrorKind::NotFound, &["x", "empty"]);
    });
}

/// The printed tree has the kind, type, shape and units of each series, and each value, shortened.
pub fn the_tree_shows_each_key_in_natural_order(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            let v = Schema::array::<f32>([2]).with_units("mV");
            recorder.declare("net/v", v).unwrap();
            recorder.record("net/v", [0.5_f32, -0.5]).unwrap();
            for demo in [10, 9] {
                let name = format!("net/demo_{demo}");
                recorder.record(name, Ragged([[demo, 1]; 3])).unwrap();
            }
            recorder.record("log", "a\nb").unwrap();
            recorder.record("frames", Blob([1, 2])).unwrap();
            recorder.set("meta/note", "two\nlines").unwrap();
            recorder.set("meta/seed", 42_u64).unwrap();
            recorder.set("meta/x", vec![0.25; 1000]).unwrap();
            let units = Schema::scalar::<f64>().with_units("µm");
            let units = units.attributes().clone();
            recorder.set_attributes("meta/x", units).unwrap();
        },
        |recorder| {
            let expected = "\
/
├── frames       series  bytes         [1]
├── log          series  text          [1]
├── meta         group
│   ├── note     value   text                       \"two\\nlines\"
│   ├── seed     value   uint64                     42
│   └── x        value   float64       [1000]       [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, …] µm
└── net          group
    ├── demo_9   series  ragged int32  [1, var, 2]
    ├── demo_10  series  ragged int32  [1, var, 2]
    └── v        series  float32       [1, 2]       mV";
            let printed = recorder.to_string();
            assert_eq!(printed, expected, "\n{printed}\n");
        },
    );
}

/// Keys with many levels do not overflow the stack.
pub fn the_tree_is_printed_however_deep_it_is(harness: &dyn Harness) {
    let levels = harness.longest_key().min(400) / 2;
    write_and_check(
        harness,
        |recorder| recorder.set("a/".repeat(levels - 1) + "a", 1).unwrap(),
        |recorder| {
            let printed = recorder.to_string();
            assert_eq!(printed.lines().count(), levels + 1, "{printed}");
            assert!(printed.ends_with("1"), "{printed}");
        },
    );
}
