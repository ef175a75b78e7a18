//! Which requests are answered, and with which headers.

use simrecorder::Recorder;

use super::Server;
use crate::support::{Places, create};

#[test]
fn only_requests_with_the_token_are_answered() {
    let places = Places::new();
    let server = Server::of_a_run(&places);
    let (host, token) = (&server.host, &server.token);
    let with = |path: &str, cookie: &str| {
        server.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        ))
    };
    let name = server.cookie().split_once('=').unwrap().0.to_owned();
    let paths = [
        "/",
        "/page.js",
        "/page.css",
        "/api/recordings",
        "/api/events",
        "/elsewhere",
    ];
    for path in paths {
        let wrong = format!("{name}={}0", &token[1..]);
        let cookies = [
            "a=b".to_owned(),
            wrong,
            format!("{name}="),
            format!("other={token}"),
        ];
        for cookie in cookies {
            let answer = with(path, &cookie);
            assert_eq!(answer.status, 403, "{path} {cookie}");
            assert!(
                answer
                    .text()
                    .contains("open the address that 'simrec serve' printed")
            );
        }
        assert_eq!(
            with(&format!("{path}?token={}", &token[1..]), "a=b").status,
            403
        );
        assert_eq!(with(&format!("{path}?token="), "a=b").status, 403);
    }
    // Only the first address accepts the token, so that no other address contains it.
    assert_eq!(
        with(&format!("/api/recordings?token={token}"), "a=b").status,
        403
    );

    let first = with(&format!("/?token={token}"), "a=b");
    assert_eq!((first.status, first.header("location")), (303, Some("/")));
    let cookie = first.header("set-cookie").unwrap();
    let expected = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(cookie, expected);
    assert_eq!(
        with("/api/recordings", &format!("a=b; {name}={token}")).status,
        200
    );
    assert_eq!(with("/", &format!("{name}={token}; c=d")).status, 200);
}

#[test]
fn each_server_has_a_token_of_its_own() {
    let places = Places::new();
    let run = places.path("run.mdb");
    Recorder::new(create(&run)).close().unwrap();
    let servers = [Server::start(&[&run]), Server::start(&[&run])];
    assert_ne!(servers[0].token, servers[1].token);
    assert!(servers.iter().all(|server| server.token.len() == 48));
    assert_ne!(servers[0].host, servers[1].host);
}

#[test]
fn a_request_has_to_name_the_server() {
    let places = Places::new();
    let server = Server::of_a_run(&places);
    let port = server.host.rsplit_once(':').unwrap().1;
    let with = |hosts: &str| {
        server.send(&format!(
            "GET /api/recordings HTTP/1.1\r\n{hosts}Cookie: {}\r\nConnection: close\r\n\r\n",
            server.cookie()
        ))
    };
    let host = |name: &str| with(&format!("Host: {name}\r\n")).status;
    let own = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "127.0.0.1:1",
    ];
    let own = own.map(str::to_owned).into_iter();
    for name in own.chain([format!("localhost:{port}"), format!("[::1]:{port}")]) {
        assert_eq!(host(&name), 200, "{name}");
    }
    let others = [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:80",
        "192.168.0.1",
        "0.0.0.0",
        "[::2]",
        "[::1",
        "::1",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        "localhost:1:2",
        "user@localhost",
        "localhost/",
        "",
    ];
    for name in others {
        assert!(matches!(host(name), 400 | 421), "{name}");
    }
    assert!(matches!(with("").status, 400 | 421), "no host");
    let twice = format!("Host: {0}\r\nHost: evil.example\r\n", server.host);
    assert!(matches!(with(&twice).status, 400 | 421), "two hosts");
    // Before the token is checked, and before routing.
    let rebound = server.send(&format!(
        "GET /?token={} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        server.token
    ));
    assert_eq!((rebound.status, rebound.header("set-cookie")), (421, None));
}

#[test]
fn every_answer_has_the_headers_that_keep_others_out() {
    let places = Places::new();
    let server = Server::of_a_run(&places);
    let host = &server.host;
    let long = format!("/api/search?recording=0&text={}", "a".repeat(17_000));
    let plain = |text: &str| server.send(&format!("{text}Connection: close\r\n\r\n"));
    let answers = [
        (200, server.get("/")),
        (200, server.request("HEAD", "/")),
        (200, server.get("/page.js")),
        (200, server.get("/api/recordings")),
        (200, server.request("HEAD", "/api/recordings")),
        (303, server.get(&format!("/?token={}", server.token))),
        (400, server.get("/api/figure?recording=9&key=net/rate")),
        (404, server.get("/api/node?recording=0&key=nothing")),
        (404, server.get("/elsewhere")),
        (404, server.request("HEAD", "/elsewhere")),
        (405, server.request("POST", "/api/recordings")),
        (414, server.get(&long)),
        (403, plain(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n"))),
        (421, plain("GET / HTTP/1.1\r\nHost: evil.example\r\n")),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{}", answer.text());
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let header = |name| answer.header(name);
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!(header("referrer-policy"), Some("no-referrer"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("cross-origin-resource-policy"), Some("same-origin"));
        let is_cors = |name: &str| name.starts_with("access-control");
        assert!(!answer.headers.iter().any(|(name, _)| is_cors(name)));
    }
    let head = server.request("HEAD", "/api/recordings");
    assert!(head.body.is_empty());
}

#[test]
fn nothing_but_reading_is_allowed() {
    let places = Places::new();
    let server = Server::of_a_run(&places);
    for method in [
        "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
    ] {
        for path in [
            "/",
            "/api/recordings",
            "/api/figure?recording=0&key=net/rate",
        ] {
            let answer = server.request(method, path);
            assert!(
                matches!(answer.status, 400 | 405),
                "{method} {path}: {}",
                answer.status
            );
        }
    }
    let body = |header: &str, body: &str| {
        let (host, cookie) = (&server.host, server.cookie());
        let head =
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n");
        server.send(&format!("{head}{header}\r\n\r\n{body}")).status
    };
    assert_eq!(body("Content-Length: 3", "abc"), 413);
    assert_eq!(body("Content-Length: 99999999999", "abc"), 413);
    assert_eq!(
        body("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
        413
    );
}
