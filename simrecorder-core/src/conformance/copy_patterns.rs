//! Copies of the keys that patterns select.

use serde_json::json;

use super::Harness;
use super::copies::{assert_same_series, nodes};
use super::support::{attributes, expect_error, inline, key, open};
use crate::error::{ErrorKind, Result};
use crate::memory_store::InMemoryDataStore;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::recorder::Recorder;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;
use crate::tools::copy::{CopyOptions, CopyProgress, copy};

const KEYS: [&str; 8] = [
    "log",
    "meta/seed",
    "net/e/rate",
    "net/e/spikes",
    "net/i/rate",
    "net/rate",
    "spikes",
    "x[1]",
];

fn record(recorder: &Recorder) {
    for (index, key) in KEYS.into_iter().enumerate() {
        match key.starts_with("meta") {
            true => recorder.set(key, index as u64).unwrap(),
            false => recorder.record(key, index as u64).unwrap(),
        }
    }
    for key in ["", "net", "net/e", "net/i", "log", "empty"] {
        let attributes = attributes(json!({"of": key}));
        recorder.set_attributes(key, attributes).unwrap();
    }
}

fn options<'a>(include: &[&str], exclude: &[&str]) -> CopyOptions<'a> {
    let options = include
        .iter()
        .fold(CopyOptions::new(), |options, &it| options.include(it));
    exclude
        .iter()
        .fold(options, |options, &it| options.exclude(it))
}

/// The values and series that match are copied, and the groups above them, with their attributes.
pub fn a_copy_selects_keys_by_patterns(harness: &dyn Harness) {
    let cases: [(&[&str], &[&str], &[&str]); 12] = [
        (
            &["net/**"],
            &["**/spikes"],
            &["net/e/rate", "net/i/rate", "net/rate"],
        ),
        (&["/net/*/"], &[], &["net/rate"]),
        (&["*"], &[], &["log", "spikes", "x[1]"]),
        (&["**"], &[], &KEYS),
        (&["**/rate"], &[], &["net/e/rate", "net/i/rate", "net/rate"]),
        (&["net/?/rate"], &[], &["net/e/rate", "net/i/rate"]),
        (&["net/[a-f]/*"], &[], &["net/e/rate", "net/e/spikes"]),
        (&["x[[]1]"], &[], &["x[1]"]),
        (&["log", "meta/*"], &[], &["log", "meta/seed"]),
        (&[], &["net/**", "spikes"], &["log", "meta/seed", "x[1]"]),
        // A pattern does not match groups, and an exclusion need not match.
        (&[], &["net", "no/such"], &KEYS),
        (&["**/spikes"], &["spikes"], &["net/e/spikes"]),
    ];
    let check = |from: &dyn DataStore, to: &dyn DataStore| {
        for (include, exclude, expected) in cases {
            let name = format!("{include:?} without {exclude:?}");
            let part = InMemoryDataStore::new();
            let copied = copy(from, &part, options(include, exclude)).unwrap();
            assert_eq!(copied.key_count, expected.len() as u64, "{name}");
            let of_part = nodes(&part).into_iter();
            let (groups, mut keys): (Vec<_>, Vec<_>) =
                of_part.partition(|(_, kind)| *kind == NodeKind::Group);
            keys.sort_unstable_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
            let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys, expected, "{name}");
            for (group, _) in groups {
                let is_above = |key: &&str| key.starts_with(group.as_str());
                assert!(expected.iter().any(is_above), "{name}: '{group}'");
                let found = part.attributes(&group).unwrap();
                assert_eq!(found, from.attributes(&group).unwrap(), "{name}: '{group}'");
            }
        }
        let part = copy(from, to, options(&["net/**"], &["net/e/*"])).unwrap();
        assert_eq!((part.key_count, part.record_count), (2, 2));
        for (key, kind) in nodes(to) {
            let (found, expected) = (to.view(&key).unwrap(), from.view(&key).unwrap());
            assert_eq!(found.is_some(), kind == NodeKind::Series, "'{key}'");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_same_series(&found, &expected);
            }
        }
        // Another part is added next to the first one.
        copy(from, to, options(&["log", "net/e/*"], &[])).unwrap();
        assert_eq!(to.keys_within(&Key::ROOT).unwrap().len(), 5);
    };
    let from = InMemoryDataStore::new();
    record(&Recorder::with_options(from.clone(), inline()));
    let other = harness.another();
    let to = open(&*other, OpenMode::CreateNew);
    check(&from, &to);
    to.close().unwrap();
    let recorder = Recorder::with_options(open(harness, OpenMode::CreateNew), inline());
    record(&recorder);
    recorder.close().unwrap();
    drop(recorder);
    check(&open(harness, OpenMode::Read), &InMemoryDataStore::new());
}

/// A mistyped pattern is an error that names the pattern. Nothing is written.
pub fn a_copy_with_patterns_that_select_nothing_says_so(harness: &dyn Harness) {
    let recorder = Recorder::with_options(open(harness, OpenMode::CreateNew), inline());
    record(&recorder);
    recorder.close().unwrap();
    drop(recorder);
    let from = open(harness, OpenMode::Read);
    let other = harness.another();
    let to = open(&*other, OpenMode::CreateNew);
    let copy = |options: CopyOptions<'_>| copy(&from, &to, options);
    let expect = |result: Result<CopyProgress>, kind, parts: &[&str]| {
        expect_error(result, kind, parts);
        assert_eq!(nodes(&to).len(), 1, "{parts:?}");
    };
    let not_found = ErrorKind::NotFound;
    let net = || options(&["net/**"], &[]);
    expect(copy(net().include("nte/**")), not_found, &["copy 'nte/**'"]);
    // A pattern does not match a group; the error says what does.
    expect(
        copy(options(&["net"], &[])),
        not_found,
        &["'net'", "group/**"],
    );
    expect(copy(net().include("")), not_found, &["''"]);
    expect(copy(net().exclude("net/**")), not_found, &["exclude all"]);
    expect(copy(options(&[], &["**"])), not_found, &["exclude all"]);
    let elsewhere = net().only(key("meta"));
    expect(copy(elsewhere), not_found, &["net/**"]);
    for pattern in ["net/[a", "net/a**", "***"] {
        let parts = [pattern, "character"];
        expect(
            copy(net().include(pattern)),
            ErrorKind::InvalidArgument,
            &parts,
        );
        expect(
            copy(net().exclude(pattern)),
            ErrorKind::InvalidArgument,
            &parts,
        );
    }
    to.close().unwrap();
}
