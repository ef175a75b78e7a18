//! What `verify` reports about a store with parts that cannot be read.

#![allow(
    clippy::single_range_in_vec_init,
    reason = "ranges are what is compared"
)]

use std::ops::ControlFlow;

use simrecorder_core::{ErrorKind, NodeKind, VerifyOptions, verify, verify_with};

use crate::damaged_store::{DamagedStore, RECORDS};

#[test]
fn a_sound_store_is_reported_whole() {
    let report = verify(&DamagedStore::new(&[], &[])).unwrap();
    assert!(report.is_sound());
    let found = report
        .keys
        .iter()
        .map(|it| (it.key.as_str(), it.kind, it.record_count));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            ("", NodeKind::Group, 0),
            ("net", NodeKind::Group, 0),
            ("net/numbers", NodeKind::Series, RECORDS),
            ("net/rows", NodeKind::Series, RECORDS),
            ("seed", NodeKind::Value, 0),
        ]
    );
    assert_eq!(report.to_string(), "5 keys with 400 records, 0 damaged");
}

#[test]
fn the_chunks_of_damaged_records_are_named_and_no_others() {
    let damage = |records: &[u64]| DamagedStore::new(&[], records).damage("net/numbers");
    assert_eq!(damage(&[0]), [0..10]);
    assert_eq!(damage(&[57, 58]), [50..60]);
    assert_eq!(damage(&[199]), [190..200]);
    assert_eq!(damage(&[9, 10, 40]), [0..20, 40..50]);
    let all: Vec<u64> = (0..RECORDS).collect();
    assert_eq!(damage(&all), [0..RECORDS]);
}

#[test]
fn records_without_a_fixed_size_are_named_within_64() {
    for record in 0..RECORDS {
        let damage = DamagedStore::new(&[], &[record]).damage("net/rows");
        let [range] = &damage[..] else {
            panic!("{damage:?}")
        };
        assert!(
            range.contains(&record) && range.end - range.start <= 64,
            "{range:?}"
        );
    }
}

#[test]
fn a_series_with_a_damaged_length_is_verified_in_little_time() {
    for length in [u64::MAX, 1 << 40] {
        let mut store = DamagedStore::new(&[], &[]);
        store.length = Some(length);
        for key in ["net/numbers", "net/rows"] {
            let damage = store.damage(key);
            let (first, last) = (damage.first().unwrap(), damage.last().unwrap());
            assert!(first.start <= RECORDS && last.end == length, "{damage:?}");
        }
    }
}

#[test]
fn damaged_keys_are_named_and_the_others_are_read() {
    let report = verify(&DamagedStore::new(&["net/numbers", "seed"], &[])).unwrap();
    let damaged: Vec<_> = report.damaged().map(|it| it.key.as_str()).collect();
    assert_eq!(damaged, ["net/numbers", "seed"]);
    assert!(report.damaged().all(|it| it.damage[0].records.is_none()));
    assert_eq!(report.keys.len(), 5);
    let text = report.to_string();
    assert!(
        text.contains("value 'seed'") && text.contains("damaged for a test"),
        "{text}"
    );

    // A group that cannot be listed hides only its contents.
    let report = verify(&DamagedStore::new(&["net"], &[])).unwrap();
    let keys: Vec<_> = report.keys.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["", "net", "seed"]);
    assert!(!report.is_sound());
}

#[test]
fn a_store_whose_root_cannot_be_listed_is_an_error() {
    let error = verify(&DamagedStore::new(&[""], &[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn the_progress_of_a_verification_rises_to_all_records_and_may_end_it() {
    let store = DamagedStore::new(&[], &[57]);
    let mut seen = Vec::new();
    let options = VerifyOptions::new().on_progress(|progress| {
        seen.push((progress.key_count, progress.record_count));
        ControlFlow::Continue(())
    });
    verify_with(&store, options).unwrap();
    assert!(seen.is_sorted());
    assert_eq!(*seen.last().unwrap(), (4, 2 * RECORDS));

    let ended = VerifyOptions::new().on_progress(|progress| match progress.record_count {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    });
    let error = verify_with(&store, ended).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
