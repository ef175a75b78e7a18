//! Runs the program, with recordings in each backend.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use assert_cmd::Command;
use serde_json::json;
use simrecorder::{
    Blob, Coordinate, DataStore, Object, OpenMode, OpenOptions, Ragged, Recorder, Schema,
};
use simrecorder_testkit::names_in;
use tempfile::TempDir;

/// The program with these arguments.
pub(crate) fn simrec(arguments: &[&str]) -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("simrec");
    command.args(arguments);
    command
}

/// The output of the program. Checks that it succeeds and reports nothing.
#[track_caller]
pub(crate) fn stdout(arguments: &[&str]) -> String {
    let ended = simrec(arguments).assert().success().stderr("");
    String::from_utf8(ended.get_output().stdout.clone()).unwrap()
}

/// The error message of the program. Checks its exit status, and that the message is one line.
#[track_caller]
pub(crate) fn error(status: i32, arguments: &[&str]) -> String {
    let ended = simrec(arguments).assert().code(status);
    let line = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    line.trim_end().to_owned()
}

/// Places for recordings in each backend of this build.
pub(crate) struct Places {
    /// Stopped before the folder is removed.
    #[cfg(feature = "redis")]
    server: simrecorder::RedisServer,
    folder: TempDir,
}

impl Places {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            #[cfg(feature = "redis")]
            server: simrecorder::RedisServer::start(folder.path().join("server")).unwrap(),
            folder,
        }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The places where a recording can be created, in each backend.
    pub(crate) fn recordings(&self, name: &str) -> Vec<String> {
        let extensions = [
            (cfg!(feature = "zarr"), "mdb"),
            (cfg!(feature = "zarr"), "zarr"),
            (cfg!(feature = "hdf5"), "h5"),
        ];
        let there = extensions.into_iter().filter(|(is_on, _)| *is_on);
        let files = there.map(|(_, extension)| self.path(&format!("{name}.{extension}")));
        let servers: [String; _] = [
            #[cfg(feature = "redis")]
            format!("{}?run={name}", self.server.url()),
        ];
        files.chain(servers).collect()
    }
}

/// Creates a recording.
pub(crate) fn create(recording: &str) -> Arc<dyn DataStore> {
    let options = OpenOptions::new().mode(OpenMode::CreateNew);
    simrecorder::open_with(recording, &options).unwrap()
}

/// The number of ticks in the timeline of [`record_run`].
pub(crate) const TICKS: u32 = 20;

/// Records a series of each kind, values, and the timeline `net`, whose ticks are half a
/// millisecond apart.
pub(crate) fn record_run(recorder: &Recorder) {
    recorder.set("meta/seed", 42_u64).unwrap();
    recorder.set("meta/name", "a run").unwrap();
    for i in 0..4_u32 {
        recorder
            .record("events/log", format!("line {i}, \"quoted\""))
            .unwrap();
        recorder
            .record("events/rows", Ragged(vec![i; i as usize]))
            .unwrap();
        recorder
            .record("events/bytes", Blob(vec![i as u8, 0xff]))
            .unwrap();
        recorder
            .record("events/objects", Object(json!({"i": i, "name": "e"})))
            .unwrap();
    }
    let mut net = recorder
        .timeline("net", Coordinate::new("time").units("ms"))
        .unwrap();
    net.declare("v", Schema::array::<f32>([2, 2]).with_units("mV"))
        .unwrap();
    for step in 0..TICKS {
        net.advance(f64::from(step) * 0.5).unwrap();
        net.record("rate", if step == 3 { f64::NAN } else { f64::from(step) })
            .unwrap();
        let x = step as f32;
        net.record("v", [[x, x + 0.1], [x + 0.2, x + 0.3]]).unwrap();
    }
    net.finish().unwrap();
}

/// The recording of [`record_run`] in each backend.
pub(crate) fn runs(places: &Places) -> Vec<String> {
    let recordings = places.recordings("run");
    for recording in &recordings {
        let recorder = Recorder::new(create(recording));
        record_run(&recorder);
        recorder.close().unwrap();
    }
    recordings
}

/// The output of the program, parsed as lines of JSON.
#[track_caller]
pub(crate) fn json_lines(arguments: &[&str]) -> Vec<serde_json::Value> {
    let text = stdout(arguments);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The output of the program when its answer is no, with status 1.
#[track_caller]
pub(crate) fn answer_no(arguments: &[&str]) -> String {
    let ended = simrec(arguments).assert().code(1).stderr("");
    String::from_utf8(ended.get_output().stdout.clone()).unwrap()
}

/// The names in the folder of a path, sorted.
pub(crate) fn names_beside(path: &str) -> Vec<String> {
    names_in(Path::new(path).parent().unwrap())
}

/// Whether a recording is in files, not on a server.
pub(crate) fn is_file(recording: &str) -> bool {
    !recording.contains("://")
}

/// Starts the program with these arguments, as a child whose output is piped.
pub(crate) fn start(arguments: &[&str]) -> Child {
    std::process::Command::new(assert_cmd::cargo::cargo_bin!("simrec"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Sends a signal to a child.
pub(crate) fn send(signal: &str, child: &Child) {
    let command = format!("kill -s {signal} {}", child.id());
    let sent = std::process::Command::new("sh")
        .args(["-c", &command])
        .status();
    assert!(sent.unwrap().success());
}
