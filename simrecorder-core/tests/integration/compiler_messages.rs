//! Messages of the compiler for programs that it refuses.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The library that this program was linked with, which is the last one that was built.
fn library() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let folder = program.parent().expect("it is in a folder");
    let files = folder.read_dir().expect("the folder can be read");
    let libraries = files.filter_map(|file| {
        let path = file.ok()?.path();
        let name = path.file_name()?.to_str()?;
        let is_library = name.starts_with("libsimrecorder_core-") && name.ends_with(".rlib");
        let modified = path.metadata().ok()?.modified().ok()?;
        is_library.then_some((modified, path))
    });
    let newest = libraries.max();
    newest.expect("the library is next to its tests").1
}

/// Checks that the compiler refuses a program with this body, and that its message has all `parts`.
#[track_caller]
fn refused(body: &str, parts: &[&str]) {
    let library = library();
    let dependencies = library.parent().unwrap_or(Path::new("."));
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--crate-name=refused", "--emit=metadata"])
        .arg(format!("--out-dir={}", env!("CARGO_TARGET_TMPDIR")))
        .arg(format!("--extern=simrecorder_core={}", library.display()))
        .arg(format!("-Ldependency={}", dependencies.display()))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rustc starts, as it did to build this test");
    let program = format!(
        "use simrecorder_core::*;
        pub struct OtherNdarray;
        pub fn refused(recorder: &Recorder) {{ {body}; }}
        fn main() {{}}"
    );
    let mut stdin = rustc.stdin.take().expect("it is piped");
    stdin.write_all(program.as_bytes()).expect("rustc reads it");
    drop(stdin);
    let output = rustc.wait_with_output().expect("rustc ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{body} is accepted");
    for part in parts {
        assert!(
            text.contains(part),
            "'{part}' is not in the message of {body}:\n{text}"
        );
    }
}

#[test]
fn what_cannot_be_recorded_is_refused_by_the_compiler_with_what_to_record_instead() {
    let rows = [
        "`Ragged(&row)`",
        "`Array2` of `simrecorder::ndarray`",
        "`Vec<[f64; N]>`",
    ];
    refused("recorder.record(\"x\", vec![vec![0.5]])", &rows);
    refused("recorder.record(\"x\", &vec![vec![0.5]])", &rows);
    refused("recorder.set(\"x\", vec![vec![0.5]])", &rows);
    refused(
        "recorder.record(\"x\", &OtherNdarray)",
        &[
            "`OtherNdarray` cannot be recorded as it is",
            "another version of `ndarray`",
            "(array.shape(), elements)",
            "`Blob(&bytes)`",
            "`Object(&value)`",
        ],
    );
    refused(
        "recorder.series::<String>(\"x\")",
        &["is not an element type"],
    );
}

#[test]
fn a_recorder_of_a_path_is_refused_by_the_compiler_with_how_to_open_it() {
    let open = [
        "`Recorder::new(simrecorder::create(\"run.mdb\")?)`",
        "`append`",
    ];
    refused("Recorder::new(\"run.mdb\")", &open);
    refused("Recorder::new(String::new())", &open);
    refused("Recorder::new(std::path::Path::new(\"run.mdb\"))", &open);
    refused("Recorder::new(std::path::PathBuf::new())", &open);
    refused("Recorder::new((\"run.mdb\", \"run.h5\"))", &open);
    let copied = "let to = InMemoryDataStore::new(); copy(&\"run.mdb\", &to, CopyOptions::new())";
    refused(
        copied,
        &["is not a store", "`simrecorder::create(\"run.mdb\")?`"],
    );
}
