//! Values that are objects, and the attribute that other software reads.

use std::path::Path;

use serde_json::{Value as Json, json};
use simrecorder_core::{Attributes, DataStore, Object, OpenMode, Recorder, Result};

use crate::{assert_success, python};

/// Only objects that JSON represents exactly are text for other software. The attribute is hidden from users, whose own
/// attribute with this name is kept.
pub fn objects_are_json_attributes<S: DataStore + 'static>(
    path: &Path,
    open: impl Fn(OpenMode) -> Result<S>,
) {
    let recorder = Recorder::new(open(OpenMode::CreateNew).unwrap());
    let set = |recorder: &Recorder, key: &str, object: Json| {
        recorder.set(key, Object(object)).unwrap();
    };
    let attributes = |json: Json| Attributes::from_iter([("json".to_owned(), json)]);
    set(
        &recorder,
        "parameters",
        json!({"tau": 20.0, "names": ["E", "größe"], "n": 3}),
    );
    recorder.set("nan", Object([f64::NAN])).unwrap();
    recorder.set("large", Object("x".repeat(1 << 16))).unwrap();
    recorder
        .set("below", Object("x".repeat((1 << 16) - 3)))
        .unwrap();
    recorder.set("integer", Object(u64::MAX)).unwrap();
    set(&recorder, "replaced", json!({"a": 1}));
    set(&recorder, "replaced", json!({"a": 2}));
    set(&recorder, "longer", json!({"a": 1}));
    set(&recorder, "longer", json!({"a": [1, 2, 3]}));
    set(&recorder, "no_longer", json!(1.5));
    recorder.set("no_longer", Object(f64::INFINITY)).unwrap();
    set(&recorder, "number", json!({"a": 1}));
    recorder.set("number", 1.5).unwrap();
    set(&recorder, "users", json!({"a": 1}));
    recorder
        .set_attributes("users", attributes(json!("mine")))
        .unwrap();
    set(&recorder, "users", json!({"a": 2}));
    set(&recorder, "others", json!({"a": 1}));
    let others = Attributes::from_iter([("units".to_owned(), json!("m"))]);
    recorder.set_attributes("others", others.clone()).unwrap();
    recorder.close().unwrap();
    let below = json!("x".repeat((1 << 16) - 3)).to_string();
    let expected = json!({
        "parameters": r#"{"n":3,"names":["E","größe"],"tau":20.0}"#,
        "nan": null,
        "large": null,
        "below": below,
        "integer": null,
        "replaced": r#"{"a":2}"#,
        "longer": r#"{"a":[1,2,3]}"#,
        "no_longer": null,
        "number": null,
        "users": "mine",
        "others": r#"{"a":1}"#,
    });
    let mut program = python("simrecorder-testkit/python/objects.py");
    assert_success(program.arg(path).arg(expected.to_string()));

    let recorder = Recorder::new(open(OpenMode::Append).unwrap());
    for key in expected.as_object().unwrap().keys() {
        let of_user = match key.as_str() {
            "users" => attributes(json!("mine")),
            "others" => others.clone(),
            _ => Attributes::new(),
        };
        assert_eq!(recorder.attributes(key).unwrap().unwrap(), of_user, "{key}");
    }
    recorder
        .set_attributes("parameters", attributes(json!([1, "a"])))
        .unwrap();
    recorder.flush().unwrap();
    let of_user = recorder.attributes("parameters").unwrap().unwrap();
    assert_eq!(of_user, attributes(json!([1, "a"])));
    let object = recorder.get("parameters").unwrap().unwrap();
    assert_eq!(object.object::<Json>().unwrap()["tau"], 20.0);
    recorder.close().unwrap();
}
