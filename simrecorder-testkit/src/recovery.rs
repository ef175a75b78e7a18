//! Checking what `recover` copies of a damaged recording, record by record.

use std::collections::BTreeSet;

use simrecorder_core::{DataStore, InMemoryDataStore, Recorder, Recovery, Value, recover};

/// Recovers a damaged recording into memory, and checks that each record of the copy was recorded, and that each missing
/// record is reported as left out. `series` has the keys of free-standing series with their numbers of records, and
/// `expected` returns the record at an index.
///
/// # Panics
/// If a check fails.
#[track_caller]
pub fn check_recovery(
    from: &dyn DataStore,
    series: &[(&str, u64)],
    expected: impl Fn(&str, u64) -> Value,
) -> Recovery {
    let to = InMemoryDataStore::new();
    let recovery = recover(from, &to, Default::default()).expect("the recovery fails");
    let copy = Recorder::new(to);
    for &(key, len) in series {
        let mut parts = vec![(0, key.to_owned())];
        let moved = recovery.moved.iter().filter(|it| it.from.as_str() == key);
        parts.extend(moved.map(|it| (it.records.start, it.to.as_str().to_owned())));
        let mut known = BTreeSet::new();
        for (first, part) in parts {
            let Ok(view) = copy.get_all(&part) else {
                continue;
            };
            for (index, record) in (first..).zip(&view) {
                let record = record.expect("a copied record cannot be read");
                assert!(
                    record == expected(key, index),
                    "record {index} of '{key}': {record}\n{recovery}"
                );
                assert!(
                    known.insert(index),
                    "record {index} of '{key}' is copied twice"
                );
            }
        }
        for part in recovery.left_out.iter().filter(|it| it.key.as_str() == key) {
            // The key itself, or its records.
            known.extend(part.records.clone().unwrap_or(0..len));
        }
        let missing = (0..len).find(|index| !known.contains(index));
        assert_eq!(
            missing, None,
            "a record of '{key}' is neither copied nor left out:\n{recovery}"
        );
    }
    recovery
}
