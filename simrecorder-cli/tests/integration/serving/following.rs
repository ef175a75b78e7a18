//! The events that a page receives while simulations write.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use simrecorder::Recorder;

use super::{Server, encoded};
use crate::support::{Places, create, is_file};

/// The messages of a stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(server: &Server, watched: &[&str]) -> Self {
        let mut stream = server.connect();
        // Longer than any message takes, so that a test fails instead of hanging.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let watched: String = watched
            .iter()
            .map(|key| format!("watch={}&", encoded(key)))
            .collect();
        let request = format!(
            "GET /api/events?{watched} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            server.host,
            server.cookie()
        );
        stream.write_all(request.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    fn next(&mut self) -> Json {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The first message about the first recording that meets the condition.
    fn wait_for(&mut self, is_so: impl Fn(&Json) -> bool) -> Json {
        loop {
            let message = self.next()[0].take();
            if is_so(&message) {
                return message;
            }
        }
    }
}

#[test]
fn new_records_and_the_end_of_a_run_are_reported_on_every_backend() {
    let places = Places::new();
    for run in places.recordings("growing") {
        let recorder = Recorder::new(create(&run));
        recorder.record("a/b", 1.0).unwrap();
        recorder.flush().unwrap();
        let server = Server::start(&[&run]);
        let mut events = Events::of(&server, &["0:a/b", "0:later"]);
        let first = events.next();
        assert_eq!(
            first[0]["lengths"],
            json!({"a/b": 1, "later": null}),
            "{run}"
        );
        assert_eq!(first[0]["state"], "recording", "{run}");
        for len in 2..5 {
            recorder.record("a/b", 2.0).unwrap();
            recorder.record("later", 3.0).unwrap();
            recorder.flush().unwrap();
            let told = events.wait_for(|message| message["lengths"]["a/b"] == len);
            assert_eq!(told["lengths"]["later"], len - 1, "{run}");
            let figure = server.json("figure?recording=0&key=a/b");
            assert_eq!(figure["note"], format!("{len} of {len} points"));
        }
        // A page that reconnects receives everything at once.
        assert_eq!(
            Events::of(&server, &["0:a/b"]).next()[0]["lengths"]["a/b"],
            4
        );
        recorder.close().unwrap();
        drop(recorder);
        events.wait_for(|message| message["state"] == "ended");
    }
}

#[test]
fn a_killed_writer_is_told() {
    let places = Places::new();
    let folder = places.path("temporary");
    fs::create_dir(&folder).unwrap();
    // A simulation in another process, which writes into its own folder.
    let simulation = Command::new(assert_cmd::cargo::cargo_bin!("simrec"))
        .args(["serve", "--demo"])
        .env("TMPDIR", &folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut simulation = Server::of(simulation);
    let entry = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    let run = entry.path().join("demo.mdb");
    let server = Server::start(&[run.to_str().unwrap()]);
    let mut events = Events::of(&server, &["0:net/rate"]);
    let told = events.wait_for(|message| message["state"] == "recording");
    let len = told["lengths"]["net/rate"].as_u64().unwrap();
    events.wait_for(|message| message["lengths"]["net/rate"].as_u64() > Some(len));
    simulation.program.kill().unwrap();
    simulation.program.wait().unwrap();
    let told = events.wait_for(|message| message["state"] == "killed");
    assert!(told["lengths"]["net/rate"].as_u64() > Some(len));
}

#[test]
fn a_recording_that_is_removed_and_made_again_is_told() {
    let places = Places::new();
    let files = places
        .recordings("run")
        .into_iter()
        .filter(|run| is_file(run));
    for run in files {
        let record = |x: f64, count: usize| {
            let recorder = Recorder::new(create(&run));
            for _ in 0..count {
                recorder.record("v", x).unwrap();
            }
            recorder.close().unwrap();
        };
        record(1.0, 3);
        let server = Server::start(&[&run]);
        let mut events = Events::of(&server, &["0:v"]);
        assert_eq!(events.next()[0]["lengths"]["v"], 3);
        let remove = || match fs::metadata(&run).unwrap().is_dir() {
            true => fs::remove_dir_all(&run).unwrap(),
            false => fs::remove_file(&run).unwrap(),
        };
        remove();
        let told = events.wait_for(|message| message["state"]["error"].is_string());
        let error = told["state"]["error"].as_str().unwrap();
        assert!(error.contains("the recording was removed"), "{error}");
        assert_eq!(server.get("/api/children?recording=0").status, 404, "{run}");
        fs::write(&run, "no recording at all").unwrap();
        events.wait_for(|message| {
            let error = message["state"]["error"].as_str();
            error.is_some_and(|error| !error.contains("removed"))
        });
        fs::remove_file(&run).unwrap();
        record(2.0, 5);
        events.wait_for(|message| message["lengths"]["v"] == 5 && message["state"] == "ended");
        let last = server.json("last?recording=0");
        assert_eq!(last["rows"][0]["value"], 2.0, "{run}");
    }
}
