//! The program, and recordings of each backend for it.

use std::sync::Arc;

use assert_cmd::Command;
use simrecorder::{DataStore, OpenMode, OpenOptions};
use tempfile::TempDir;

/// The program with these arguments.
pub(crate) fn simrec(arguments: &[&str]) -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("simrec");
    command.args(arguments);
    command
}

/// What the program prints, after a check that it succeeds and reports nothing.
#[track_caller]
pub(crate) fn stdout(arguments: &[&str]) -> String {
    let ended = simrec(arguments).assert().success().stderr("");
    String::from_utf8(ended.get_output().stdout.clone()).unwrap()
}

/// The line that the program reports when it fails, after a check that it ends with this status and is one
/// line.
#[track_caller]
pub(crate) fn error(status: i32, arguments: &[&str]) -> String {
    let ended = simrec(arguments).assert().code(status);
    let line = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    line.trim_end().to_owned()
}

/// Where recordings of each backend are made that this build has.
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

    /// Where a recording of each backend can be created.
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
