//! `serve`: its responses, who gets them, and its lifetime.

mod access;
mod following;
mod limits;
mod reading;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;

use simrecorder::Recorder;

use crate::support::{Places, create, record_run, start};

/// The program as a server of recordings. Dropping this ends it.
struct Server {
    program: Child,
    /// For example `127.0.0.1:8080`.
    host: String,
    token: String,
}

struct Answer {
    status: u16,
    /// With names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::of(start(&[&["serve"], arguments].concat()))
    }

    /// A server for a recording with records of every kind.
    fn of_a_run(places: &Places) -> Self {
        let run = &places.recordings("run")[0];
        let recorder = Recorder::new(create(run));
        record_run(&recorder);
        recorder.close().unwrap();
        Self::start(&[run])
    }

    /// A program that was just started.
    fn of(mut program: Child) -> Self {
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("http://").unwrap();
        let (host, token) = address.split_once("/?token=").unwrap();
        Self {
            program,
            host: host.to_owned(),
            token: token.to_owned(),
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.host).unwrap()
    }

    fn cookie(&self) -> String {
        let port = self.host.rsplit_once(':').unwrap().1;
        format!("simrec-{port}={}", self.token)
    }

    /// The response to these bytes.
    fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        // A server that rejects a request need not read it completely.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }

    /// A request of the page, with the cookie.
    fn request(&self, method: &str, path: &str) -> Answer {
        let (host, cookie) = (&self.host, self.cookie());
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        ))
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path)
    }

    /// The response of the API, which must not be an error.
    #[track_caller]
    fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(&format!("/api/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        serde_json::from_slice(&answer.body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        });
        Self {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| &**value)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Encodes a text as a parameter of an address.
fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    bytes.collect()
}
