//! Hostile and slow clients do the server no harm.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use simrecorder::{Recorder, Schema};

use super::{Server, encoded};
use crate::support::{Places, create, record_run, send};

#[test]
fn no_parameter_makes_the_server_fail() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    record_run(&recorder);
    recorder.set("values/big", vec![0.5_f64; 5000]).unwrap();
    recorder.close().unwrap();
    let server = Server::start(&[&run]);
    let parameters = [
        ("children", "recording"),
        ("children", "group"),
        ("search", "text"),
        ("nodes", "key"),
        ("node", "key"),
        ("figure", "recording"),
        ("figure", "key"),
        ("figure", "from"),
        ("figure", "to"),
        ("figure", "columns"),
        ("figure", "rows"),
        ("figure", "bins"),
        ("figure", "low"),
        ("figure", "form"),
        ("sparklines", "key"),
        ("sparklines", "columns"),
        ("last", "recording"),
        ("records", "key"),
        ("records", "first"),
        ("records", "count"),
        ("records", "text"),
    ];
    let values = [
        "",
        "..",
        "../..",
        "../../etc/passwd",
        "/etc/passwd",
        "%2e%2e%2f",
        "a\0b",
        "\0",
        "\u{202e}abc",
        "net//rate",
        "net/rate[",
        "net/rate[]",
        "net/rate[99999999999999999999]",
        "net/rate[::0]",
        "net/rate[::-1]",
        "net/v[:,:,:,:]",
        "net/v[-1]",
        "net",
        "net/**",
        "**",
        "[",
        "meta/seed",
        "events/log",
        "events/rows",
        "events/rows[0]",
        "values/big",
        "-1",
        "-0",
        "18446744073709551615",
        "18446744073709551616",
        "1e999",
        "NaN",
        "-Infinity",
        "1e308",
        "-1e308",
        "0x10",
        "💥",
        "<script>alert(1)</script>",
    ];
    for (endpoint, parameter) in parameters {
        for value in values {
            // Of repeated parameters, the first one counts, except where all are used.
            let rest = "recording=0&key=net/rate&key=net/v&count=9&high=1";
            let path = format!("/api/{endpoint}?{parameter}={}&{rest}", encoded(value));
            let answer = server.get(&path);
            assert!(
                answer.status < 500,
                "{path}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "//etc/passwd",
        "/page.js/..",
        "/api",
        "/api/",
        "/%00",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    for form in ["lines", "heat-map", "image", "raster", "histogram"] {
        for window in [
            "",
            "&from=1e308",
            "&to=-1e308",
            "&from=5&to=1",
            "&from=-1e308&to=1e308",
            "&from=2&to=2",
        ] {
            for key in [
                "net/rate",
                "net/v",
                "events/rows",
                "events/log",
                "meta/seed",
                "values/big",
                "net/v[-1]",
            ] {
                for by in ["", "&index=1", "&log=1"] {
                    let key = encoded(key);
                    let path = format!(
                        "/api/figure?recording=0&key={key}&form={form}{window}{by}&columns=9&rows=9"
                    );
                    let answer = server.get(&path);
                    assert!(
                        answer.status < 500,
                        "{path}: {} {}",
                        answer.status,
                        answer.text()
                    );
                }
            }
        }
    }
    assert_eq!(server.json("recordings")[0]["name"], "run.mdb");
}

#[test]
fn keys_and_texts_of_a_recording_are_only_ever_data() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    let hostile = "<img src=x onerror=alert(1)>";
    recorder.record(hostile, 1.5).unwrap();
    recorder
        .record("log", "</script><script>alert(1)</script>")
        .unwrap();
    recorder.close().unwrap();
    let server = Server::start(&[&run]);
    let key = encoded(hostile);
    assert_eq!(server.json("children?recording=0")[0][0], hostile);
    let figure = server.json(&format!("figure?recording=0&key={key}"));
    assert_eq!(figure["lines"][0]["label"], hostile);
    let texts = server.json("records?recording=0&key=log");
    assert_eq!(
        texts["records"][0]["value"],
        "</script><script>alert(1)</script>"
    );
    let missing = server.get(&format!("/api/node?recording=0&key={key}x"));
    assert_eq!(
        (missing.status, missing.header("content-type")),
        (404, Some("application/json"))
    );
}

#[test]
fn clients_that_never_finish_a_request_do_not_keep_others_out() {
    let places = Places::new();
    let run = places.path("run.mdb");
    Recorder::new(create(&run)).close().unwrap();
    let server = Server::start(&[&run]);
    // More connections than allowed. Those that wait in vain are closed after some seconds.
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = server.connect();
            stream
                .write_all(b"GET /api/recordings HTTP/1.1\r\nHost: ")
                .unwrap();
            stream
        })
        .collect();
    assert_eq!(server.get("/api/recordings").status, 200);
    for mut stream in slow.into_iter().take(3) {
        let mut answer = Vec::new();
        // It ends, with or without a response.
        let _ = stream.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }
}

#[test]
fn headers_of_any_length_and_clients_that_never_read_do_no_harm() {
    let places = Places::new();
    let server = Server::of_a_run(&places);
    for length in [20_000, 1_000_000] {
        let mut stream = server.connect();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nA: {}\r\n\r\n",
            server.host,
            "a".repeat(length)
        );
        let _ = stream.write_all(head.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    let deaf: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = server.connect();
            let request = format!(
                "GET /api/figure?recording=0&key=net/rate HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
                server.host,
                server.cookie()
            );
            for _ in 0..20 {
                stream.write_all(request.as_bytes()).unwrap();
            }
            stream
        })
        .collect();
    assert_eq!(server.get("/api/recordings").status, 200);
    drop(deaf);
    assert_eq!(server.get("/api/recordings").status, 200);
}

#[test]
fn the_number_of_followers_is_limited_and_ctrl_c_ends_the_server_with_all_of_them() {
    let places = Places::new();
    let run = places.path("run.mdb");
    Recorder::new(create(&run)).close().unwrap();
    let mut server = Server::start(&[&run]);
    let follow = || {
        let mut stream = server.connect();
        let request = format!(
            "GET /api/events HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            server.host,
            server.cookie()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        (stream, String::from_utf8(start.to_vec()).unwrap())
    };
    let followers: Vec<_> = (0..64).map(|_| follow()).collect();
    assert!(followers.iter().all(|(_, start)| start == "HTTP/1.1 200"));
    assert_eq!(follow().1, "HTTP/1.1 503");
    // Other clients are still answered.
    assert_eq!(server.get("/api/recordings").status, 200);
    send("INT", &server.program);
    assert_eq!(server.program.wait().unwrap().code(), Some(0));
}

#[test]
fn the_server_needs_little_memory_whatever_is_watched() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    let scalars = recorder.series::<f64>("long").unwrap();
    for index in 0..2_000_000_u32 {
        scalars.record(f64::from(index % 1000)).unwrap();
    }
    recorder
        .declare("fields", Schema::array::<f32>([100_000]))
        .unwrap();
    for index in 0..20_u8 {
        recorder
            .record("fields", vec![f32::from(index); 100_000])
            .unwrap();
    }
    recorder.record("cube", vec![1_u8; 60 << 20]).unwrap();
    recorder.close().unwrap();
    // Of private memory: a recording that is mapped into memory does not count.
    let limited = format!("ulimit -d {}; exec \"$0\" serve \"$1\"", 300 << 10);
    let server = Server::of(
        std::process::Command::new("sh")
            .args(["-c", &limited])
            .arg(assert_cmd::cargo::cargo_bin!("simrec"))
            .arg(&run)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let paths = [
        "figure?recording=0&key=long&columns=4096",
        "figure?recording=0&key=long&form=histogram&bins=4096",
        "figure?recording=0&key=long&form=raster&columns=4096&rows=4096",
        "figure?recording=0&key=fields&columns=4096&rows=4096",
        "figure?recording=0&key=fields&form=histogram",
        "figure?recording=0&key=cube&form=raster&columns=4096&rows=4096",
        "records?recording=0&key=fields&count=500",
        "records?recording=0&key=cube",
        "sparklines?recording=0&key=long",
        "last?recording=0",
    ];
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for path in paths {
                    let answer = server.get(&format!("/api/{path}"));
                    assert!(answer.status < 500, "{path}: {}", answer.text());
                }
            });
        }
    });
    assert_eq!(server.json("recordings")[0]["state"], "ended");
}
