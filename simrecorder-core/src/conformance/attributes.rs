//! Attributes of the root, of groups, values and series.

use serde_json::json;

use super::Harness;
use super::support::{
    attributes, check_numbers, check_reopened, check_value, children, keys, recorder, value,
    write_and_check,
};
use crate::model::kind::NodeKind;
use crate::model::record::{Object, Ragged};
use crate::model::schema::{Attributes, Schema};
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::open_mode::OpenMode;

#[track_caller]
fn check(recorder: &Recorder, key: &str, expected: serde_json::Value) {
    let found = recorder.attributes(key).unwrap();
    assert_eq!(found, Some(attributes(expected)), "attributes of '{key}'");
}

/// Attributes can be set on any node, and are read back.
pub fn root_groups_values_and_series_have_attributes(harness: &dyn Harness) {
    let kinds = [
        "",
        "net",
        "net/deep/group",
        "value",
        "net/series",
        "net/rows",
    ];
    let of = |key: &str| json!({"of": key, "list": [1, 2.5, null, {"Δ": "🧠"}]});
    write_and_check(
        harness,
        |recorder| {
            recorder.set("value", 1).unwrap();
            recorder.record("net/series", 1_u64).unwrap();
            recorder.record("net/rows", Ragged([1])).unwrap();
            recorder.record("net/deep/group/n", 1_u64).unwrap();
            for key in kinds {
                recorder.set_attributes(key, attributes(of(key))).unwrap();
            }
        },
        |recorder| {
            for key in kinds {
                check(recorder, key, of(key));
            }
            check(recorder, "net/deep", json!({}));
            check(recorder, "net/deep/group/n", json!({}));
            assert_eq!(recorder.attributes("nothing").unwrap(), None);
            let view = recorder.get_all("net/series").unwrap();
            assert_eq!(view.attributes(), &attributes(of("net/series")));
            check_numbers(&view, 1..2);
            check_value(recorder, "value", &value(1));
            assert_eq!(keys(recorder).len(), 4);
        },
    );
}

/// Setting attributes replaces all of them; the node itself does not change.
pub fn setting_attributes_replaces_all_of_them(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let schema = Schema::scalar::<u64>()
        .with_units("mV")
        .with_dimension_names(["time"])
        .with_fill_value(7_u64);
    writer.declare("group/n", schema).unwrap();
    (0..3_u64).for_each(|i| writer.record("group/n", i).unwrap());
    writer.set("value", 1).unwrap();
    let all = ["", "group", "group/n", "value"];
    for round in 0..3 {
        for key in all {
            let new = json!({"round": round, format!("only {round}"): key});
            writer.set_attributes(key, attributes(new.clone())).unwrap();
            check(&writer, key, new);
        }
        writer.checkpoint().unwrap();
    }
    writer.close().unwrap();
    drop(writer);
    let writer = recorder(harness, OpenMode::Append);
    for key in all {
        check(&writer, key, json!({"round": 2, "only 2": key}));
        writer.set_attributes(key, Attributes::new()).unwrap();
    }
    writer.set("value", "other").unwrap();
    writer.record("group/n", 3_u64).unwrap();
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        all.iter().for_each(|key| check(reader, key, json!({})));
        let view = reader.get_all("group/n").unwrap();
        assert!(view.attributes().is_empty());
        assert_eq!(view.dimension_names(), Some(&[Some("time".to_owned())][..]));
        assert_eq!(view.schema().fill_value(), Some(&value(7_u64)));
        check_numbers(&view, 0..4);
        check_value(reader, "value", &value("other"));
    });
}

/// Overwriting a value keeps its attributes.
pub fn a_value_keeps_its_attributes_when_it_is_overwritten(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.set("value", 1).unwrap();
            recorder
                .set_attributes("value", attributes(json!({"units": "mV"})))
                .unwrap();
            recorder.set("value", [0.5, 1.5]).unwrap();
            recorder.checkpoint().unwrap();
            recorder.set("value", "text").unwrap();
        },
        |recorder| {
            check(recorder, "value", json!({"units": "mV"}));
            check_value(recorder, "value", &value("text"));
        },
    );
}

/// The attribute that a backend writes for other software next to an object is hidden, and a user attribute with the
/// same name is kept.
pub fn attributes_of_an_object_are_those_of_the_user(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.set("object", Object(json!({"a": 1}))).unwrap();
            recorder.set("mine", Object(json!({"a": 1}))).unwrap();
            let mine = attributes(json!({"json": "mine"}));
            recorder.set_attributes("mine", mine).unwrap();
            recorder.set("mine", Object(json!({"a": 2}))).unwrap();
            recorder.set("other", Object(json!({"a": 1}))).unwrap();
            recorder.set("other", 1).unwrap();
        },
        |recorder| {
            check(recorder, "object", json!({}));
            check(recorder, "mine", json!({"json": "mine"}));
            check(recorder, "other", json!({}));
            let object = recorder.get("mine").unwrap().unwrap();
            assert_eq!(object.object::<serde_json::Value>().unwrap()["a"], 2);
        },
    );
}

/// Setting attributes at an unused key creates a group, which is listed and may contain keys later.
pub fn attributes_of_nothing_make_a_group(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.set_attributes("empty", Attributes::new()).unwrap();
            recorder
                .set_attributes("a/b/c", attributes(json!({"x": 1})))
                .unwrap();
            recorder
                .set_attributes("later", attributes(json!({"x": 2})))
                .unwrap();
            recorder.record("later/n", 0_u64).unwrap();
        },
        |recorder| {
            assert_eq!(
                children(recorder, ""),
                ["a: group", "empty: group", "later: group"]
            );
            assert_eq!(children(recorder, "a"), ["a/b: group"]);
            assert_eq!(children(recorder, "a/b"), ["a/b/c: group"]);
            assert!(children(recorder, "a/b/c").is_empty());
            assert_eq!(recorder.kind_of("empty").unwrap(), Some(NodeKind::Group));
            check(recorder, "empty", json!({}));
            check(recorder, "a/b", json!({}));
            check(recorder, "a/b/c", json!({"x": 1}));
            check(recorder, "later", json!({"x": 2}));
            assert_eq!(keys(recorder), ["later/n"]);
        },
    );
}

/// Users' attributes may have names that formats use themselves, and large contents.
pub fn attributes_may_have_any_name_and_size(harness: &dyn Harness) {
    let long = "größe ".repeat(20_000);
    let all = json!({
        "_ARRAY_DIMENSIONS": ["x", "y"],
        "CLASS": "GROUP",
        "DIMENSION_LIST": 1,
        "_FillValue": 0,
        "attributes": {"attributes": {}},
        "dtype": "int8",
        "kind": "text",
        "node_type": "array",
        "shape": [1, 2],
        "simrecorder": {"version": 99},
        "zarr_format": 2,
        "long": long,
        "name with / . % ~ and 🧠": true,
        "number": {"max": u64::MAX, "min": i64::MIN, "float": 0.1, "integral": 2.0},
    });
    write_and_check(
        harness,
        |recorder| {
            recorder.set("value", 1).unwrap();
            recorder.record("n", 1_u64).unwrap();
            recorder.record("text", "x").unwrap();
            for key in ["", "value", "n", "text", "group"] {
                recorder
                    .set_attributes(key, attributes(all.clone()))
                    .unwrap();
            }
        },
        |recorder| {
            for key in ["", "value", "n", "text", "group"] {
                check(recorder, key, all.clone());
            }
            check_numbers(&recorder.get_all("n").unwrap(), 1..2);
            assert_eq!(
                recorder.get_all("text").unwrap().read_text().unwrap(),
                ["x"]
            );
        },
    );
}
