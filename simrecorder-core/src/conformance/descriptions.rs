//! The properties of a stored series or value that can change, and those that cannot.

use std::sync::Arc;

use serde_json::json;

use super::Harness;
use super::schemas::{check_schema, rich};
use super::support::{
    append_numbers, attributes, check_numbers, check_reopened, check_series, check_value, commit,
    declare, expect_error, inline, key, open, recorder, set, set_attributes, value,
    write_and_check,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::compression::Compression;
use crate::model::labeled::Labeled;
use crate::model::record::Ragged;
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::recorder::{Named, Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::commit::Change;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

fn describe(at: &str, names: Option<&[Option<&str>]>, all: serde_json::Value) -> Change {
    let names = names.map(|names| {
        let names = names.iter().map(|name| name.map(str::to_owned));
        names.collect()
    });
    Change::Describe {
        key: key(at),
        dimension_names: names,
        attributes: Arc::new(attributes(all)),
    }
}

/// Attributes, units and names that are declared later are added to the existing ones, and records before and after
/// them are kept, for series that were declared in this session or an earlier one.
pub fn declaring_a_series_again_stores_its_attributes_and_names(harness: &dyn Harness) {
    let first = |schema: Schema| schema.with_attribute("comment", "first").with_units("V");
    let second = |schema: Schema| {
        schema
            .with_units("mV")
            .with_attribute("more", json!([1, 2]))
    };
    let writer = recorder(harness, OpenMode::CreateNew);
    let matrix = Schema::array::<f64>([2]);
    writer.declare("net/v", first(matrix.clone())).unwrap();
    writer
        .declare("net/rows", Schema::ragged::<u8>([]))
        .unwrap();
    writer.record("net/n", 0_u64).unwrap();
    writer.record("net/v", [0.5, 1.5]).unwrap();
    let named = second(matrix.clone()).with_dimension_names(["time", "x"]);
    writer.declare("net/v", named).unwrap();
    writer.record("net/v", [2.5, 3.5]).unwrap();
    let expected = |names: [&str; 2]| {
        let schema = matrix.clone().with_dimension_names(names);
        second(schema.with_attribute("comment", "first"))
    };
    check_schema(&writer, "net/v", &expected(["time", "x"]), 2);
    writer.flush().unwrap();
    check_schema(&writer, "net/v", &expected(["time", "x"]), 2);
    writer.close().unwrap();
    drop(writer);

    let writer = recorder(harness, OpenMode::Append);
    let view = writer.get_all("net/v").unwrap();
    let renamed = matrix.clone().with_dimension_names(["step", "y"]);
    writer.declare("net/v", renamed).unwrap();
    let rows = Schema::ragged::<u8>([]).with_dimension_names(["trial"]);
    writer
        .declare("net/rows", rows.clone().with_units("ms"))
        .unwrap();
    writer.record("net/rows", Ragged([1_u8])).unwrap();
    let n = Schema::scalar::<u64>().with_dimension_names(["step"]);
    writer.declare("net/n", n.clone()).unwrap();
    writer.record("net/n", 1_u64).unwrap();
    assert_eq!(view.len(), 2);
    check_schema(&writer, "net/v", &expected(["step", "y"]), 2);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_schema(reader, "net/v", &expected(["step", "y"]), 2);
        check_series(reader, "net/v", &[value([0.5, 1.5]), value([2.5, 3.5])]);
        check_schema(reader, "net/rows", &rows.clone().with_units("ms"), 1);
        check_schema(reader, "net/n", &n, 2);
        check_numbers(&reader.get_all("net/n").unwrap(), 0..2);
    });
}

/// The same schema may be declared again, and one with fewer properties; attributes that were set in between are
/// kept.
pub fn declaring_a_series_again_leaves_what_the_schema_leaves_open(harness: &dyn Harness) {
    let policy = ChunkPolicy::records(7);
    let schemas = || {
        let rich = rich().into_iter();
        rich.map(|(key, schema)| (key, schema.with_chunk_policy(policy.clone())))
    };
    let bare = |schema: &Schema| match (schema.dtype(), schema.kind()) {
        (Some(dtype), crate::Kind::Array) => Schema::array_of(dtype, schema.record_shape()),
        (Some(dtype), _) => Schema::ragged_of(dtype, schema.record_shape()),
        (_, crate::Kind::Text) => Schema::text(),
        (_, crate::Kind::Bytes) => Schema::bytes(),
        _ => Schema::object(),
    };
    let again = |recorder: &Recorder| {
        for (key, schema) in schemas() {
            recorder.declare(key, schema.clone()).unwrap();
            recorder.declare(key, bare(&schema)).unwrap();
            check_schema(recorder, key, &schema, 0);
        }
    };
    let writer = recorder(harness, OpenMode::CreateNew);
    again(&writer);
    again(&writer);
    writer.close().unwrap();
    drop(writer);
    let writer = recorder(harness, OpenMode::Append);
    again(&writer);
    let set = attributes(json!({"set": 1}));
    writer.set_attributes("plain", set.clone()).unwrap();
    let (_, plain) = schemas().next_back().unwrap();
    writer
        .declare("plain", plain.clone().with_units("mV"))
        .unwrap();
    let expected = plain.with_attribute("set", 1).with_units("mV");
    check_schema(&writer, "plain", &expected, 0);
    // Setting attributes replaces those that were declared; declaring again restores them.
    writer.set_attributes("plain", set).unwrap();
    writer.declare("plain", expected.clone()).unwrap();
    check_schema(&writer, "plain", &expected, 0);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_schema(reader, "plain", &expected, 0)
    });
}

/// Declares `stored` at a key, and checks that `asked` is refused with an error that names both: immediately, with a
/// record, and when the recording is opened again. `asked` has no effect.
#[track_caller]
fn expect_mismatch(harness: &dyn Harness, stored: &Schema, asked: &Schema, parts: &[&str]) {
    let harness = harness.another();
    let asked = asked.clone().with_units("refused");
    let refused = |recorder: &Recorder| {
        let declared = recorder.declare("net/x", asked.clone());
        expect_error(declared, ErrorKind::SchemaMismatch, &["declare", "net/x"]);
        let declared = recorder.declare("net/x", asked.clone());
        expect_error(declared, ErrorKind::SchemaMismatch, parts);
        recorder.declare("net/x", stored.clone()).unwrap();
        assert!(recorder.attributes("net/x").unwrap().unwrap().is_empty());
    };
    let writer = recorder(&*harness, OpenMode::CreateNew);
    writer.declare("net/x", stored.clone()).unwrap();
    refused(&writer);
    writer.flush().unwrap();
    refused(&writer);
    writer.close().unwrap();
    drop(writer);
    let writer = recorder(&*harness, OpenMode::Append);
    refused(&writer);
    writer.close().unwrap();
}

/// Records of another kind, element type or shape.
pub fn declaring_other_records_is_refused_with_both(harness: &dyn Harness) {
    let stored = Schema::array::<f64>([2]);
    for (asked, part) in [
        (Schema::array::<f64>([3]), "shape [3]"),
        (Schema::array::<f32>([2]), "float32"),
        (Schema::ragged::<f64>([]), "ragged rows of float64"),
        (Schema::text(), "text"),
    ] {
        expect_mismatch(harness, &stored, &asked, &["float64", "shape [2]", part]);
    }
}

/// Another chunk policy that makes other chunks.
pub fn declaring_other_chunks_is_refused_with_both(harness: &dyn Harness) {
    let with = |records| Schema::array::<u16>([3]).with_chunk_policy(ChunkPolicy::records(records));
    expect_mismatch(
        harness,
        &with(4),
        &with(8),
        &["chunk shape", "[4, 3]", "[8, 3]"],
    );
    let default = Schema::array::<u16>([3]);
    expect_mismatch(harness, &default, &with(8), &["chunk shape", "[8, 3]"]);
}

/// Another compression.
pub fn declaring_another_compression_is_refused_with_both(harness: &dyn Harness) {
    let lossy = |error| Compression::lossy(error).unwrap();
    let all = [
        Compression::None,
        Compression::Fast,
        Compression::Small,
        lossy(0.5),
        lossy(0.25),
    ];
    let with = |compression| Schema::scalar::<f64>().with_compression(compression);
    for pair in all.windows(2) {
        let [stored, asked] = [pair[0], pair[1]];
        let [a, b] = [stored.to_string(), asked.to_string()];
        expect_mismatch(
            harness,
            &with(stored),
            &with(asked),
            &["compression", &a, &b],
        );
    }
}

/// Another fill value; without one, it is zero.
pub fn declaring_another_fill_value_is_refused_with_both(harness: &dyn Harness) {
    let with = |fill: f64| Schema::scalar::<f64>().with_fill_value(fill);
    expect_mismatch(
        harness,
        &with(1.5),
        &with(2.5),
        &["fill value", "1.5", "2.5"],
    );
    expect_mismatch(
        harness,
        &Schema::scalar::<f64>(),
        &with(2.5),
        &["fill value", "zero"],
    );
    expect_mismatch(harness, &with(f64::NAN), &with(0.0), &["fill value", "NaN"]);
    let writer = recorder(harness, OpenMode::CreateNew);
    writer.record("x", 1.0).unwrap();
    writer.declare("x", with(0.0)).unwrap();
    writer.close().unwrap();
}

/// If one store of a recorder has a different series, it refuses a declaration for all stores.
pub fn a_declaration_that_one_store_refuses_changes_none(harness: &dyn Harness) {
    let (first, second) = (harness.another(), harness.another());
    let policy = |records| ChunkPolicy::records(records);
    for (harness, records) in [(&first, 4), (&second, 8)] {
        let writer = recorder(&**harness, OpenMode::CreateNew);
        let schema = Schema::scalar::<f64>().with_chunk_policy(policy(records));
        writer.declare("x", schema).unwrap();
        writer.close().unwrap();
    }
    for options in [inline(), RecorderOptions::new()] {
        let stores: Vec<Arc<dyn DataStore>> = vec![
            Arc::new(Named::new("four", open(&*first, OpenMode::Append))),
            Arc::new(Named::new("eight", open(&*second, OpenMode::Append))),
        ];
        let writer = Recorder::with_options(stores, options);
        let asked = Schema::scalar::<f64>().with_units("mV");
        let declared = writer.declare("x", asked.clone().with_chunk_policy(policy(4)));
        expect_error(
            declared,
            ErrorKind::SchemaMismatch,
            &["eight", "[8]", "[4]"],
        );
        writer.record("x", 1.0).unwrap();
        let declared = writer.declare("x", asked.clone().with_chunk_policy(policy(4)));
        expect_error(
            declared,
            ErrorKind::SchemaMismatch,
            &["eight", "[8]", "[4]"],
        );
        writer.truncate("x", 0).unwrap();
        for name in ["four", "eight"] {
            let view = writer.store(name).unwrap().get_all("x").unwrap();
            assert!(view.attributes().is_empty() && view.is_empty());
        }
        writer.close().unwrap();
    }
    let stores = vec![
        open(&*first, OpenMode::Append),
        open(&*second, OpenMode::Append),
    ];
    let writer = Recorder::new(stores);
    writer
        .declare("x", Schema::scalar::<f64>().with_units("mV"))
        .unwrap();
    writer.close().unwrap();
    for harness in [first, second] {
        check_reopened(&*harness, |reader| {
            assert_eq!(reader.get_all("x").unwrap().attributes()["units"], "mV");
        });
    }
}

/// Descriptions in commits take effect in their order, like other changes, and all or none.
pub fn descriptions_take_effect_in_their_order_or_not_at_all(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let n = Schema::scalar::<u64>().with_units("a");
    let names: &[_] = &[Some("time")];
    let changes = vec![
        declare("net/n", n),
        describe("net/n", Some(names), json!({"units": "b", "x": 1})),
        append_numbers(&*store, "net/n", 0, 0..3),
        set_attributes("net/n", json!({"y": 2})),
        describe("net/n", None, json!({"z": 3})),
        set("net/value", 1.5),
        describe("net/value", None, json!({"units": "s"})),
    ];
    commit(&*store, changes).unwrap();
    let check = |store: &dyn DataStore| {
        let view = store.series_view(&key("net/n")).unwrap();
        assert_eq!(view.attributes(), &attributes(json!({"y": 2, "z": 3})));
        assert_eq!(view.dimension_names(), Some(&[Some("time".to_owned())][..]));
        check_numbers(&view, 0..3);
        let found = store.attributes(&key("net/value")).unwrap();
        assert_eq!(found, Some(attributes(json!({"units": "s"}))));
    };
    check(&*store);
    let two: &[_] = &[Some("time"), Some("x")];
    for (change, kind) in [
        (
            describe("net", None, json!({"a": 1})),
            ErrorKind::KindMismatch,
        ),
        (
            describe("nothing", None, json!({"a": 1})),
            ErrorKind::NotFound,
        ),
        (
            describe("net/value", Some(names), json!({})),
            ErrorKind::InvalidArgument,
        ),
        (
            describe("net/n", Some(two), json!({})),
            ErrorKind::InvalidArgument,
        ),
    ] {
        let before = describe("net/n", None, json!({"taken back": true}));
        let part = change.key().to_string();
        expect_error(commit(&*store, vec![before, change]), kind, &[&part]);
        check(&*store);
    }
    store.close().unwrap();
    drop(store);
    check(&*open(harness, OpenMode::Read));
}

/// Dimension names and units are read back with a value, replaced with it, and copied.
pub fn a_labelled_value_keeps_its_names_and_units(harness: &dyn Harness) {
    let labelled = |recorder: &Recorder, key: &str, names: Option<&[Option<&str>]>, units: &str| {
        let found = recorder.get(key).unwrap().unwrap();
        let names = names.map(|names| {
            let names = names.iter().map(|name| name.map(str::to_owned));
            names.collect::<Vec<_>>()
        });
        assert_eq!(
            found.dimension_names(),
            names.as_deref(),
            "names of '{key}'"
        );
        let attributes = recorder.attributes(key).unwrap().unwrap();
        let found = attributes.get("units").and_then(|units| units.as_str());
        assert_eq!(found.unwrap_or_default(), units, "units of '{key}'");
    };
    let check = |recorder: &Recorder| {
        labelled(recorder, "net/x", Some(&[Some("x")]), "m");
        labelled(recorder, "net/weights", Some(&[Some("x"), None]), "");
        labelled(recorder, "net/dt", None, "ms");
        labelled(recorder, "net/plain", None, "");
        labelled(recorder, "net/again", None, "K");
        labelled(recorder, "net/larger", Some(&[Some("larger")]), "");
        check_value(recorder, "net/x", &value([0.0, 0.5]));
        check_value(recorder, "net/larger", &value(vec![1_u8; 100_000]));
    };
    let write = |recorder: &Recorder| {
        let x = [0.0, 0.5];
        recorder
            .set("net/x", Labeled::new(&x, ["x"]).units("m"))
            .unwrap();
        let names = [Some("x"), None];
        recorder
            .set("net/weights", Labeled::new([[1_u8; 3]; 2], names))
            .unwrap();
        recorder
            .set("net/dt", Labeled::unnamed(0.1).units("ms"))
            .unwrap();
        recorder.set("net/plain", [1, 2]).unwrap();
        recorder
            .set("net/again", Labeled::new([1, 2], ["again"]).units("K"))
            .unwrap();
        recorder.set("net/again", [1, 2]).unwrap();
        recorder.set("net/larger", [1_u8]).unwrap();
        let larger = Labeled::new(vec![1_u8; 100_000], ["larger"]);
        recorder.set("net/larger", larger).unwrap();
        let unfit = recorder.set("net/plain", Labeled::new(1.5, ["x"]));
        expect_error(
            unfit,
            ErrorKind::InvalidArgument,
            &["set", "net/plain", "1 dimension"],
        );
    };
    let original = harness.another();
    write_and_check(&*original, write, check);
    let from = open(&*original, OpenMode::Read);
    let to = open(harness, OpenMode::CreateNew);
    crate::copy(&*from, &*to, crate::CopyOptions::new()).unwrap();
    to.close().unwrap();
    drop(to);
    check_reopened(harness, check);
    // A value that was read alone has them too.
    let x = from.value(&key("net/x")).unwrap();
    let x = x.as_ref().and_then(Value::dimension_names);
    assert_eq!(x, Some(&[Some("x".to_owned())][..]));
}
