//! `runs` and `server`.

use std::io::{BufRead, BufReader};
use std::process::Child;

use simrecorder::{Recorder, RedisDataStore};

use crate::support::{Places, create, error, send, start, stdout};

/// Starts `simrec server`. Returns it with the URL that it prints.
fn serve(arguments: &[&str]) -> (Child, String) {
    let mut child = start(&[&["server"], arguments].concat());
    let mut url = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut url).unwrap();
    (child, url.trim_end().to_owned())
}

fn stop(signal: &str, child: Child) {
    send(signal, &child);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

#[test]
fn a_server_runs_until_it_is_asked_to_end_and_keeps_its_data() {
    let places = Places::new();
    let folder = places.path("data");
    let (child, url) = serve(&[&folder]);
    let run = format!("{url}?run=sweep");
    let recorder = Recorder::new(create(&run));
    recorder.record("x", 1.5).unwrap();
    recorder.close().unwrap();
    assert_eq!(stdout(&["runs", &url]), "sweep\n");
    assert_eq!(stdout(&["runs", "--json", &url]), "{\"run\":\"sweep\"}\n");
    let line = error(2, &["server", &folder]);
    assert!(
        line.contains("a server is already running on this directory"),
        "{line}"
    );
    stop("INT", child);
    let (child, url) = serve(&[&folder]);
    assert_eq!(stdout(&["runs", &url]), "sweep\n");
    stop("TERM", child);
    let line = error(2, &["runs", &url]);
    assert!(!line.contains("panicked"), "{line}");
}

#[test]
fn a_server_takes_a_port_and_a_password() {
    let places = Places::new();
    let secret = places.path("secret");
    std::fs::write(&secret, "pass word\n").unwrap();
    let folder = places.path("data");
    let socket = places.path("socket");
    let (child, url) = serve(&[&folder, "--password-file", &secret, "--socket", &socket]);
    assert!(url.contains("pass%20word@"), "{url}");
    assert!(RedisDataStore::runs(&url).unwrap().is_empty());
    stop("INT", child);
    let line = error(2, &["server", &places.path("open"), "--bind", "0.0.0.0"]);
    assert!(line.contains("give the server a password"), "{line}");
}

#[test]
fn a_server_that_others_end_is_reported() {
    let places = Places::new();
    let (mut child, url) = serve(&[&places.path("data")]);
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let ended = std::process::Command::new("redis-cli")
        .args(["-p", &port, "shutdown"])
        .output();
    assert!(ended.unwrap().status.success());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
