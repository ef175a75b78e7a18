//! Tests of the directory storage against a simple model, and of readers against a writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::tests::*;
use super::*;

#[test]
fn a_snapshot_stays_as_it_is() {
    let (_folder, path) = recording();
    let storage = create(&path);
    storage
        .commit(vec![set("zarr.json", "1"), tail("a", "1")])
        .unwrap();
    storage
        .read(&mut |snapshot| {
            thread::scope(|scope| {
                let work = || storage.commit(vec![set("zarr.json", "2"), tail("a", "2")]);
                scope.spawn(work).join().unwrap()
            })?;
            assert_eq!(snapshot.get("zarr.json")?.unwrap(), "1");
            assert_eq!(snapshot.tail("a")?, b"1");
            Ok(())
        })
        .unwrap();
    assert_eq!(get_tail(&storage, "a"), b"12");

    // A snapshot reads again what a checkpoint changed under it.
    let shared = DirectoryStorage::open(&path, OpenMode::Read, Durability::Power).unwrap();
    for reader in [follow(&path), shared] {
        let before = vec![set("a/zarr.json", "2"), clear("a"), tail("a", "12")];
        storage.commit(before).unwrap();
        storage.checkpoint().unwrap();
        let mut calls = 0;
        reader
            .read(&mut |snapshot| {
                calls += 1;
                let tail = if calls == 1 {
                    storage.commit(vec![set("a/zarr.json", "3"), clear("a")])?;
                    storage.checkpoint()?;
                    "12"
                } else {
                    ""
                };
                assert_eq!(snapshot.get("a/zarr.json")?.unwrap(), "3");
                assert_eq!(snapshot.tail("a")?, tail.as_bytes());
                Ok(())
            })
            .unwrap();
        assert_eq!(calls, 2);

        // There is no journal, before or after.
        calls = 0;
        reader
            .read(&mut |snapshot| {
                calls += 1;
                let first = snapshot.get("a/zarr.json")?.unwrap();
                if calls == 1 {
                    storage.commit(vec![set("a/zarr.json", "4"), set("ab/zarr.json", "4")])?;
                    storage.checkpoint()?;
                }
                assert_eq!(calls != 1, first == snapshot.get("ab/zarr.json")?.unwrap());
                Ok(())
            })
            .unwrap();
        assert_eq!(calls, 2);
    }
}

/// The writer and readers run at the same time. Every snapshot shows the same number everywhere.
#[test]
fn readers_never_see_a_mixture() {
    let (_folder, path) = recording();
    let limits = Limits {
        journal: 3000,
        many_files: 32,
        ..TINY
    };
    let mode = OpenMode::CreateNew;
    let storage = DirectoryStorage::open_with(&path, mode, Durability::Process, limits).unwrap();
    let state = |round: u32| {
        let text = format!("{round}");
        vec![
            set("zarr.json", text.clone()),
            if round.is_multiple_of(3) {
                erase_path("a")
            } else {
                set("a/zarr.json", text.clone())
            },
            set("ab/zarr.json", text.clone()),
            clear("a"),
            tail("a", text.clone()),
            clear("a"),
            tail("a", text),
        ]
    };
    storage.commit(state(1)).unwrap();
    let done = AtomicBool::new(false);
    let check = |reader: &DirectoryStorage| {
        let mut last = 0;
        let mut reads = 0;
        while !done.load(Ordering::SeqCst) || reads == 0 {
            let mut seen = None;
            let result = reader.read(&mut |snapshot| {
                let root = snapshot.get("zarr.json")?;
                let a = snapshot.get("a/zarr.json")?;
                seen = Some((root, a, snapshot.tail("a")?, snapshot.get("ab/zarr.json")?));
                Ok(())
            });
            match result {
                Ok(()) => {}
                // This writer only makes checkpoints.
                Err(error) if error.to_string().contains("try again") => continue,
                Err(error) => panic!("{error}"),
            }
            let (root, a, tail, ab) = seen.unwrap();
            let root = root.unwrap();
            let round: u32 = std::str::from_utf8(&root).unwrap().parse().unwrap();
            assert!(round >= last);
            assert_eq!(a, (!round.is_multiple_of(3)).then(|| root.clone()));
            assert_eq!(ab.as_ref(), Some(&root));
            assert_eq!(tail, root);
            last = round;
            reads += 1;
        }
    };
    thread::scope(|scope| {
        let other = follow(&path);
        let shared = DirectoryStorage::open(&path, OpenMode::Read, Durability::Power).unwrap();
        let readers = [
            scope.spawn(move || check(&other)),
            scope.spawn(move || check(&shared)),
        ];
        for round in 2..600 {
            storage.commit(state(round)).unwrap();
            if round.is_multiple_of(2) {
                storage.checkpoint().unwrap();
            }
        }
        done.store(true, Ordering::SeqCst);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    Checkpoint,
    Reopen,
    Close,
}

fn any_change() -> impl Strategy<Value = Change> {
    let key = || prop::sample::select(&KEYS[..]);
    let path = || prop::sample::select(&PATHS[..]);
    let shard = || prop::sample::select(all_slots().collect::<Vec<_>>());
    let bytes = || {
        let length = prop_oneof![4 => 0usize..20, 1 => Just(4097usize)];
        (any::<u8>(), length).prop_map(|(byte, length)| vec![byte; length])
    };
    prop_oneof![
        4 => (key(), bytes()).prop_map(|(key, bytes)| set(key, bytes)),
        4 => (key(), bytes()).prop_map(|(key, bytes)| chunk(key, bytes)),
        2 => key().prop_map(erase),
        4 => (shard(), bytes()).prop_map(|((shard, slot), bytes)| set_slot(shard, slot, bytes)),
        1 => shard().prop_map(|(shard, slot)| erase_slot(shard, slot)),
        2 => path().prop_map(erase_path),
        3 => (path(), bytes()).prop_map(|(array, bytes)| tail(array, bytes)),
        1 => path().prop_map(clear),
        2 => (path(), 0..40_u64, bytes())
            .prop_map(|(array, dropped, bytes)| tail_end(array, dropped, bytes)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(any_change(), 0..8).prop_map(Step::Commit),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_behaves_like_a_map(
        steps in prop::collection::vec(any_step(), 1..24),
        journal in prop_oneof![Just(u64::MAX), 100u64..4000],
    ) {
        let (_folder, path) = recording();
        let limits = Limits { journal, ..TINY };
        let open = |mode| {
            DirectoryStorage::open_with(&path, mode, Durability::Process, limits).unwrap()
        };
        let mut storage = open(OpenMode::CreateNew);
        // With metadata at the root, the directory remains a recording whatever is erased.
        let root = set("zarr.json", "root");
        let mut model = Model::new();
        apply_to_model(&mut model, &root);
        storage.commit(vec![root.clone()]).unwrap();
        let reader = follow(&path);
        for step in steps {
            match step {
                Step::Commit(mut changes) => {
                    // No commit erases a shard and writes it again.
                    let mut erases = false;
                    changes.retain(|it| {
                        erases |= matches!(it, Change::ErasePath { .. });
                        !erases || !matches!(it, Change::SetInShard { .. })
                    });
                    changes.push(root.clone());
                    changes.iter().for_each(|change| apply_to_model(&mut model, change));
                    storage.commit(changes).unwrap();
                }
                Step::Checkpoint => storage.checkpoint().unwrap(),
                Step::Reopen | Step::Close => {
                    if matches!(step, Step::Close) {
                        storage.close().unwrap();
                    }
                    drop(storage);
                    storage = open(OpenMode::Append);
                }
            }
            prop_assert_eq!(&dump(&storage), &model);
            prop_assert_eq!(&dump(&reader), &model);
        }
        model.retain(|key, _| !key.starts_with("tail:"));
        let clears = PATHS.iter().map(|path| clear(path)).collect();
        storage.commit(clears).unwrap();
        storage.close().unwrap();
        prop_assert_eq!(beside(&path), ["run.zarr"]);
        for key in KEYS {
            let file = fs::read(path.join(key)).ok();
            prop_assert_eq!(file.as_ref(), model.get(key), "{}", key);
        }
        for shard in SHARDS {
            let chunks = (0..SLOTS).filter_map(|slot| {
                Some((slot, model.get(&format!("{shard}#{slot}"))?.clone()))
            });
            let chunks: BTreeMap<_, _> = chunks.collect();
            let file = shard_file(&path, shard);
            prop_assert_eq!(file, (!chunks.is_empty()).then_some(chunks), "{}", shard);
        }
    }

    #[test]
    fn a_damaged_journal_gives_a_prefix_or_an_error(at in any::<prop::sample::Index>(), to: u8) {
        let (_folder, path) = recording();
        let storage = create(&path);
        let mut states = vec![dump(&storage)];
        for text in ["1", "22", "333"] {
            storage.commit(vec![set("zarr.json", text), tail("a", text), erase_path("ab")]).unwrap();
            states.push(dump(&storage));
        }
        drop(storage);
        let mut bytes = fs::read(journal_of(&path)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        fs::write(journal_of(&path), bytes).unwrap();
        match DirectoryStorage::open(&path, OpenMode::Append, Durability::Process) {
            Ok(storage) => prop_assert!(states.contains(&dump(&storage))),
            Err(error) => prop_assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported),
                "{}", error
            ),
        }
    }
}
