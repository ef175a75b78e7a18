//! A writer claims the series of a group: later commits of the previous claimant are rejected, and
//! readers see all series as of one commit.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use crate::many_writers::{growing_file, start};
use crate::support;

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use simrecorder_core::backend::SharedStore;
use simrecorder_core::{
    ArrayView, Batch, Change, Commit, DataStore, DataStoreExt, ErrorKind, Key, Node, Recorder,
    Records, Result, Schema, Value,
};
use simrecorder_redis::{RedisDataStore, RedisServer, RedisSync};
use support::cluster::{Cluster, wait_until};
use support::{cli, expect, new_run, role, server, signal, this_test};

const MEMBERS: [&str; 4] = ["net/time", "net/n", "net/v", "net/w"];

fn key(name: &str) -> Key {
    Key::new_or_root(name).unwrap()
}

pub(crate) fn claim(group: &str) -> Change {
    Change::Claim { group: key(group) }
}

pub(crate) fn declare(name: &str) -> Change {
    Change::Declare {
        key: key(name),
        schema: Arc::new(Schema::scalar::<u64>()),
        filled: 0,
    }
}

fn truncate(name: &str, len: u64) -> Change {
    let key = key(name);
    Change::Truncate { key, len }
}

/// Records that are numbered from the start of their series.
pub(crate) fn append(store: &RedisDataStore, name: &str, start: u64, count: u64) -> Change {
    let bytes = (start..start + count).flat_map(u64::to_ne_bytes).collect();
    let schema = Arc::new(Schema::scalar::<u64>());
    let records = Records::fixed(schema, count, bytes).unwrap();
    let batch = Arc::new(Batch::new(key(name), start, records));
    let prepared = store.prepare(&batch).unwrap();
    Change::Append { batch, prepared }
}

/// The same records for each member.
fn ticks(store: &RedisDataStore, start: u64, count: u64) -> Vec<Change> {
    let append = |name: &&str| append(store, name, start, count);
    MEMBERS.iter().map(append).collect()
}

fn commit(store: &RedisDataStore, changes: Vec<Change>) -> Result<()> {
    store.commit(Commit::new(changes))
}

fn connect(url: &str) -> RedisDataStore {
    RedisDataStore::connect(url).unwrap()
}

/// A store that has claimed the group, which may be new.
fn claimant(url: &str) -> RedisDataStore {
    let store = connect(url);
    let mut changes = vec![claim("net")];
    changes.extend(MEMBERS.map(declare));
    commit(&store, changes).unwrap();
    store
}

/// The common length of the members, as of one moment.
#[track_caller]
fn len(store: &RedisDataStore) -> u64 {
    let nodes = store.nodes(&MEMBERS.map(key)).unwrap();
    let lens = nodes.iter().flatten().map(|node| match node {
        Node::Series(view) => view.len(),
        other => panic!("no series: {other:?}"),
    });
    let lens: Vec<u64> = lens.collect();
    assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");
    lens.first().copied().unwrap_or(0)
}

/// Checks that the members contain these ticks.
#[track_caller]
fn check(store: &RedisDataStore, ticks: u64) {
    assert_eq!(len(store), ticks);
    for name in MEMBERS {
        let view = store.series_view(&key(name)).unwrap();
        let records = view.read::<u64>().unwrap();
        assert!(records.iter().copied().eq(0..ticks), "{name}: {records:?}");
    }
}

#[track_caller]
fn expect_locked(result: Result<()>) {
    expect(result, ErrorKind::Locked, &["'net'", "another writer"]);
}

fn an_older_claimant_is_kept_away(url: &str, is_cluster: bool) {
    let older = claimant(url);
    commit(&older, ticks(&older, 0, 5)).unwrap();
    let newer = claimant(url);
    commit(&newer, ticks(&newer, 5, 5)).unwrap();
    let stranger = connect(url);
    for store in [&older, &stranger] {
        let other = Change::Set {
            key: key("other"),
            value: Arc::new(Value::new(1).unwrap()),
        };
        let bad: [Vec<Change>; 5] = [
            ticks(store, 10, 1),
            ticks(store, 5, 1),
            vec![truncate("net/n", 3)],
            vec![declare("net/more")],
            vec![declare("net/n")],
        ];
        for changes in bad {
            expect_locked(commit(store, changes));
        }
        let mut changes = vec![other];
        changes.push(append(store, "net/n", 10, 1));
        expect_locked(commit(store, changes));
        // In a cluster, the hierarchy is committed before the series, which reject the commit.
        let sees_hierarchy_first = is_cluster && std::ptr::eq(store, &raw const stranger);
        assert_eq!(
            store.value(&key("other")).unwrap().is_some(),
            sees_hierarchy_first
        );
        check(store, 10);
        assert_eq!(store.children(&key("net")).unwrap().len(), 4);
    }
    // Everyone may write to other groups.
    for store in [&older, &stranger] {
        let changes = vec![
            declare("net/inner/x"),
            append(store, "net/inner/x", 0, 2),
            declare("x"),
            append(store, "x", 0, 2),
        ];
        commit(store, changes).unwrap();
    }
    assert_eq!(stranger.series_view(&key("x")).unwrap().len(), 4);
    expect(older.remove(&key("net/n")), ErrorKind::Locked, &["net"]);
    expect(older.remove(&key("net")), ErrorKind::Locked, &["net"]);
    commit(&newer, ticks(&newer, 10, 1)).unwrap();
    // A writer that claims the group again takes it back.
    commit(&older, vec![claim("net")]).unwrap();
    commit(&older, ticks(&older, 11, 2)).unwrap();
    expect_locked(commit(&newer, ticks(&newer, 11, 1)));
    check(&newer, 13);
}

#[test]
fn an_older_claimant_is_kept_away_from_the_series_of_a_group() {
    an_older_claimant_is_kept_away(&new_run(), false);
}

#[test]
fn a_recorder_is_told_which_group_another_writer_claimed() {
    let url = new_run();
    let recorder = Recorder::new(connect(&url));
    recorder.record("net/n", 0_u64).unwrap();
    recorder.flush().unwrap();
    drop(claimant(&url));
    recorder.record("net/n", 1_u64).unwrap();
    expect_locked(recorder.flush());
}

fn removing_and_renaming_take_the_claim_away(url: &str, is_cluster: bool) {
    let older = claimant(url);
    commit(&older, ticks(&older, 0, 5)).unwrap();
    // A series of the group.
    let remover = connect(url);
    remover.remove(&key("net/w")).unwrap();
    expect_locked(commit(&older, vec![append(&older, "net/n", 5, 1)]));
    // The group.
    let newer = claimant(url);
    remover.remove(&key("net")).unwrap();
    expect_locked(commit(&newer, vec![declare("net/n")]));
    let mut changes = MEMBERS.map(declare).into_iter().collect::<Vec<_>>();
    changes.extend(ticks(&remover, 0, 2));
    commit(&remover, changes).unwrap();
    check(&remover, 2);
    if is_cluster {
        return;
    }
    let newer = claimant(url);
    commit(&newer, ticks(&newer, 2, 2)).unwrap();
    remover.rename(&key("net"), &key("old")).unwrap();
    expect_locked(commit(&newer, vec![declare("net/n")]));
    assert_eq!(remover.series_view(&key("old/n")).unwrap().len(), 4);
    // A group with a claim can only be moved by its claimant.
    let owner = claimant(url);
    owner.rename(&key("net"), &key("moved")).unwrap();
    let stranger = commit(&remover, vec![append(&remover, "moved/n", 0, 1)]);
    expect(stranger, ErrorKind::Locked, &["'moved'"]);
    commit(&owner, vec![append(&owner, "moved/n", 0, 1)]).unwrap();
    let into = remover.rename(&key("old/n"), &key("moved/x"));
    expect(into, ErrorKind::Locked, &["'moved'"]);
}

#[test]
fn removing_and_renaming_a_claimed_group_take_the_claim_away() {
    removing_and_renaming_take_the_claim_away(&new_run(), false);
}

/// Claims the group alternately with another process, until the standard input ends. Prints the
/// number of acknowledged ticks.
fn claim_in_turn(url: &str) {
    let stop = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let (mut acknowledged, mut claims) = (0, 0);
    while !stop.is_finished() {
        let store = connect(url);
        let mut changes = vec![claim("net")];
        changes.extend(MEMBERS.map(declare));
        if let Err(error) = commit(&store, changes) {
            // The other process was faster.
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
            continue;
        }
        claims += 1;
        let mut at = len(&store);
        for round in 0.. {
            let count = 1 + round % 7;
            match commit(&store, ticks(&store, at, count)) {
                Ok(()) => (at, acknowledged) = (at + count, acknowledged + count),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
                    break;
                }
            }
            if stop.is_finished() || round == 500 {
                break;
            }
        }
    }
    println!("acknowledged {acknowledged} {claims}");
}

#[test]
fn processes_that_claim_in_turn_lose_and_duplicate_no_tick() {
    let test = "processes_that_claim_in_turn_lose_and_duplicate_no_tick";
    if let Some(url) = role() {
        return claim_in_turn(&url);
    }
    let url = new_run();
    let processes = [(); 3].map(|()| {
        let mut command = this_test(test, &url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    });
    let reader = connect(&url);
    for _ in 0..200 {
        len(&reader);
        sleep(Duration::from_millis(10));
    }
    let mut total = 0;
    for process in processes {
        // This ends its standard input.
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        let line = text.lines().find_map(|it| it.strip_prefix("acknowledged "));
        let (ticks, claims) = line.unwrap().split_once(' ').unwrap();
        assert!(claims.parse::<u64>().unwrap() > 1, "{text}");
        total += ticks.parse::<u64>().unwrap();
    }
    check(&reader, total);
}

/// A server that loses the latest commits that it acknowledged, as in a power failure.
struct Lossy {
    folder: tempfile::TempDir,
    server: Option<RedisServer>,
    kept: u64,
}

impl Lossy {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path(), None, RedisSync::EverySecond);
        Self {
            folder,
            server: Some(server),
            kept: 0,
        }
    }

    fn url(&self) -> String {
        self.server.as_ref().unwrap().url().to_owned()
    }

    /// Keeps everything that was committed so far.
    fn keep(&mut self) {
        let port = self.server.as_ref().unwrap().port();
        let is_written = || cli(port, &["INFO", "persistence"]).contains("aof_buffer_length:0");
        wait_until("written", is_written);
        self.kept = growing_file(self.folder.path()).metadata().unwrap().len();
    }

    /// Restarts the server without later commits.
    fn lose(&mut self) {
        let server = self.server.take().unwrap();
        let port = server.port();
        signal(server.process_id(), "KILL");
        drop(server);
        let file = growing_file(self.folder.path());
        assert!(file.metadata().unwrap().len() >= self.kept);
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_len(self.kept).unwrap();
        let folder: &Path = self.folder.path();
        self.server = Some(start(folder, Some(port), RedisSync::EverySecond));
    }
}

#[test]
fn a_claim_that_the_server_lost_is_sent_again_and_wins() {
    let mut lossy = Lossy::start();
    let older = claimant(&lossy.url());
    commit(&older, ticks(&older, 0, 5)).unwrap();
    lossy.keep();
    let newer = claimant(&lossy.url());
    commit(&newer, ticks(&newer, 5, 3)).unwrap();
    lossy.lose();
    assert_eq!(len(&older), 5);
    commit(&newer, ticks(&newer, 8, 2)).unwrap();
    expect_locked(commit(&older, ticks(&older, 5, 1)));
    check(&newer, 10);
    // Even if its next commit concerns something else.
    lossy.keep();
    let newest = claimant(&lossy.url());
    lossy.lose();
    commit(&newest, vec![declare("other")]).unwrap();
    expect_locked(commit(&newer, ticks(&newer, 10, 1)));
    check(&newest, 10);
}

#[test]
fn a_claim_that_the_server_lost_does_not_come_before_a_newer_one() {
    let mut lossy = Lossy::start();
    let first = claimant(&lossy.url());
    commit(&first, ticks(&first, 0, 5)).unwrap();
    lossy.keep();
    let (second, third) = (claimant(&lossy.url()), claimant(&lossy.url()));
    commit(&third, ticks(&third, 5, 3)).unwrap();
    lossy.lose();
    let fourth = claimant(&lossy.url());
    commit(&fourth, ticks(&fourth, 5, 1)).unwrap();
    for older in [&first, &second, &third] {
        expect_locked(commit(older, ticks(older, 8, 1)));
    }
    commit(&fourth, ticks(&fourth, 6, 1)).unwrap();
    check(&fourth, 7);
}

#[test]
fn what_an_older_claimant_committed_while_a_claim_was_lost_is_not_overwritten() {
    let mut lossy = Lossy::start();
    let older = claimant(&lossy.url());
    commit(&older, ticks(&older, 0, 5)).unwrap();
    lossy.keep();
    let newer = claimant(&lossy.url());
    commit(&newer, ticks(&newer, 5, 3)).unwrap();
    lossy.lose();
    commit(&older, ticks(&older, 5, 1)).unwrap();
    let error = commit(&newer, ticks(&newer, 8, 2));
    expect(error, ErrorKind::Locked, &["had lost"]);
    check(&newer, 6);
    // The claim is valid nevertheless.
    expect_locked(commit(&older, ticks(&older, 6, 1)));
}

/// Commits to the group in different ways until it is told to stop. Returns the number of ticks.
fn write(store: &RedisDataStore, stop: &AtomicBool) -> u64 {
    let mut at = len(store);
    for round in 0_u64.. {
        let count = 1 + round * 37 % 11;
        let mut changes = ticks(store, at, count);
        at += count;
        if round % 5 == 4 {
            at -= count / 2;
            changes.extend(MEMBERS.map(|name| truncate(name, at)));
        }
        commit(store, changes).unwrap();
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    at
}

/// Readers read the group while `meanwhile` runs.
fn readers_see_one_commit(url: &str, meanwhile: impl FnOnce()) {
    let writer = claimant(url);
    let stop = AtomicBool::new(false);
    let total = std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&writer, &stop));
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                let store = RedisDataStore::open(url).unwrap();
                let recorder = Recorder::new(store.clone());
                let mut lens = std::collections::BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    lens.insert(len(&store));
                    let group = recorder.group("net").unwrap();
                    let found: Vec<_> = group.series().map(|(_, view)| view.len()).collect();
                    assert_eq!(found.len(), MEMBERS.len());
                    assert!(found.iter().all(|len| *len == found[0]), "{found:?}");
                }
                lens.len()
            })
        });
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 10, "the readers saw few lengths");
        }
        writing.join().unwrap()
    });
    check(&writer, total);
}

#[test]
fn readers_see_the_series_of_a_claimed_group_as_of_one_commit() {
    readers_see_one_commit(&new_run(), || sleep(Duration::from_secs(1)));
}

/// If all keys of a recording in a cluster are copied to one server, they are the same recording
/// there.
fn is_whole_on_one_server(cluster: &Cluster, name: &str) {
    let server = server();
    let port = server.server.port().to_string();
    for node in &cluster.servers {
        for key in cli(node.port(), &["KEYS", &format!("*{{{name}*")]).lines() {
            let to = ["127.0.0.1", &port, key, "0", "5000", "COPY"];
            let copied = cli(node.port(), &[&["MIGRATE"], &to[..]].concat());
            assert_eq!(copied, "OK", "{key}");
        }
    }
    let url = format!("{}?run={name}", server.url());
    let old = len(&RedisDataStore::open(&url).unwrap());
    let store = claimant(&url);
    commit(&store, ticks(&store, old, 3)).unwrap();
    check(&store, old + 3);
    store.rename(&key("net"), &key("old")).unwrap();
    let moved = store.series_view(&key("old/n")).unwrap();
    let records = moved.read::<u64>().unwrap();
    assert!(records.iter().copied().eq(0..old + 3));
    store.remove(&key("old")).unwrap();
    assert_eq!(server.cli(&["KEYS", "*index"]).lines().count(), 1);
    drop(claimant(&url));
}

#[test]
fn in_a_cluster_the_series_of_a_claimed_group_are_committed_and_read_together() {
    let mut cluster = Cluster::start();
    let run = |cluster: &Cluster, name: &str| format!("{}&run={name}", cluster.url());
    an_older_claimant_is_kept_away(&run(&cluster, "older"), true);
    removing_and_renaming_take_the_claim_away(&run(&cluster, "removed"), true);
    let readers = run(&cluster, "readers");
    readers_see_one_commit(&readers, || {
        for number in 0..3 {
            sleep(Duration::from_millis(300));
            cluster.kill(number);
            sleep(Duration::from_millis(300));
            cluster.start_again(number);
            cluster.wait();
        }
    });
    // A late member, which gets a place in the same slot.
    let store = connect(&readers);
    let late = vec![
        claim("net"),
        declare("net/late"),
        append(&store, "net/late", 0, 7),
    ];
    commit(&store, late).unwrap();
    let view = store.series_view(&key("net/late")).unwrap();
    assert!(view.read::<u64>().unwrap().iter().copied().eq(0..7));
    store.free(&[(key("net/late"), 3)]).unwrap();
    assert_eq!(view.refresh().unwrap().len(), 4);

    // Series with their own slots stay there.
    let apart = connect(&run(&cluster, "apart"));
    commit(
        &apart,
        vec![declare("net/n"), append(&apart, "net/n", 0, 1)],
    )
    .unwrap();
    let error = commit(&apart, vec![claim("net")]);
    expect(error, ErrorKind::Unsupported, &["'net/n'", "another group"]);
    commit(&apart, vec![append(&apart, "net/n", 1, 1)]).unwrap();
    let requires = |name: &str| {
        let root = format!("simrecorder:{{{name}}}:root");
        let port = cluster.servers[0].port();
        let arguments = ["-c", "HGET", &root, "requires"];
        cli(port, &arguments)
    };
    is_whole_on_one_server(&cluster, "older");
    assert_eq!(requires("readers"), "shared-slots");
    assert_eq!(requires("apart"), "");
    for name in ["older", "removed", "readers", "apart"] {
        RedisDataStore::delete(&run(&cluster, name)).unwrap();
    }
    for server in &cluster.servers {
        for key in cli(server.port(), &["KEYS", "*"]).lines() {
            let lifetime = cli(server.port(), &["TTL", key]);
            assert_ne!(lifetime, "-1", "{key} is left");
        }
    }
}
