//! Tests of the LMDB storage with other processes: this test program, run again.

use simrecorder_core::OpenMode;
use simrecorder_testkit::{Partner, role, this_test, wait_for_parent};

use super::tests::{open, set};
use super::*;

#[test]
fn killed_readers_do_not_make_the_file_grow() {
    const NAME: &str = "killed_readers_do_not_make_the_file_grow";
    const COMMITS: u32 = 1000;
    if let Some(path) = role() {
        let reader = open(&path, OpenMode::Read);
        let read = &mut |_: &dyn Snapshot| {
            wait_for_parent();
            Ok(())
        };
        reader.read(read).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let options = LmdbOptions::default()
        .mode(OpenMode::CreateNew)
        .durability(Durability::Process);
    let writer = LmdbStorage::open(&path, &options).unwrap();
    let commit = |number: u32| {
        let value = [number as u8; 800];
        let keys = (0..10).map(|key| set(&format!("{key}"), &value));
        writer.commit(keys.collect()).unwrap();
    };
    commit(0);
    let readers = [(); 3].map(|()| Partner::start(&mut this_test(NAME, &path)));
    for mut reader in readers {
        reader.0.kill().unwrap();
        reader.0.wait().unwrap();
    }
    (0..COMMITS).for_each(commit);
    let length = std::fs::metadata(path.join("data.mdb")).unwrap().len();
    // A commit writes about six pages, all of which a killed reader would keep.
    assert!(length < 3 << 20, "the file has {length} bytes");
}
