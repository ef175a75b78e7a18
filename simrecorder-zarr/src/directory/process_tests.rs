//! Tests of the directory storage with other processes, which run this test binary again.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::tempdir;

use super::tests::{append, chunk, create, follow, get, set, tail};
use super::*;

const ROLE: &str = "SIMRECORDER_TEST_ROLE";
const PLACE: &str = "SIMRECORDER_TEST_PATH";
/// Marks the output of a child among the output of the test harness.
const SAYS: &str = "child says ";

fn command(program: &[&str], role: &str, path: &Path) -> Command {
    let mut words: Vec<PathBuf> = program.iter().map(PathBuf::from).collect();
    words.push(env::current_exe().unwrap());
    let mut command = Command::new(words.remove(0));
    command.args(words);
    command.args(["--exact", "directory::process_tests::child", "--nocapture"]);
    command.env(ROLE, role).env(PLACE, path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn start(role: &str, path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = command(&[], role, path).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The next line from the child; `None` once it has ended.
fn hear(output: &mut impl BufRead) -> Option<String> {
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if let Some((_, said)) = line.split_once(SAYS) {
            return Some(said.trim().to_owned());
        }
    }
}

fn say(what: impl fmt::Display) {
    let mut output = io::stdout().lock();
    writeln!(output, "{SAYS}{what}").unwrap();
    output.flush().unwrap();
}

/// Not a test by itself: other tests run this in another process.
#[test]
fn child() {
    let (Ok(role), Ok(path)) = (env::var(ROLE), env::var(PLACE)) else {
        return;
    };
    let path = Path::new(&path);
    match role.as_str() {
        "open" => match DirectoryStorage::open(path, OpenMode::Append, Durability::Power) {
            Ok(_) => say("opened"),
            Err(error) => say(format!("{:?} {error}", error.kind())),
        },
        "write" => write_for_ever(path),
        "full" => fill_the_disk(path),
        role => panic!("unknown role {role}"),
    }
}

fn write_for_ever(path: &Path) {
    let storage = append(path);
    for round in 0u32.. {
        let text = round.to_string();
        storage
            .commit(vec![
                set("zarr.json", text.clone()),
                tail("a", "x"),
                chunk(&format!("a/c/{round}"), vec![7; 100]),
            ])
            .unwrap();
        if round % 5 == 4 {
            storage.checkpoint().unwrap();
        }
        say(round);
    }
}

#[test]
fn a_second_process_may_not_write() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let storage = create(&path);
    let ask = || {
        let (mut child, mut output) = start("open", &path);
        let answer = hear(&mut output).unwrap();
        assert!(child.wait().unwrap().success());
        answer
    };
    let answer = ask();
    assert!(answer.starts_with("Locked"), "{answer}");
    assert!(
        answer.contains(&format!("process {} is writing", std::process::id())),
        "{answer}"
    );
    drop(storage);
    assert_eq!(ask(), "opened");
}

#[test]
fn a_killed_writer_leaves_all_it_committed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    create(&path)
        .commit(vec![set("zarr.json", "start")])
        .unwrap();
    let mut record_count = 0;
    for last in [0, 3, 4, 12, 30] {
        let reader = follow(&path);
        let (mut child, mut output) = start("write", &path);
        for round in 0..=last {
            let said = hear(&mut output).unwrap();
            assert_eq!(said, round.to_string());
            let seen: u32 = String::from_utf8(get(&reader, "zarr.json").unwrap())
                .unwrap()
                .parse()
                .unwrap();
            assert!(seen >= round, "what was committed is visible to others");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let before = super::tests::dump(&reader);
        let storage = append(&path);
        assert_eq!(super::tests::dump(&storage), before);
        let count: u32 = String::from_utf8(before["zarr.json"].clone())
            .unwrap()
            .parse()
            .unwrap();
        record_count += count as usize + 1;
        assert!(count >= last);
        assert_eq!(before["tail:a"].len(), record_count);
        for round in 0..=count {
            assert_eq!(get(&storage, &format!("a/c/{round}")).unwrap(), [7; 100]);
        }
    }
    append(&path)
        .commit(vec![Change::ClearTail { array: "a".into() }])
        .unwrap();
    append(&path).close().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempdir().unwrap();
    // Only root may mount without its own user namespace.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let flag = if is_root { "-m" } else { "-rm" };
    let output = command(&["unshare", flag], "full", folder.path())
        .output()
        .expect("this test needs the program `unshare` and the right to mount a tmpfs");
    let mut said = Vec::new();
    let mut lines = BufReader::new(&output.stdout[..]);
    while let Some(line) = hear(&mut lines) {
        said.push(line);
    }
    assert_eq!(
        said,
        ["mounted", "done"],
        "this test needs `unshare -m` and the right to mount a tmpfs, or it has found an error:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

fn fill_the_disk(folder: &Path) {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=512k", "simrecorder-test"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(mounted.success(), "no tmpfs could be mounted");
    say("mounted");

    let ballast = folder.join("ballast");
    let path = folder.join("run.zarr");
    for size in [10, 3000, 40_000] {
        fs::write(&ballast, vec![1; 100 << 10]).unwrap();
        let storage = create(&path);
        storage.commit(vec![set("zarr.json", "0")]).unwrap();
        // The disk becomes full while it writes records, chunks and metadata in turn.
        let commit = |round: usize| {
            let value = vec![7; size];
            let change = match round % 3 {
                0 => set(&format!("m/{round}"), value),
                1 => chunk(&format!("a/c/{round}"), value),
                _ => tail("a", value),
            };
            storage.commit(vec![
                change,
                tail("b", "x"),
                set("zarr.json", round.to_string()),
            ])
        };
        let mut round = 0;
        let error = loop {
            match commit(round) {
                Ok(()) => round += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        let check = |storage: &DirectoryStorage| {
            let mut tail = 0;
            storage
                .read(&mut |snapshot| {
                    tail = snapshot.tail("b")?.len();
                    Ok(())
                })
                .unwrap();
            assert_eq!(tail, round);
            assert_eq!(
                get(storage, "zarr.json").unwrap(),
                (round - 1).to_string().as_bytes()
            );
            for round in 0..round {
                let key = match round % 3 {
                    0 => format!("m/{round}"),
                    1 => format!("a/c/{round}"),
                    _ => continue,
                };
                assert_eq!(get(storage, &key).unwrap().len(), size);
            }
        };
        check(&storage);
        check(&follow(&path));
        // A checkpoint also needs space. It reports an error, and nothing is lost.
        let checkpoint = storage.checkpoint();
        if let Err(error) = &checkpoint {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
        check(&storage);
        check(&follow(&path));

        fs::remove_file(&ballast).unwrap();
        commit(round).unwrap();
        drop(storage);
        let storage = append(&path);
        assert_eq!(
            get(&storage, "zarr.json").unwrap(),
            round.to_string().as_bytes()
        );
        drop(storage);
        fs::remove_dir_all(&path).unwrap();
        fs::remove_file(path.with_file_name("run.zarr.journal")).unwrap();
    }

    let storage = create(&path);
    storage
        .commit(vec![set("zarr.json", "0"), tail("b", "x")])
        .unwrap();
    drop(storage);
    let mounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(mounted.success());
    let reader = DirectoryStorage::open(&path, OpenMode::Read, Durability::Power).unwrap();
    assert_eq!(get(&reader, "zarr.json").unwrap(), b"0");
    let writer = DirectoryStorage::open(&path, OpenMode::Append, Durability::Power);
    assert_eq!(writer.unwrap_err().kind(), ErrorKind::PermissionDenied);
    say("done");
}
