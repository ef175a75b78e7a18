//! `soak` runs for a second, records into a file, and finds all records.

use std::process::Command;

#[test]
fn a_second_of_the_soak_ends_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let results = folder.path().join("results");
    std::fs::create_dir(&results).expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .arg(format!("zarr:{}", folder.path().join("run.mdb").display()))
        .args(["--minutes", "0.02", "--rate", "2000", "--keys", "20"])
        .arg("--results")
        .arg(&results)
        .output()
        .expect("the soak starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let table = std::fs::read_to_string(results.join("soak-zarr.md")).expect("a table");
    assert!(
        table.contains("records were read back and compared"),
        "{table}"
    );
    // The header of the table, the line below it, and a line for each interval.
    assert_eq!(
        table.lines().filter(|line| line.starts_with('|')).count(),
        22
    );
}
