//! A cluster for tests.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use simrecorder_redis::RedisServer;
use tempfile::TempDir;

use super::{cli, server_options, signal};

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let cause = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {said}{cause}"
    );
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "never {what}");
        sleep(Duration::from_millis(50));
    }
}

/// Three primaries.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<RedisServer>,
    folder: TempDir,
    /// The ports of killed servers.
    killed: HashMap<usize, u16>,
}

impl Cluster {
    fn node(folder: &Path, number: usize, port: Option<u16>) -> RedisServer {
        let options = server_options()
            .setting("cluster-enabled", "yes")
            .setting("cluster-node-timeout", "2000");
        let options = match port {
            Some(port) => options.port(port),
            None => options.setting("cluster-port", free_port().to_string()),
        };
        options.start(folder.join(number.to_string())).unwrap()
    }

    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let servers: Vec<_> = (0..3)
            .map(|number| Self::node(folder.path(), number, None))
            .collect();
        let places = servers.iter().map(|it| format!("127.0.0.1:{}", it.port()));
        let places: Vec<String> = places.collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(places.iter().map(String::as_str));
        arguments.push("--cluster-yes");
        run("redis-cli", &arguments);
        let killed = HashMap::new();
        let cluster = Self {
            servers,
            folder,
            killed,
        };
        cluster.wait();
        cluster
    }

    pub(crate) fn wait(&self) {
        wait_until("a whole cluster", || {
            let mut servers = self.servers.iter();
            servers.all(|it| cli(it.port(), &["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self
            .servers
            .iter()
            .map(|it| format!("127.0.0.1:{}", it.port()));
        let hosts: Vec<String> = hosts.collect();
        format!("redis://{}?cluster=true", hosts.join(","))
    }

    /// Kills a server, as a crash does.
    pub(crate) fn kill(&mut self, number: usize) {
        let server = self.servers.remove(number);
        self.killed.insert(number, server.port());
        signal(server.process_id(), "KILL");
    }

    /// Restarts a killed server on its data.
    pub(crate) fn start_again(&mut self, number: usize) {
        let port = self.killed.remove(&number);
        let server = Self::node(self.folder.path(), number, port);
        self.servers.insert(number, server);
    }
}
