//! The program that compares does all of its work, on little data.

use std::process::Command;

#[test]
fn every_work_runs_and_all_contenders_agree_on_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(["--rounds", "1", "--scale", "0.002"])
        .arg("--memory")
        .arg(folder.path())
        .arg("--disk")
        .arg(folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let tables = String::from_utf8_lossy(&output.stdout);
    let rows = |contender: &str| tables.matches(&format!("| {contender}")).count();
    assert_eq!(rows("simrecorder, Zarr/LMDB"), 8, "{tables}");
    assert_eq!(rows("TensorStore"), 1, "{tables}");
    assert_eq!(rows("simrecorder, HDF5"), 8, "{tables}");
    assert_eq!(rows("h5py"), 8, "{tables}");
    assert_eq!(rows("simrecorder, Redis"), 4, "{tables}");
    assert_eq!(rows("redis-benchmark"), 2, "{tables}");
    assert_eq!(rows("redis-py"), 1, "{tables}");
    assert_eq!(rows("10000 |"), 1, "{tables}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
