//! Values: set, overwritten, read.

use super::Harness;
use super::support::{
    check_reopened, check_value, children, expect_error, keys, recorder, value, write_and_check,
};
use crate::error::ErrorKind;
use crate::model::record::{Blob, Object};
use crate::model::value::Value;
use crate::store::open_mode::OpenMode;

fn of_every_type() -> Vec<Value> {
    vec![
        value(42_u64),
        value([1.5_f32, f32::NAN]),
        value("text"),
        value([[1_i16, 2, 3], [4, 5, 6]]),
        value(Blob(b"bytes \0 \xff")),
        value(Object(vec![Some(0.1), None])),
        value([0_u8; 0]),
        value(""),
        value(true),
        value(Blob(b"")),
        value(num_complex::Complex::new(0.0, -0.0)),
        value(vec![7_u64; 100]),
        value(7_i8),
    ]
}

/// The last `set` replaces any earlier value.
pub fn a_value_is_overwritten_by_one_of_any_type_and_shape(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            for (index, value) in of_every_type().into_iter().enumerate() {
                recorder.set("value", &value).unwrap();
                if index % 2 == 0 {
                    check_value(recorder, "value", &value);
                }
                if index % 3 == 0 {
                    recorder.checkpoint().unwrap();
                }
            }
        },
        |recorder| {
            check_value(recorder, "value", &value(7_i8));
            assert_eq!(keys(recorder), ["value"]);
        },
    );
}

/// Overwriting works after reopening too, in every order of types.
pub fn a_value_is_overwritten_after_reopening(harness: &dyn Harness) {
    recorder(harness, OpenMode::CreateNew).close().unwrap();
    for new in of_every_type().iter().rev() {
        let writer = recorder(harness, OpenMode::OpenOrCreate);
        writer.set("group/value", new).unwrap();
        writer.close().unwrap();
        drop(writer);
        check_reopened(harness, |reader| {
            check_value(reader, "group/value", new);
            assert_eq!(children(reader, ""), ["group: group"]);
            assert_eq!(children(reader, "group"), ["group/value: value"]);
        });
    }
}

/// Values of every type do not affect each other.
pub fn values_of_all_types_share_a_group(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            for (index, value) in of_every_type().iter().enumerate() {
                recorder.set(format!("v{index}"), value).unwrap();
            }
        },
        |recorder| {
            for (index, value) in of_every_type().iter().enumerate() {
                check_value(recorder, &format!("v{index}"), value);
            }
            assert_eq!(recorder.get("v100").unwrap(), None);
        },
    );
}

/// Values may be large: arrays, text, bytes and objects of some megabytes.
pub fn large_values_come_back(harness: &dyn Harness) {
    let noise: Vec<u64> = (0..400_000_u64)
        .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    let text = "0123456789abcdef".repeat(100_000);
    let bytes: Vec<u8> = noise.iter().map(|x| (x >> 40) as u8).collect();
    let expected = [
        ("array", value(([400, 1000], noise.as_slice()))),
        ("text", value(text.as_str())),
        ("bytes", value(Blob(&bytes))),
        ("object", value(Object(&noise[..100_000]))),
    ];
    write_and_check(
        harness,
        |recorder| {
            for (key, value) in &expected {
                recorder.set(key, 0_u8).unwrap();
                recorder.set(key, value).unwrap();
            }
        },
        |recorder| {
            for (key, value) in &expected {
                check_value(recorder, key, value);
            }
        },
    );
}

/// Typed reading never converts silently.
pub fn a_value_is_read_as_its_own_type_only(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.set("seed", 42_u32).unwrap();
            recorder.set("name", "run 7").unwrap();
            recorder.set("weights", [0.5, 0.25]).unwrap();
        },
        |recorder| {
            assert_eq!(recorder.get_as::<u32>("seed").unwrap(), Some(42));
            assert_eq!(
                recorder.get_as::<String>("name").unwrap().as_deref(),
                Some("run 7")
            );
            let weights = recorder.get_as::<Vec<f64>>("weights").unwrap();
            assert_eq!(weights, Some(vec![0.5, 0.25]));
            assert_eq!(recorder.get_as::<u32>("nothing").unwrap(), None);
            for result in [
                recorder.get_as::<u64>("seed").map(drop),
                recorder.get_as::<u32>("name").map(drop),
                recorder.get_as::<f64>("weights").map(drop),
                recorder.get_as::<String>("seed").map(drop),
            ] {
                expect_error(result, ErrorKind::TypeMismatch, &["get"]);
            }
            let seed = recorder.get("seed").unwrap().unwrap();
            assert_eq!(seed.cast::<f64>().unwrap().sum(), 42.0);
        },
    );
}

/// A required value that is missing is an error with the nearest keys; `get` returns `None`.
pub fn a_required_value_that_is_missing_names_the_nearest_keys(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.set("meta/seed", 42_u64).unwrap();
            recorder.set("meta/dt", 0.1).unwrap();
            recorder.record("net/rate", 0.5).unwrap();
        },
        |recorder| {
            assert_eq!(recorder.require_as::<u64>("meta/seed").unwrap(), 42);
            assert_eq!(recorder.get("meta/Seed").unwrap(), None);
            for missing in ["meta/Seed", "mata/seed", "seed", "meta/seed/x"] {
                let nearest = format!(
                    "require '{missing}': there is nothing at this key; the nearest keys are 'meta/seed'"
                );
                expect_error(recorder.require(missing), ErrorKind::NotFound, &[&nearest]);
            }
            expect_error(
                recorder.require("net/rate"),
                ErrorKind::KindMismatch,
                &["a series"],
            );
            let other = recorder.require_as::<u64>("meta/dt");
            expect_error(other, ErrorKind::TypeMismatch, &["require 'meta/dt'"]);
        },
    );
}
