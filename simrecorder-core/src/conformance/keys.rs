//! Names and spellings of keys.

use super::Harness;
use super::support::{
    check_numbers, check_reopened, check_series, check_value, children, expect_error, keys,
    recorder, value, write_and_check,
};
use crate::error::{ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::{Attributes, Schema};
use crate::recorder::Recorder;
use crate::store::open_mode::OpenMode;

/// Names that every backend supports, with similar spellings.
const PLAIN: [&str; 16] = [
    "a",
    "ab",
    "a-b",
    "a.b",
    "a_b",
    "A",
    "AB",
    "a b",
    "b",
    "größe",
    "Δt",
    "日本語",
    "x1",
    "x10",
    "x2",
    "with several words",
];

/// Names with a special meaning for formats, file systems, shells, URLs or databases.
fn tricky() -> Vec<String> {
    let mut names: Vec<String> = [
        "zarr.json",
        "zarr",
        "json",
        ".zarray",
        ".zgroup",
        ".zattrs",
        ".zmetadata",
        "__x",
        "__",
        "__simrecorder",
        "simrecorder",
        "_",
        "c",
        "c0",
        "0",
        "00",
        "-1",
        "values",
        "offsets",
        "ends",
        "data",
        "lengths",
        "tail",
        "journal",
        "meta",
        "schema",
        "attributes",
        "index",
        "con",
        "CON",
        "nul",
        "aux.txt",
        "lpt1",
        "...",
        ".hidden",
        "..a",
        "a.",
        "a..",
        "a ",
        " a",
        " ",
        "~",
        "~~",
        "~a",
        "%",
        "%%",
        "%2F",
        "%2f",
        "%41",
        "\\",
        "a\\b",
        ":",
        "a:b",
        "*",
        "?",
        "\"",
        "'",
        "<",
        ">",
        "|",
        "#",
        "&",
        "=",
        "+",
        ";",
        ",",
        "!",
        "@",
        "$HOME",
        "`x`",
        "(",
        ")",
        "[",
        "]",
        "[0]",
        "{",
        "}",
        "{a}",
        "{a}b",
        "^",
        "null",
        "true",
        "None",
        "NaN",
        "1e5",
        "file.h5",
        "x.tmp",
        "x.partial",
        "lost+found",
        "data.mdb",
        "lock.mdb",
        "é",
        "e\u{301}",
        "\u{feff}",
        "\u{200d}",
        "\u{2028}",
        "\u{fffd}",
        "\u{10ffff}",
        "👩‍👩‍👧",
        "İ",
        "ß",
        "ẞ",
    ]
    .map(String::from)
    .to_vec();
    for len in [100, 200, 255, 256, 300, 512, 1000, 4000] {
        names.push("n".repeat(len));
        names.push("ü".repeat(len / 2));
    }
    names
}

/// Does something with each key; an unsupported key must be `InvalidKey`, and leave nothing.
#[track_caller]
fn taken(names: &[String], act: impl Fn(&str) -> Result<()>) -> Vec<String> {
    let take = |name: &&String| match act(name) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::InvalidKey => false,
        Err(error) => panic!("{name:?} is neither taken nor refused: {error:?}"),
    };
    names.iter().filter(take).cloned().collect()
}

fn in_order(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut keys: Vec<_> = names
        .into_iter()
        .map(|name| Key::new(name).unwrap())
        .collect();
    keys.sort();
    keys.iter().map(Key::to_string).collect()
}

/// Writes at every special key with `write`, and checks that the supported ones are listed and read.
fn check_tricky(
    harness: &dyn Harness,
    write: impl Fn(&Recorder, &str, u64) -> Result<()>,
    check: impl Fn(&Recorder, &str, u64),
) {
    let names: Vec<String> = PLAIN
        .into_iter()
        .map(String::from)
        .chain(tricky())
        .collect();
    for group in ["", "group/", "c/0/"] {
        let harness = harness.another();
        let writer = recorder(&*harness, OpenMode::CreateNew);
        let all: Vec<String> = names.iter().map(|name| format!("{group}{name}")).collect();
        let number = |key: &str| all.iter().position(|name| name == key).unwrap() as u64;
        let taken = taken(&all, |key| write(&writer, key, number(key)));
        for name in PLAIN {
            let key = format!("{group}{name}");
            assert!(taken.contains(&key), "'{key}' must be taken");
        }
        for key in &all {
            if key.len() <= harness.longest_key() && key.chars().all(char::is_alphanumeric) {
                assert!(taken.contains(key), "'{key}' must be taken");
            }
        }
        let expected = in_order(taken);
        let check = |recorder: &Recorder| {
            assert_eq!(keys(recorder), expected);
            assert_eq!(children(recorder, group).len(), expected.len());
            expected
                .iter()
                .for_each(|key| check(recorder, key, number(key)));
        };
        check(&writer);
        writer.close().unwrap();
        drop(writer);
        check_reopened(&*harness, check);
    }
}

/// A key is stored and listed unchanged, or refused before anything is written.
pub fn a_series_of_any_name_is_kept_or_refused(harness: &dyn Harness) {
    check_tricky(
        harness,
        |recorder, key, number| recorder.record(key, number),
        |recorder, key, number| check_numbers(&recorder.get_all(key).unwrap(), number..number + 1),
    );
}

/// The same for series that a backend may store in parts.
pub fn a_text_series_of_any_name_is_kept_or_refused(harness: &dyn Harness) {
    check_tricky(
        harness,
        |recorder, key, number| recorder.record(key, number.to_string()),
        |recorder, key, number| {
            let texts = [value(number.to_string())];
            check_series(recorder, key, &texts);
        },
    );
}

/// The same for values.
pub fn a_value_of_any_name_is_kept_or_refused(harness: &dyn Harness) {
    check_tricky(
        harness,
        |recorder, key, number| recorder.set(key, number),
        |recorder, key, number| check_value(recorder, key, &value(number)),
    );
}

/// The same for groups, with a series in each.
pub fn a_group_of_any_name_is_kept_or_refused(harness: &dyn Harness) {
    let names: Vec<String> = PLAIN
        .into_iter()
        .map(String::from)
        .chain(tricky())
        .collect();
    let writer = recorder(harness, OpenMode::CreateNew);
    let series = |group: &str| format!("{group}/v");
    // A name that only the backend refuses must leave no group either.
    let short: Vec<String> = names.into_iter().filter(|name| name.len() < 4000).collect();
    let taken = taken(&short, |group| writer.record(series(group), 1_u64));
    let expected = in_order(taken.iter().map(|group| series(group)));
    let groups: Vec<_> = in_order(taken)
        .iter()
        .map(|group| format!("{group}: group"))
        .collect();
    let check = |recorder: &Recorder| {
        assert_eq!(keys(recorder), expected);
        assert_eq!(children(recorder, ""), groups);
        for key in &expected {
            check_numbers(&recorder.get_all(key).unwrap(), 1..2);
        }
    };
    check(&writer);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, check);
}

/// Keys that are prefixes of others, at the end of a level and within one.
pub fn keys_that_begin_alike_are_kept_apart(harness: &dyn Harness) {
    let names = [
        "a", "ab", "a-b", "a.b", "a b", "b/a", "b/ab", "b/a-b", "b/a.b", "ba", "b-a", "b.a",
        // Like the chunks of an array.
        "c/0", "c/1/0", "d/c/0", "d/c/1/0", "d/0.0",
    ];
    write_and_check(
        harness,
        |recorder| {
            for (number, name) in names.iter().enumerate() {
                (0..=number as u64).for_each(|i| recorder.record(name, i).unwrap());
            }
        },
        |recorder| {
            for (number, name) in names.iter().enumerate() {
                check_numbers(&recorder.get_all(name).unwrap(), 0..number as u64 + 1);
            }
            assert_eq!(keys(recorder), in_order(names.map(String::from)));
            assert_eq!(children(recorder, "b").len(), 4);
        },
    );
}

/// A recording may have many levels.
pub fn deep_hierarchies_are_kept(harness: &dyn Harness) {
    let levels = (harness.longest_key().min(400) - 1) / 2;
    let deep = "g/".repeat(levels) + "v";
    write_and_check(
        harness,
        |recorder| {
            recorder.record(&deep, 7_u64).unwrap();
            recorder.set("g/value", 1).unwrap();
        },
        |recorder| {
            assert_eq!(keys(recorder), [deep.clone(), "g/value".to_owned()]);
            check_numbers(&recorder.get_all(&deep).unwrap(), 7..8);
            let group = deep.strip_suffix("/v").unwrap();
            assert_eq!(recorder.kind_of(group).unwrap(), Some(NodeKind::Group));
            assert_eq!(children(recorder, group), [format!("{deep}: series")]);
        },
    );
}

/// The longest key that the backend promises to support.
pub fn keys_up_to_the_promised_length_are_taken(harness: &dyn Harness) {
    let longest = harness.longest_key();
    let one = "k".repeat(longest);
    // The beginning of the first key is a key too, so the second key has other letters.
    let split: String = (0..longest)
        .map(|i| {
            if i % 50 == 49 && i + 1 < longest {
                '/'
            } else {
                's'
            }
        })
        .collect();
    let split = split.replacen('s', "t", 1);
    write_and_check(
        harness,
        |recorder| {
            recorder.record(&one, 1_u64).unwrap();
            recorder.record(&split, 2_u64).unwrap();
        },
        |recorder| {
            check_numbers(&recorder.get_all(&one).unwrap(), 1..2);
            check_numbers(&recorder.get_all(&split).unwrap(), 2..3);
            assert_eq!(keys(recorder), in_order([one.clone(), split.clone()]));
        },
    );
}

/// Leading, trailing and doubled slashes are ignored, for writing and for reading.
pub fn spellings_of_a_key_that_differ_in_slashes_are_one_key(harness: &dyn Harness) {
    let spellings = ["net/v", "/net/v", "net/v/", "net//v", "///net///v///"];
    write_and_check(
        harness,
        |recorder| {
            for (number, spelling) in spellings.iter().enumerate() {
                recorder.record(spelling, number as u64).unwrap();
            }
            recorder.set("/seed/", 1).unwrap();
            recorder.set("seed", 2).unwrap();
            recorder.set_attributes("//net", Attributes::new()).unwrap();
        },
        |recorder| {
            assert_eq!(keys(recorder), ["net/v", "seed"]);
            for spelling in spellings {
                check_numbers(
                    &recorder.get_all(spelling).unwrap(),
                    0..spellings.len() as u64,
                );
                assert_eq!(recorder.kind_of(spelling).unwrap(), Some(NodeKind::Series));
            }
            check_value(recorder, "seed//", &value(2));
            assert_eq!(children(recorder, "/net/"), ["net/v: series"]);
            assert_eq!(children(recorder, "/"), ["net: group", "seed: value"]);
        },
    );
}

/// Every method refuses keys that break a rule, and leaves nothing.
pub fn keys_that_break_a_rule_are_refused(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let too_long = "x".repeat(Key::MAX_BYTES + 1);
    let kind = ErrorKind::InvalidKey;
    for bad in [
        ".", "..", "a/..", "a/./b", "a\0b", "a\nb", "\t", "\u{7f}", "a/\u{85}", &too_long,
    ] {
        expect_error(writer.record(bad, 1), kind, &["record"]);
        expect_error(writer.set(bad, 1), kind, &["set"]);
        expect_error(writer.declare(bad, Schema::text()), kind, &["declare"]);
        expect_error(
            writer.set_attributes(bad, Attributes::new()),
            kind,
            &["set attributes"],
        );
        expect_error(writer.get(bad), kind, &["get"]);
        expect_error(writer.get_all(bad), kind, &["get_all"]);
        expect_error(writer.children(bad), kind, &["children"]);
        expect_error(writer.attributes(bad), kind, &["attributes"]);
        expect_error(writer.series::<f64>(bad).map(drop), kind, &[]);
    }
    for root in ["", "/", "//"] {
        expect_error(writer.record(root, 1), kind, &["record", "empty"]);
        expect_error(writer.set(root, 1), kind, &["set", "empty"]);
        expect_error(writer.get(root), ErrorKind::KindMismatch, &["group"]);
        expect_error(writer.get_all(root), ErrorKind::KindMismatch, &["group"]);
    }
    writer.record("fine", 1_u64).unwrap();
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        assert_eq!(children(reader, ""), ["fine: series"]);
    });
}

/// A key that the backend refuses does not create the groups above it.
pub fn a_refused_key_leaves_the_groups_above_it_free(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let names = [
        "n".repeat(3000),
        "n".repeat(300),
        "__x".to_owned(),
        "zarr.json".to_owned(),
    ];
    let mut expected = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let group = format!("g{number}");
        let key = format!("{group}/{name}");
        let results = [
            writer.record(&key, 1_u64),
            writer.set(format!("{key}2"), 1),
            writer.set_attributes(format!("{key}3"), Attributes::new()),
        ];
        if results.iter().all(Result::is_err) {
            writer.record(&group, 1_u64).unwrap();
            expected.push(group);
        } else {
            let kept = [key.clone(), format!("{key}2")].into_iter().zip(&results);
            expected.extend(
                kept.filter(|(_, result)| result.is_ok())
                    .map(|(key, _)| key),
            );
        }
    }
    writer.close().unwrap();
    drop(writer);
    let expected = in_order(expected);
    check_reopened(harness, |reader| assert_eq!(keys(reader), expected));
}
