//! Tests that kill the directory storage or make its disk fail.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use super::tests::*;
use super::*;
use crate::journal::{FORMAT, Record};

#[test]
fn a_torn_record_counts_for_nothing() {
    let (_folder, path) = recording();
    let storage = create(&path);
    let journal = journal_of(&path);
    storage
        .commit(vec![set("zarr.json", "1"), tail("a", "one")])
        .unwrap();
    let before = dump(&storage);
    let whole = fs::read(&journal).unwrap().len();
    storage
        .commit(vec![
            set("zarr.json", "2"),
            tail("a", "two"),
            erase("a/zarr.json"),
        ])
        .unwrap();
    drop(storage);
    let bytes = fs::read(&journal).unwrap();
    for cut in whole..bytes.len() {
        fs::write(&journal, &bytes[..cut]).unwrap();
        assert_eq!(dump(&follow(&path)), before);
        let storage = append(&path);
        assert_eq!(dump(&storage), before);
        assert_eq!(
            fs::read(&journal).unwrap().len(),
            whole,
            "the rest is cut off"
        );
        storage.commit(vec![set("zarr.json", "3")]).unwrap();
        drop(storage);
        assert_eq!(get(&follow(&path), "zarr.json").unwrap(), b"3");
    }
}

/// Creates a recording with an example of everything that files and the journal can contain.
/// Returns its expected contents, too.
fn busy(path: &Path) -> (DirectoryStorage, Model) {
    let storage = create(path);
    let commits = [
        vec![
            set("zarr.json", "0"),
            set("a/zarr.json", "0"),
            chunk("a/c/0", vec![1; 40]),
            chunk("a/c/1", vec![2; 40]),
            set("ab/zarr.json", "0"),
            chunk("ab/c/0", vec![2; 40]),
            set("a/b/zarr.json", "0"),
            set_slot("a/s.0", 1, vec![1; 30]),
            set_slot("ab/s", 0, vec![2; 30]),
            set_slot("ab/s", 1, vec![3; 50]),
        ],
        vec![
            erase_path("a"),
            set("zarr.json", "1"),
            set("a/zarr.json", "1"),
            tail("a", "123"),
        ],
        vec![
            chunk("a/c/0", vec![3; 40]),
            erase("ab/c/0"),
            tail("ab", vec![9; 5000]),
            set_slot("ab/s", 0, vec![4; 40]),
            set_slot("ab/s", 3, vec![5; 700]),
        ],
        vec![
            set("a-b/zarr.json", vec![4; 5000]),
            chunk("a/c/1", "s"),
            tail_end("a", 1, "34"),
            tail("a", "56"),
            set_slot("ab/s", 3, vec![6; 800]),
            erase_slot("ab/s", 1),
        ],
    ];
    let mut model = Model::new();
    for (index, commit) in commits.into_iter().enumerate() {
        commit
            .iter()
            .for_each(|change| apply_to_model(&mut model, change));
        storage.commit(commit).unwrap();
        if index == 0 {
            storage.checkpoint().unwrap();
        }
    }
    (storage, model)
}

#[test]
fn a_checkpoint_may_be_killed_at_any_moment() {
    for clear_tails in [false, true] {
        let mut steps = 0;
        loop {
            let (_folder, path) = recording();
            let (storage, mut model) = busy(&path);
            if clear_tails {
                let clears = [clear("a"), clear("ab")];
                clears
                    .iter()
                    .for_each(|change| apply_to_model(&mut model, change));
                storage.commit(clears.to_vec()).unwrap();
            }
            let early = follow(&path);
            set_fault(&storage, steps, false);
            let done = storage.checkpoint();
            assert_eq!(
                dump(&storage),
                model,
                "the writer itself, after {steps} steps"
            );
            drop(storage);
            assert_eq!(
                dump(&early),
                model,
                "a reader from before, after {steps} steps"
            );
            assert_eq!(
                dump(&follow(&path)),
                model,
                "a new reader, after {steps} steps"
            );
            let storage = append(&path);
            assert_eq!(
                dump(&storage),
                model,
                "the next writer, after {steps} steps"
            );
            storage
                .commit(vec![
                    chunk("a/c/0", vec![8; 40]),
                    chunk("ab/c/0", vec![9; 40]),
                    set_slot("ab/s", 2, vec![8; 40]),
                    set_slot("a/b/s", 2, vec![9; 40]),
                ])
                .unwrap();
            model.insert("a/c/0".into(), vec![8; 40]);
            model.insert("ab/c/0".into(), vec![9; 40]);
            model.insert("ab/s#2".into(), vec![8; 40]);
            model.insert("a/b/s#2".into(), vec![9; 40]);
            assert_eq!(dump(&storage), model, "chunks written after {steps} steps");
            storage.checkpoint().unwrap();
            assert_eq!(dump(&storage), model);
            drop(storage);
            assert_eq!(dump(&append(&path)), model);
            if done.is_ok() {
                assert!(steps > 30, "{steps}");
                break;
            }
            steps += 1;
        }
    }
}

#[test]
fn a_commit_may_fail_or_be_killed_at_any_moment() {
    let mut any_taken_back = false;
    for once in [false, true] {
        let mut steps = 0;
        loop {
            let (_folder, path) = recording();
            let (storage, before) = busy(&path);
            let reader = follow(&path);
            let commit = vec![
                chunk("ab/c/1", vec![1; 40]),
                set("zarr.json", "2"),
                erase_path("a-b"),
                tail("a", "789"),
                set_slot("ab/s", 1, vec![7; 60]),
                erase_slot("ab/s", 0),
            ];
            let mut after = before.clone();
            commit
                .iter()
                .for_each(|change| apply_to_model(&mut after, change));
            // A chunk may show early.
            let dump = |storage: &DirectoryStorage| {
                let mut found = dump(storage);
                found.remove("ab/c/1");
                found
            };
            after.remove("ab/c/1");

            set_fault(&storage, steps, once);
            let done = storage.commit(commit).is_ok();
            let expected = if done { &after } else { &before };
            assert_eq!(&dump(&storage), expected, "after {steps} steps");
            if once && !done {
                assert_eq!(&dump(&reader), expected, "a reader, after {steps} steps");
                let taken_back = is_taken_back(&storage);
                let journal = fs::metadata(journal_of(&path)).unwrap().ino();
                // It has the length of the failed record, so that only its content differs.
                storage
                    .commit(vec![
                        set("zarr.json", "3"),
                        erase_path("a-b"),
                        tail("a", "000"),
                    ])
                    .unwrap();
                // A reader that saw the withdrawn record must not confuse the new one with it.
                let replaced = fs::metadata(journal_of(&path)).unwrap().ino() != journal;
                assert_eq!(replaced, taken_back, "after {steps} steps");
                any_taken_back |= taken_back;
                let changed = dump(&storage);
                assert_eq!(changed["zarr.json"], b"3");
                assert_eq!(dump(&reader), changed, "a reader, after {steps} steps");
                drop(storage);
                assert_eq!(dump(&append(&path)), changed);
            } else {
                drop(storage);
                let found = dump(&append(&path));
                // A kill after the record was written leaves a commit that was not reported.
                assert!(
                    found == *expected || !done && found == after,
                    "after {steps} steps"
                );
                assert_eq!(dump(&reader), found);
            }
            if done {
                assert!(steps > 6, "{steps}");
                break;
            }
            steps += 1;
        }
    }
    assert!(any_taken_back);
}

fn is_taken_back(storage: &DirectoryStorage) -> bool {
    matches!(&*storage.shared.writer.lock(), State::Writer(writer) if writer.taken_back)
}

#[test]
fn a_reader_forgets_a_record_that_was_taken_back() {
    let (_folder, path) = recording();
    drop(create(&path));
    // In place, as the writer writes.
    let write = |commits: &[Change]| {
        let (header, mut position) = FORMAT.encode_header(1);
        let mut bytes = header.to_vec();
        for change in commits {
            let mut record = Record::default();
            record.push(change);
            let sealed = record.seal(position);
            bytes.extend_from_slice(&sealed.bytes);
            position = sealed.end;
        }
        fs::write(journal_of(&path), bytes).unwrap();
    };
    let first = set("zarr.json", "1");
    write(&[first.clone(), set("a/zarr.json", "taken back")]);
    let reader = follow(&path);
    assert!(get(&reader, "a/zarr.json").is_some());
    write(&[
        first,
        set("a/zarr.json", "of a size."),
        set("ab/zarr.json", "2"),
    ]);
    let found = dump(&reader);
    assert_eq!(found["a/zarr.json"], b"of a size.");
    assert_eq!(found["ab/zarr.json"], b"2");
}

#[test]
fn a_reader_forgets_a_record_that_was_taken_back_before_a_kill() {
    let (_folder, path) = recording();
    let (storage, before) = busy(&path);
    let reader = follow(&path);
    let journal = File::options().write(true).open(journal_of(&path)).unwrap();
    let length = journal.metadata().unwrap().len();
    storage
        .commit(vec![set("zarr.json", "2"), tail("a", "789")])
        .unwrap();
    assert_eq!(get(&reader, "zarr.json").unwrap(), b"2");
    drop(storage);
    journal.set_len(length).unwrap();

    let storage = append(&path);
    assert_eq!(dump(&storage), before);
    // It has the length of the withdrawn record.
    storage
        .commit(vec![set("zarr.json", "3"), tail("a", "000")])
        .unwrap();
    let changed = dump(&storage);
    assert_eq!(changed["zarr.json"], b"3");
    assert_eq!(dump(&reader), changed);
}

#[test]
fn a_journal_that_cannot_be_cut_back_ends_writing() {
    let (_folder, path) = recording();
    let (storage, before) = busy(&path);
    set_fault(&storage, 0, false);
    let lost = storage.commit(vec![set("zarr.json", "lost")]);
    assert_eq!(kind(lost), ErrorKind::StorageFull);
    set_fault(&storage, u64::MAX, false);
    let error = storage.commit(vec![set("zarr.json", "next")]).unwrap_err();
    assert!(
        error.to_string().contains("open the recording again"),
        "{error}"
    );
    assert_eq!(kind(storage.checkpoint()), ErrorKind::StorageFull);
    storage.close().unwrap();
    assert_eq!(dump(&append(&path)), before);
}

#[test]
fn the_first_commit_may_be_killed_at_any_moment() {
    let mut chunk_alone = false;
    for steps in 0.. {
        let (_folder, path) = recording();
        let storage = create(&path);
        set_fault(&storage, steps, false);
        let commit = vec![chunk("a/c/0", vec![1; 40]), set("zarr.json", "0")];
        let done = storage.commit(commit).is_ok();
        drop(storage);
        let storage = append(&path);
        let found = get(&storage, "zarr.json").is_some();
        assert!(found || !done);
        chunk_alone |= !found && path.join("a/c/0").exists();
        storage.commit(vec![set("zarr.json", "0")]).unwrap();
        storage.close().unwrap();
        drop(append(&path));
        if done {
            break;
        }
    }
    assert!(chunk_alone);
}

#[test]
fn what_follows_a_killed_first_commit_may_be_killed_at_any_moment() {
    for steps in 0.. {
        let (_folder, path) = recording();
        let storage = create(&path);
        // The chunk of a commit whose record was not written.
        fs::create_dir_all(path.join("a/c")).unwrap();
        fs::write(path.join("a/c/0"), [1; 40]).unwrap();
        drop(storage);
        let storage = append(&path);
        set_fault(&storage, steps, false);
        let done = storage.commit(vec![set("zarr.json", "0")]).is_ok();
        drop(storage);
        let storage = append(&path);
        assert!(get(&storage, "zarr.json").is_some() || !done);
        if done {
            break;
        }
    }
}

#[test]
fn a_first_writer_of_another_softwares_directory_may_be_killed_at_any_moment() {
    let mut given = 0;
    for steps in 0.. {
        let (_folder, path) = recording();
        fs::create_dir_all(path.join("a")).unwrap();
        let root = r#"{"zarr_format": 3, "node_type": "group", "attributes": {"b": 1}}"#;
        fs::write(path.join("zarr.json"), root).unwrap();
        fs::write(path.join("a/zarr.json"), "0").unwrap();
        let reader = follow(&path);
        FAULT_AT_OPEN.set(steps);
        let limits = TINY;
        let opened =
            DirectoryStorage::open_with(&path, OpenMode::Append, Durability::Power, limits);
        FAULT_AT_OPEN.set(u64::MAX);
        let done = opened.and_then(|storage| {
            storage.commit(vec![set("a/zarr.json", "1"), tail("a", "t")])?;
            storage.commit(vec![set("a/zarr.json", "2"), tail("a", "u")])?;
            storage.checkpoint()
        });
        let found = dump(&follow(&path));
        assert_eq!(dump(&reader), found, "after {steps} steps");
        assert_eq!(dump(&append(&path))["a/zarr.json"], found["a/zarr.json"]);
        let text = std::str::from_utf8(&found["zarr.json"]).unwrap();
        given += u64::from(text != root);
        assert!(text == root || text.contains(r#""b":1"#) && text.contains(r#""id":""#));
        if done.is_ok() {
            assert_eq!(found["a/zarr.json"], b"2");
            assert_eq!(get_tail(&reader, "a"), b"tu");
            assert!(given > 10 && given < steps, "{given} of {steps}");
            break;
        }
    }
}
