//! The unsynced changes of a writer when it reports that everything is durable.
//!
//! The writer is this test program again, under `strace`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use simrecorder_core::{ChunkPolicy, DataStore, Durability, Recorder, RecorderOptions, Schema};

use crate::ACT;
use crate::steps::{declare_steps, record_step};
use crate::system_calls::act;
use crate::{output_within_a_minute, quick_folder, role, this_test_by};

/// Calls that change a file or a folder, or sync it.
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,fallocate,?ftruncate,openat,\
                     ?rename,?unlink,unlinkat,?rmdir,?mkdir,fsync,fdatasync,syncfs,sync,\
                     ?clone,clone3";

/// The output of the writer after a flush, a checkpoint or the close.
const FLUSHED: &str = "flushed ";
const SETTLED: &str = "settled ";

const STEPS: u64 = 30;

/// The changes of a writer to the files of its recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trace {
    /// The number of flushes.
    flushes: u64,
    /// The number of checkpoints and closes.
    checkpoints: u64,
    /// The number of calls that wrote.
    writes: u64,
    /// The number of calls that synced for flushes, without those of opening, checkpoints and closing.
    syncs_of_flushes: u64,
    /// The unsynced changes when a flush, a checkpoint or the close returned.
    unsynced: BTreeSet<PathBuf>,
    syncs: u64,
    /// Files with new bytes, and new names of files and folders.
    written: BTreeSet<PathBuf>,
    named: BTreeSet<PathBuf>,
    known: BTreeSet<PathBuf>,
    /// Descriptors that sync each write.
    syncing: BTreeSet<String>,
}

/// Checks that a writer syncs flushed records with [`Durability::Power`], and does not with
/// [`Durability::Process`]. The writer is the named test in another process.
///
/// # Panics
/// If a check fails.
pub fn assert_synced_as_asked<S: DataStore + 'static>(
    test: &str,
    create: impl Fn(&Path, Durability) -> S,
) {
    let Some(traces) = traces(test, create) else {
        return;
    };
    for trace in &traces {
        assert_eq!((trace.flushes, trace.checkpoints), (27, 4), "{trace:#?}");
        assert!(trace.writes > STEPS, "{trace:#?}");
    }
    let [power, process] = traces;
    assert!(power.unsynced.is_empty(), "{power:#?}");
    assert!(power.syncs_of_flushes >= power.flushes - 1, "{power:#?}");
    assert_eq!(process.syncs_of_flushes, 0, "{process:#?}");
}

/// Returns the traces of a writer with [`Durability::Power`] and with [`Durability::Process`], the named
/// test in another process, where it returns `None`.
fn traces<S: DataStore + 'static>(
    test: &str,
    create: impl Fn(&Path, Durability) -> S,
) -> Option<[Trace; 2]> {
    const POWER: &str = "power";
    if let Some(path) = role() {
        let durability = match act() == POWER {
            true => Durability::Power,
            false => Durability::Process,
        };
        write(create(&path, durability));
        return None;
    }
    Some([POWER, "process"].map(|act| {
        let folder = quick_folder();
        let place = folder.path().canonicalize().unwrap().join("place");
        fs::create_dir(&place).unwrap();
        let log = folder.path().join("trace");
        // Threads cannot be started, so that one thread does all work.
        let mut arguments = vec!["-f", "-qq", "-y", "-s", "32", "-o", log.to_str().unwrap()];
        arguments.extend(["-e", CALLS, "-e", "inject=?clone,clone3:error=EAGAIN"]);
        let mut command = this_test_by("strace", &arguments, test, &place.join("run"));
        let output = output_within_a_minute(command.env(ACT, act));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let mut trace = Trace::default();
        for line in fs::read_to_string(&log).unwrap().lines() {
            trace.add(line, &place);
        }
        trace
    }))
}

fn write(store: impl DataStore + 'static) {
    let recorder = Recorder::with_options(store, RecorderOptions::new().inline(true));
    declare_steps(&recorder, 5);
    // Chunks that do not compress.
    let frames = Schema::array::<u64>([1000]).with_chunk_policy(ChunkPolicy::records(2));
    recorder.declare("frames", frames).unwrap();
    for step in 0..STEPS {
        record_step(&recorder, step);
        let numbers = step * 1000..(step + 1) * 1000;
        let noise = numbers.map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        recorder
            .record("frames", noise.collect::<Vec<_>>())
            .unwrap();
        if step % 10 == 9 {
            recorder.checkpoint().unwrap();
            println!("{SETTLED}{step}");
        } else {
            recorder.flush().unwrap();
            println!("{FLUSHED}{step}");
        }
    }
    recorder.close().unwrap();
    println!("{SETTLED}{STEPS}");
}

impl Trace {
    /// Follows a line of strace, such as `7 fsync(4</place/run>) = 0`.
    fn add(&mut self, line: &str, place: &Path) {
        let Some((call, result)) = line.rsplit_once(") = ") else {
            return;
        };
        if result.starts_with('-') {
            return;
        }
        let (name, arguments) = call.split_once('(').unwrap();
        let name = name.rsplit(' ').next().unwrap();
        let quoted = |n: usize| arguments.split('"').nth(2 * n + 1).unwrap_or_default();
        if name == "write" && arguments.starts_with("1<") {
            return self.promise(quoted(0));
        }
        let (descriptor, file) = descriptor(if name == "openat" { result } else { arguments });
        let is_lock = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".lock") || name.starts_with("lock.mdb")
        };
        let is_ours = |path: &Path| path.starts_with(place) && !is_lock(path);
        match name {
            "openat" => {
                match arguments.contains("O_DSYNC") || arguments.contains("O_SYNC") {
                    true => self.syncing.insert(descriptor.to_owned()),
                    false => self.syncing.remove(descriptor),
                };
                if is_ours(file) && arguments.contains("O_CREAT") {
                    self.name(file);
                }
            }
            "mkdir" if is_ours(quoted(0).as_ref()) => self.name(quoted(0).as_ref()),
            "rename" => {
                let (from, to) = (Path::new(quoted(0)), Path::new(quoted(1)));
                let was_written = self.written.remove(from);
                self.forget(from);
                if is_ours(to) {
                    self.forget(to);
                    self.name(to);
                    self.written.extend(was_written.then(|| to.to_owned()));
                }
            }
            "unlink" | "rmdir" => self.forget(quoted(0).as_ref()),
            "unlinkat" => self.forget(&file.join(quoted(0))),
            "fsync" | "fdatasync" => {
                self.syncs += u64::from(file.starts_with(place));
                self.written.remove(file);
                self.named.retain(|path| path.parent() != Some(file));
            }
            "sync" | "syncfs" => {
                self.syncs += 1;
                self.written.clear();
                self.named.clear();
            }
            // Releasing free space need not be durable.
            "fallocate" if arguments.contains("PUNCH_HOLE") => {}
            // All other calls write to a file.
            _ if is_ours(file) => {
                self.writes += 1;
                if !self.syncing.contains(descriptor) {
                    self.written.insert(file.to_owned());
                }
            }
            _ => {}
        }
    }

    fn name(&mut self, path: &Path) {
        if self.known.insert(path.to_owned()) {
            self.named.insert(path.to_owned());
        }
    }

    fn forget(&mut self, path: &Path) {
        for paths in [&mut self.written, &mut self.named, &mut self.known] {
            paths.remove(path);
        }
    }

    fn promise(&mut self, line: &str) {
        let syncs = std::mem::take(&mut self.syncs);
        if line.contains(SETTLED) {
            self.checkpoints += 1;
        } else if line.contains(FLUSHED) {
            // The first one is after opening.
            if self.flushes > 0 {
                self.syncs_of_flushes += syncs;
            }
            self.flushes += 1;
        } else {
            return;
        }
        self.unsynced.extend(self.written.iter().cloned());
        self.unsynced.extend(self.named.iter().cloned());
    }
}

/// The first descriptor in a text of strace, such as `4</place/run>`, and its path.
fn descriptor(text: &str) -> (&str, &Path) {
    let (descriptor, rest) = text.split_once('<').unwrap_or_default();
    let (path, _) = rest.split_once('>').unwrap_or_default();
    (descriptor, Path::new(path))
}
