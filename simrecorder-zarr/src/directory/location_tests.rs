//! Tests of paths, open modes and keys of the directory storage.

use super::tests::*;
use super::*;

#[test]
fn modes_keep_their_word() {
    use OpenMode::{Append, CreateNew, OpenOrCreate, Read, Truncate};
    let (folder, path) = recording();
    let open = |path: &Path, mode| DirectoryStorage::open(path, mode, Durability::Process);
    for mode in [Read, Append] {
        assert_eq!(kind(open(&path, mode)), ErrorKind::NotFound);
        assert_eq!(kind(open(Path::new(""), mode)), ErrorKind::InvalidArgument);
    }
    assert_eq!(
        kind(open(Path::new(""), CreateNew)),
        ErrorKind::InvalidArgument
    );
    fs::create_dir(&path).unwrap();
    for mode in [Read, Append] {
        assert_eq!(
            kind(open(&path, mode)),
            ErrorKind::NotFound,
            "an empty directory is nothing"
        );
    }
    assert_eq!(beside(&path), ["run.zarr"]);
    let storage = open(&path, CreateNew).unwrap();
    assert!(!storage.is_read_only());
    storage
        .commit(vec![set("zarr.json", "1"), tail("a", "t")])
        .unwrap();
    for mode in [Append, OpenOrCreate, Truncate] {
        let error = open(&path, mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
    }
    drop(storage);
    assert_eq!(beside(&path), ["run.zarr", "run.zarr.journal"]);
    assert_eq!(kind(open(&path, CreateNew)), ErrorKind::AlreadyExists);
    let storage = open(&path, OpenOrCreate).unwrap();
    assert_eq!(get(&storage, "zarr.json").unwrap(), b"1");
    drop(storage);
    let reader = open(&path, Read).unwrap();
    assert!(reader.is_read_only());
    assert_eq!(kind(reader.commit(vec![])), ErrorKind::ReadOnly);
    let storage = open(&path, Truncate).unwrap();
    assert_eq!(get(&storage, "zarr.json"), None);
    assert_eq!(get(&reader, "zarr.json"), None);
    assert_eq!(get_tail(&reader, "a"), b"");
    drop(storage);

    let nested = folder.path().join("x/y/run.zarr");
    open(&nested, OpenOrCreate).unwrap().close().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("notes.txt"), "x").unwrap();
    for mode in [Append, OpenOrCreate, Truncate] {
        assert_eq!(kind(open(&file, mode)), ErrorKind::InvalidArgument);
        assert_eq!(kind(open(&other, mode)), ErrorKind::InvalidArgument);
    }
    assert_eq!(kind(open(&other, CreateNew)), ErrorKind::AlreadyExists);
    assert_eq!(kind(open(&other, Read)), ErrorKind::NotFound);
    assert!(other.join("notes.txt").exists());
}

#[test]
fn a_journal_without_its_directory_counts_for_nothing() {
    let (_folder, path) = recording();
    let storage = create(&path);
    storage.commit(vec![set("zarr.json", "1")]).unwrap();
    drop(storage);
    fs::remove_dir_all(&path).unwrap();
    let append = DirectoryStorage::open(&path, OpenMode::Append, Durability::Power);
    assert_eq!(kind(append), ErrorKind::NotFound);
    assert_eq!(get(&create(&path), "zarr.json"), None);
}

#[test]
fn a_recording_is_one_through_all_its_names() {
    let (folder, path) = recording();
    let storage = create(&path);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let other = DirectoryStorage::open(&link, OpenMode::Append, Durability::Power);
    assert_eq!(kind(other), ErrorKind::Locked);
    storage.commit(vec![set("zarr.json", "1")]).unwrap();
    let reader = DirectoryStorage::open(&link, OpenMode::Read, Durability::Power).unwrap();
    assert_eq!(get(&reader, "zarr.json").unwrap(), b"1");
}

#[test]
fn keys_stay_in_the_recording_and_in_the_limits_of_the_system() {
    let (_folder, path) = recording();
    let storage = create(&path);
    let long = "x".repeat(256);
    let deep = ["d"; 2100].join("/");
    for key in [
        "", "..", "a/../b", "a//b", "/a", "a/", "./a", "a\0b", &long, &deep,
    ] {
        for change in [set(key, "x"), chunk(key, vec![0; 100]), erase(key)] {
            let result = storage.commit(vec![chunk("b/c/0", vec![0; 100]), change]);
            assert_eq!(kind(result), ErrorKind::InvalidKey, "{key:?}");
        }
    }
    assert_eq!(
        kind(storage.commit(vec![erase_path("..")])),
        ErrorKind::InvalidKey
    );
    assert_eq!(
        kind(storage.commit(vec![tail("a/..", "x")])),
        ErrorKind::InvalidKey
    );
    assert_eq!(
        fs::read_dir(&path).unwrap().count(),
        0,
        "nothing was written"
    );
    let read = storage.read(&mut |snapshot| {
        assert_eq!(snapshot.get(&long)?, None);
        assert_eq!(snapshot.children(&long)?, [""; 0]);
        snapshot.get("../run.zarr.lock").map(drop)
    });
    assert_eq!(kind(read), ErrorKind::InvalidKey);
    storage
        .commit(vec![
            set(&"x".repeat(255), "x"),
            erase_path(""),
            tail("", "x"),
        ])
        .unwrap();
}

#[test]
fn recordings_of_other_software_are_read() {
    let (_folder, path) = recording();
    fs::create_dir_all(path.join("c/0")).unwrap();
    fs::write(path.join("zarr.json"), "{}").unwrap();
    fs::write(path.join("c/0/0"), "chunk").unwrap();
    fs::create_dir_all(path.join("empty/c")).unwrap();
    let storage = DirectoryStorage::open(&path, OpenMode::Read, Durability::Power).unwrap();
    assert_eq!(get(&storage, "c/0/0").unwrap(), b"chunk");
    assert_eq!(children(&storage, ""), ["c"]);
    assert_eq!(children(&storage, "c"), ["0"]);
    assert_eq!(beside(&path), ["run.zarr"]);
}
