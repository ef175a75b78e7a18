//! The course of a copy: progress, cancelling, an original that is written at the same time, and encoded
//! records.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Harness;
use super::copies::{assert_same_series, nodes};
use super::support::{append_numbers, commit, declare, expect_error, inline, key, open, recorder};
use crate::error::ErrorKind;
use crate::memory_store::InMemoryDataStore;
use crate::model::chunk::ChunkPolicy;
use crate::model::schema::Schema;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::data_store::DataStore;
use crate::store::data_store::DataStoreExt;
use crate::store::encoded::{Encoded, EncodedChange, StoredForm};
use crate::store::open_mode::OpenMode;
use crate::tools::copy::{CopyOptions, CopyProgress, copy};

/// Bytes that do not compress.
fn noise(i: u64) -> Vec<u64> {
    let mut x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    (0..1 << 17).map(|_| next()).collect()
}

/// 18 MiB in `a`, more than two commits, and a few records in `b`.
fn large(harness: &dyn Harness) -> (Arc<dyn DataStore>, Recorder) {
    let store = open(harness, OpenMode::CreateNew);
    let recorder = Recorder::with_options(store.clone(), inline());
    for i in 0..18 {
        recorder.record("a", noise(i)).unwrap();
        recorder.record("b", i).unwrap();
    }
    recorder.flush().unwrap();
    (store, recorder)
}

/// Progress is reported after each commit, increases, and ends with the complete copy.
pub fn the_progress_of_a_copy_adds_up(harness: &dyn Harness) {
    let (from, _recorder) = large(harness);
    let another = harness.another();
    let backend = open(&*another, OpenMode::CreateNew);
    for to in [backend, Arc::new(InMemoryDataStore::new()) as _] {
        let mut seen: Vec<CopyProgress> = Vec::new();
        let options = CopyOptions::new().on_progress(|progress| {
            let done = to.view(&key("a")).unwrap().map_or(0, |view| view.len());
            assert!(done <= progress.record_count && done >= progress.record_count.min(18));
            seen.push(progress.clone());
            ControlFlow::Continue(())
        });
        let copied = copy(&from, &to, options).unwrap();
        assert_eq!(seen.last(), Some(&copied));
        assert!(seen.len() > 2, "{seen:?}");
        assert!(
            seen.is_sorted_by_key(|it| (it.key_count, it.record_count, it.bytes)),
            "{seen:?}"
        );
        assert!(
            seen.iter()
                .all(|it| (it.key_total, it.record_total) == (2, 36)),
            "{seen:?}"
        );
        assert_eq!((copied.key_count, copied.record_count), (2, 36));
        assert!(copied.bytes > 18 << 20, "{copied}");
    }
}

/// A cancelled copy is an error; the committed part remains, in order, and can be read.
pub fn a_copy_ends_when_it_is_cancelled(harness: &dyn Harness) {
    let (from, _recorder) = large(harness);
    let another = harness.another();
    let to = open(&*another, OpenMode::CreateNew);
    let mut calls = 0;
    let options = CopyOptions::new().on_progress(|_| {
        calls += 1;
        ControlFlow::Break(())
    });
    expect_error(copy(&from, &to, options), ErrorKind::Cancelled, &["copy"]);
    assert_eq!(calls, 1);
    let part = to.view(&key("a")).unwrap().unwrap();
    let whole = from.view(&key("a")).unwrap().unwrap();
    assert!((1..18).contains(&part.len()), "{part:?}");
    assert_same_series(&part, &whole.select(..part.len() as usize).unwrap());
    assert!(to.node(&key("b")).unwrap().is_none());
    expect_error(
        copy(&from, &to, CopyOptions::new()),
        ErrorKind::AlreadyExists,
        &["a"],
    );
}

/// A series is copied up to its length when the copy began, and new keys are left out.
pub fn what_is_recorded_during_a_copy_is_left_out(harness: &dyn Harness) {
    let (from, recorder) = large(harness);
    let another = harness.another();
    let to = open(&*another, OpenMode::CreateNew);
    // The first call is before `b` is read.
    let options = CopyOptions::new().on_progress(|_| {
        recorder.record("a", noise(99)).unwrap();
        recorder.record("b", 99_u64).unwrap();
        recorder.record("c", 99_u64).unwrap();
        recorder.flush().unwrap();
        ControlFlow::Continue(())
    });
    let copied = copy(&from, &to, options).unwrap();
    assert_eq!((copied.key_count, copied.record_count), (2, 36));
    for name in ["a", "b"] {
        let whole = from.view(&key(name)).unwrap().unwrap();
        let then = whole.select(..18).unwrap();
        assert_same_series(&to.view(&key(name)).unwrap().unwrap(), &then);
    }
    assert!(to.node(&key("c")).unwrap().is_none());
}

/// Encoded records are accepted only where they fit; otherwise the commit changes nothing.
pub fn encoded_records_that_do_not_fit_are_refused(harness: &dyn Harness) {
    let from = recorder(harness, OpenMode::CreateNew);
    let schema = || Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(4));
    from.declare("n", schema()).unwrap();
    (0..8_u64).for_each(|i| from.record("n", i).unwrap());
    from.close().unwrap();
    drop(from);
    let from = open(harness, OpenMode::Read);
    let view = from.view(&key("n")).unwrap().unwrap();
    let another = harness.another();
    let to = open(&*another, OpenMode::CreateNew);

    // Ends here for stores that neither accept nor return encoded records.
    let (Some(encoded_to), Some(encoded_from)) = (to.as_encoded(), view.as_encoded()) else {
        assert!(to.as_encoded().is_none() && view.as_encoded().is_none());
        return;
    };
    let (schema_of_view, form) = (view.schema(), encoded_from.stored_form());
    let takes = |encoded: &Encoded| {
        let takes = encoded_to.takes_encoded(&key("n"), schema_of_view, &form, encoded);
        takes.unwrap()
    };
    let of_nobody = || Encoded::new(8, 0, "of no store");
    assert!(!takes(&of_nobody()));
    let form_of_nobody = StoredForm::new("of no store");
    let planned = encoded_to.plan_in_form(&key("n"), schema_of_view, &form_of_nobody);
    assert_eq!(planned.unwrap(), None);
    let planned = encoded_to.plan_in_form(&key("n"), schema_of_view, &form);
    assert_eq!(planned.unwrap(), Some(4));
    let append = |start, encoded| EncodedChange::Append {
        key: key("n"),
        start,
        encoded,
    };
    let like_original = || EncodedChange::Declare {
        key: key("n"),
        schema: Arc::clone(schema_of_view),
        form: form.clone(),
        filled: 0,
    };
    let other = || {
        let schema = schema().with_chunk_policy(ChunkPolicy::records(3));
        EncodedChange::Plain(declare("n", schema))
    };
    let refused = |changes| {
        let refused = encoded_to.commit_encoded(changes);
        expect_error(refused, ErrorKind::Internal, &["n"]);
        assert_eq!(nodes(&to).len(), 1);
    };
    refused(vec![like_original(), append(0, of_nobody())]);
    let read = || encoded_from.read_encoded(0..8, usize::MAX).unwrap();
    assert_eq!(read().map(|encoded| encoded.len()), Some(8));
    let encoded = || read().unwrap();
    assert!(takes(&encoded()));
    refused(vec![other(), append(0, encoded())]);
    refused(vec![like_original(), append(1, encoded())]);
    let numbers = |start| append_numbers(&to, "n", start, start..start + 1);
    let plain = |start| EncodedChange::Plain(numbers(start));
    refused(vec![like_original(), append(0, encoded()), plain(8)]);
    refused(vec![like_original(), plain(0), append(1, encoded())]);
    let both = vec![like_original(), append(0, encoded())];
    encoded_to.commit_encoded(both).unwrap();
    commit(&to, vec![numbers(8)]).unwrap();
    assert_eq!(
        to.view(&key("n"))
            .unwrap()
            .unwrap()
            .read::<u64>()
            .unwrap()
            .sum(),
        36
    );
}
