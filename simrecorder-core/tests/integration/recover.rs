//! What `recover` copies of a store with parts that cannot be read, and what it reports about the rest.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::ops::{ControlFlow, Range};

use simrecorder_core::{
    ChunkPolicy, Coordinate, CopyOptions, ErrorKind, InMemoryDataStore, Key, OpenMode, Recorder,
    Recovery, Schema, TIMELINE_ATTRIBUTE, prelude::*, recover,
};

use crate::damaged_store::{DamagedStore, RECORDS};

fn recovered(from: &DamagedStore, options: CopyOptions<'_>) -> (Recovery, Recorder) {
    let to = InMemoryDataStore::new();
    let recovery = recover(from, &to, options).unwrap();
    (recovery, Recorder::new(to))
}

fn numbers(recorder: &Recorder, key: &str) -> Vec<u64> {
    let view = recorder.get_all(key).unwrap();
    view.read::<u64>().unwrap().into_iter().collect()
}

fn left_out(recovery: &Recovery) -> Vec<(&str, Option<Range<u64>>)> {
    let parts = recovery.left_out.iter();
    parts
        .map(|part| (part.key.as_str(), part.records.clone()))
        .collect()
}

#[test]
fn a_sound_store_is_recovered_whole() {
    let (recovery, copy) = recovered(&DamagedStore::new(&[], &[]), CopyOptions::new());
    assert!(recovery.is_whole() && recovery.moved.is_empty());
    assert_eq!(
        recovery.to_string(),
        "3 keys with 400 records copied, 0 parts left out"
    );
    assert!(numbers(&copy, "net/numbers").into_iter().eq(0..RECORDS));
}

#[test]
fn a_series_keeps_what_is_before_the_damage_and_the_rest_has_its_own_keys() {
    let store = DamagedStore::new(&["seed"], &[57, 101]);
    let (recovery, copy) = recovered(&store, CopyOptions::new());
    let parts = [("", 0..50), ("@60", 60..100), ("@110", 110..RECORDS)];
    for (suffix, records) in parts {
        let found = numbers(&copy, &format!("net/numbers{suffix}"));
        assert_eq!(found, records.collect::<Vec<_>>());
    }
    assert_eq!(copy.get("seed").unwrap(), None);
    let left_out = left_out(&recovery);
    for part in [
        ("seed", None),
        ("net/numbers", Some(50..60)),
        ("net/numbers", Some(100..110)),
    ] {
        assert!(left_out.contains(&part), "{recovery}");
    }
    // Every ragged row is in the copy or reported as left out.
    let lost = left_out.iter().filter(|(key, _)| *key == "net/rows");
    let lost: Vec<_> = lost
        .flat_map(|(_, records)| records.clone().unwrap())
        .collect();
    assert!(lost.contains(&57) && lost.contains(&101) && lost.len() <= 128);
    let rows = copy
        .keys()
        .unwrap()
        .into_iter()
        .filter(|key| key.name().starts_with("rows"));
    let mut found = Vec::new();
    for key in rows {
        let first = key
            .name()
            .split_once('@')
            .map_or(0, |(_, first)| first.parse().unwrap());
        for (record, row) in (first..).zip(&copy.get_all(&key).unwrap()) {
            let row: Vec<u64> = row.unwrap().array::<u64>().unwrap().into_iter().collect();
            assert_eq!(row, vec![record; record as usize % 3], "{key}");
            found.push(record);
        }
    }
    found.extend(lost);
    found.sort_unstable();
    assert!(found.into_iter().eq(0..RECORDS));
    let text = recovery.to_string();
    for line in [
        "'net/numbers' records 50..60: left out: ",
        "'net/numbers' records 60..100: copied to 'net/numbers@60'",
        "'seed': left out: ",
        "parts left out",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_series_that_begins_with_damage_begins_empty() {
    let (_, copy) = recovered(
        &DamagedStore::new(&[], &[0]),
        CopyOptions::new().include("**/numbers"),
    );
    assert!(numbers(&copy, "net/numbers").is_empty());
    assert!(numbers(&copy, "net/numbers@10").into_iter().eq(10..RECORDS));
    assert!(copy.get_all("net/rows").is_err());
}

#[test]
fn what_cannot_be_read_at_all_is_left_out_with_all_below_it() {
    let all: Vec<u64> = (0..RECORDS).collect();
    let (recovery, copy) = recovered(&DamagedStore::new(&["net/rows"], &all), CopyOptions::new());
    assert_eq!(
        left_out(&recovery),
        [("net/numbers", Some(0..RECORDS)), ("net/rows", None)]
    );
    assert_eq!(copy.keys().unwrap(), [Key::new("seed").unwrap()]);
    let (recovery, copy) = recovered(&DamagedStore::new(&["net"], &[]), CopyOptions::new());
    assert!(
        left_out(&recovery)
            .iter()
            .all(|part| *part == ("net", None)),
        "{recovery}"
    );
    assert!(!recovery.is_whole());
    assert_eq!(copy.keys().unwrap(), [Key::new("seed").unwrap()]);
}

#[test]
fn the_key_of_a_part_that_the_source_has_already_is_an_error() {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    let log = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
    recorder.declare("log", log).unwrap();
    (0..30_u64).for_each(|i| recorder.record("log", i).unwrap());
    recorder.record("log@20", 1).unwrap();
    recorder.close().unwrap();
    let store = DamagedStore::of(store, &[], &[("log", 15)]);
    let to = InMemoryDataStore::new();
    let error = recover(&store, &to, CopyOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("'log@20'"), "{error}");
    assert!(to.children(&Key::ROOT).unwrap().is_empty());
    let read_only = to.open(OpenMode::Read).unwrap();
    let error = recover(&store, &read_only, CopyOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

/// A timeline of 100 ticks in chunks of 10, with these records damaged.
fn timeline(records: &[(&'static str, u64)]) -> DamagedStore {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    for name in ["step", "v", "w"] {
        let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
        recorder.declare(format!("net/{name}"), schema).unwrap();
    }
    let mut net = recorder.timeline("net", Coordinate::new("step")).unwrap();
    (0..100_u64).for_each(|i| net.tick(2 * i, [("v", i), ("w", i)]).unwrap());
    recorder.close().unwrap();
    drop((net, recorder));
    DamagedStore::of(store, &[], records)
}

#[test]
fn a_timeline_loses_the_ticks_at_which_a_series_is_damaged() {
    let store = timeline(&[("net/v", 15), ("net/w", 25), ("net/v", 99)]);
    let (recovery, copy) = recovered(&store, CopyOptions::new());
    let ticks: Vec<u64> = (0..10).chain(30..90).collect();
    let net = copy.group("net").unwrap();
    assert_eq!(net.attributes()[TIMELINE_ATTRIBUTE], "step");
    assert_eq!(
        (numbers(&copy, "net/v"), numbers(&copy, "net/w")),
        (ticks.clone(), ticks.clone())
    );
    let steps: Vec<_> = ticks.iter().map(|tick| 2 * tick).collect();
    assert_eq!(numbers(&copy, "net/step"), steps);
    let expected = [
        ("net/step", Some(10..30)),
        ("net/step", Some(90..100)),
        ("net/v", Some(20..30)),
        ("net/v", Some(10..20)),
        ("net/v", Some(90..100)),
        ("net/w", Some(10..20)),
        ("net/w", Some(90..100)),
        ("net/w", Some(20..30)),
    ];
    assert_eq!(left_out(&recovery), expected);
    assert!(
        recovery
            .to_string()
            .contains("'v', 'w' of the timeline is damaged"),
        "{recovery}"
    );
    // It can be continued like any timeline.
    let mut net = copy.timeline("net", Coordinate::new("step")).unwrap();
    assert_eq!(net.last(), Some(178_u64));
    net.tick(200_u64, [("v", 100_u64), ("w", 100)]).unwrap();

    let range = CopyOptions::new().select_by("step", 16..=62);
    let (_, copy) = recovered(&store, range);
    assert_eq!(numbers(&copy, "net/v"), [8, 9, 30, 31]);
    let (recovery, copy) = recovered(&store, CopyOptions::new().exclude("net/v"));
    assert_eq!(numbers(&copy, "net/w").len(), 90);
    assert_eq!(
        left_out(&recovery),
        [("net/step", Some(20..30)), ("net/w", Some(20..30))]
    );
}

#[test]
fn a_timeline_loses_the_ticks_of_a_damaged_coordinate() {
    let (recovery, copy) = recovered(&timeline(&[("net/step", 42)]), CopyOptions::new());
    assert!(
        numbers(&copy, "net/v")
            .into_iter()
            .eq((0..40).chain(50..100))
    );
    assert_eq!(numbers(&copy, "net/step").len(), 90);
    assert_eq!(recovery.left_out.len(), 3, "{recovery}");
}

#[test]
fn a_series_of_which_nothing_is_sound_costs_its_timeline_no_tick() {
    let all: Vec<_> = (0..100).map(|record| ("net/v", record)).collect();
    let (recovery, copy) = recovered(&timeline(&all), CopyOptions::new());
    assert_eq!(
        (
            numbers(&copy, "net/w").len(),
            numbers(&copy, "net/step").len()
        ),
        (100, 100)
    );
    assert_eq!(left_out(&recovery), [("net/v", Some(0..100))]);
    assert!(copy.get_all("net/v").is_err());
}

#[test]
fn a_timeline_without_its_coordinate_becomes_a_group_of_series() {
    let all: Vec<_> = (0..100).map(|record| ("net/step", record)).collect();
    let damage: Vec<_> = all.into_iter().chain([("net/v", 15)]).collect();
    let (recovery, copy) = recovered(&timeline(&damage), CopyOptions::new());
    assert!(
        !copy
            .group("net")
            .unwrap()
            .attributes()
            .contains_key(TIMELINE_ATTRIBUTE)
    );
    assert_eq!(
        (
            numbers(&copy, "net/v").len(),
            numbers(&copy, "net/v@20").len()
        ),
        (10, 80)
    );
    assert_eq!(numbers(&copy, "net/w").len(), 100);
    let text = recovery.to_string();
    assert!(
        text.contains("'net': left out") && text.contains("'net/step'"),
        "{text}"
    );
}

#[test]
fn a_recovery_may_be_ended_while_it_verifies() {
    let store = DamagedStore::new(&[], &[57]);
    let to = InMemoryDataStore::new();
    let options = CopyOptions::new().on_progress(|_| ControlFlow::Break(()));
    let error = recover(&store, &to, options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(to.children(&Key::ROOT).unwrap().is_empty());
}
