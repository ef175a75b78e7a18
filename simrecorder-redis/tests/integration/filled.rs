//! Series that begin with filled records, on one server and in a cluster: freed, drained, and in Python.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::backend::SharedStore;
use simrecorder_core::{
    ArrayView, Change, Commit, DataStore, DataStoreExt, DrainOptions, ErrorKind, InMemoryDataStore,
    Key, OpenMode, Schema, drain,
};
use simrecorder_redis::RedisDataStore;
use simrecorder_testkit::filled::{
    FILLED, append_after_filled, check_after_filled, declare_filled,
};

use crate::claims::{append, claim};
use crate::support::cluster::Cluster;
use crate::support::{cli, server};

fn drain_into(from: &RedisDataStore, to: &InMemoryDataStore) {
    drain(from, to, DrainOptions::new()).unwrap();
}

#[test]
fn a_drain_keeps_filled_records() {
    let server = server();
    let (store, target) = (
        RedisDataStore::create(server.url()).unwrap(),
        InMemoryDataStore::new(),
    );
    declare_filled(&store);
    drain_into(&store, &target);
    check_after_filled(&target, 0);
    let number = Key::new("net/number").unwrap();
    let view = |store: &dyn DataStore| store.view(&number).unwrap().unwrap();
    assert_eq!(
        (view(&store).first_record(), view(&store).len()),
        (FILLED, 0)
    );
    append_after_filled(&store, 0..20);
    assert_eq!((view(&store).filled(), view(&store).len()), (0, 20));
    drain_into(&store, &target);
    check_after_filled(&target, 20);

    // A drain that was killed before it freed anything does not compare filled records.
    let again = RedisDataStore::options()
        .run("again")
        .mode(OpenMode::CreateNew);
    let again = again.open(server.url()).unwrap();
    declare_filled(&again);
    append_after_filled(&again, 0..20);
    let target = InMemoryDataStore::new();
    declare_filled(&target);
    append_after_filled(&target, 0..5);
    drain_into(&again, &target);
    check_after_filled(&target, 20);
}

#[test]
fn filled_records_may_be_freed() {
    let server = server();
    let store = RedisDataStore::create(server.url()).unwrap();
    declare_filled(&store);
    append_after_filled(&store, 0..20);
    let number = Key::new("net/number").unwrap();
    let before = store.view(&number).unwrap().unwrap();
    for (first, filled) in [(10, FILLED - 10), (FILLED, 0), (FILLED + 5, 0)] {
        store.free(&[(number.clone(), first)]).unwrap();
        let view = store.view(&number).unwrap().unwrap();
        let len = FILLED + 20 - first;
        assert_eq!((view.filled(), view.len()), (filled, len));
        let tail = view.read_records(len - 3..len, usize::MAX).unwrap();
        let numbers = [17_i64, 18, 19].map(i64::to_ne_bytes).concat();
        assert_eq!(tail.data(), numbers);
        let error = before.get(5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        if filled > 0 {
            assert_eq!(view.get(filled - 1).unwrap().scalar::<i64>().unwrap(), 7);
            assert_eq!(view.as_shared().unwrap().writer_of(0).unwrap(), None);
        }
    }
}

#[test]
fn a_server_stores_nothing_for_filled_records() {
    let server = server();
    let store = RedisDataStore::create(server.url()).unwrap();
    declare_filled(&store);
    let keys = cli(server.server.port(), &["KEYS", "*:index"]);
    assert_eq!(keys.trim(), "");
    append_after_filled(&store, 0..1);
    check_after_filled(&store, 1);
}

#[test]
fn filled_series_of_a_cluster_share_a_slot_or_not() {
    let cluster = Cluster::start();
    let store = RedisDataStore::create(&cluster.url()).unwrap();
    let declare = |name: &str| Change::Declare {
        key: Key::new(name).unwrap(),
        schema: Schema::scalar::<u64>().with_fill_value(7_u64).into(),
        filled: 5,
    };
    let mut changes = vec![claim("net")];
    for name in ["net/v", "own/v"] {
        changes.push(declare(name));
        changes.push(append(&store, name, 5, 5));
    }
    store.commit(Commit::new(changes)).unwrap();
    let check = |name: &str, numbers: &[u64]| {
        let view = store.view(&Key::new(name).unwrap()).unwrap().unwrap();
        assert_eq!(view.filled(), 5.min(numbers.len() as u64), "{name}");
        assert_eq!(
            view.read::<u64>().unwrap().as_slice().unwrap(),
            numbers,
            "{name}"
        );
    };
    for name in ["net/v", "own/v"] {
        check(name, &[7, 7, 7, 7, 7, 5, 6, 7, 8, 9]);
        let truncate = |len| Change::Truncate {
            key: Key::new(name).unwrap(),
            len,
        };
        store.commit(Commit::new(vec![truncate(7)])).unwrap();
        check(name, &[7, 7, 7, 7, 7, 5, 6]);
        store.commit(Commit::new(vec![truncate(3)])).unwrap();
        check(name, &[7, 7, 7]);
        store.remove(&Key::new(name).unwrap()).unwrap();
        store.commit(Commit::new(vec![declare(name)])).unwrap();
        check(name, &[7; 5]);
    }
}
