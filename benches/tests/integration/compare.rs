//! The program `compare` does all of its work, on little data.

use std::fs;
use std::process::Command;

use serde_json::Value as Json;

#[test]
fn every_work_runs_and_all_candidates_agree_on_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let (data, results) = (folder.path().join("data"), folder.path().join("results"));
    fs::create_dir(&data).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(["--rounds", "1", "--scale", "0.001", "--arrays", "2"])
        .args(["--memory".as_ref(), data.as_os_str()])
        .args(["--disk".as_ref(), data.as_os_str()])
        .args(["--output".as_ref(), results.as_os_str()])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let left = fs::read_dir(&data).unwrap().count();
    assert_eq!(left, 0, "files that were not removed");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        fs::read_to_string(results.join("compare.md")).unwrap(),
        printed
    );
    let lines = fs::read_to_string(results.join("compare.jsonl")).unwrap();
    let lines: Vec<Json> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |what: &dyn Fn(&Json) -> bool| lines.iter().filter(|line| what(line)).count();
    let kind = |kind: &str| count(&|line| line["kind"] == kind);
    assert_eq!(kind("machine"), 1);
    assert_eq!(kind("latency"), 6);
    assert_eq!(kind("seed-table"), 6);
    assert_eq!(kind("long-run"), 3);

    // Each candidate takes part in all works that it supports.
    let by = |start: &str| count(&|line| line["name"].as_str().unwrap_or("").starts_with(start));
    let candidates = [
        ("simrecorder, Zarr/LMDB", 34),
        ("simrecorder, Zarr directory", 19),
        ("simrecorder, HDF5", 23),
        ("simrecorder, Redis", 4),
        ("bare loop", 3),
        ("one raw file", 4),
        ("memcpy", 3),
        ("mcap", 14),
        ("zarrs", 19),
        ("hdf5-metno", 14),
        ("simrecorder from Python", 11),
        ("dictionary of lists", 1),
        ("simrec ", 17),
        ("script", 7),
        ("h5ls", 2),
        ("h5dump", 1),
        ("h5repack", 1),
        ("h5py", 39),
        ("zarr-python", 20),
        ("TensorStore", 19),
        ("acquire-zarr", 10),
        ("redis-py", 8),
        ("redis-benchmark", 2),
    ];
    for (candidate, works) in candidates {
        assert_eq!(by(candidate), works, "{candidate}\n{printed}");
    }
    // A program that writes to a disk writes bytes and syncs them.
    let on_disk = |line: &Json| line["written_bytes"].is_number();
    assert_eq!(count(&on_disk), 29, "{printed}");
    let disks = |line: &Json| on_disk(line) && line["syncs"].as_u64() >= Some(1);
    assert_eq!(count(&disks), 29, "{printed}");
    for plot in ["tenths.svg", "keys.svg", "memory.svg"] {
        let plot = fs::read_to_string(results.join(plot)).unwrap();
        assert!(plot.trim_end().ends_with("</svg>"), "{plot}");
    }
}

#[test]
fn workloads_are_chosen_by_name_or_first_word() {
    let folder = tempfile::tempdir().unwrap();
    let chosen = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_compare"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.success(), output)
    };
    let (listed, output) = chosen(&["--list"]);
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(listed && names.contains("scalars-by-key\n") && names.ends_with("long-run\n"));
    let (known, output) = chosen(&["slice"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        !known && errors.contains("no work is called slice"),
        "{errors}"
    );
}
