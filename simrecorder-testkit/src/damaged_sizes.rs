//! The largest allocation of a reader of damaged files.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use simrecorder_core::{ChunkPolicy, OpenMode, Recorder, Result, Schema, prelude::*};

use crate::allocation::LargestPiece;

/// More than the largest allocation for reading a sound recording.
const MOST: usize = 8 << 20;

/// Opens the recording at a path.
pub type Open = fn(&Path, OpenMode) -> Result<Recorder>;

/// An open recording with chunks and tails.
fn record(folder: &Path, open: Open) -> Recorder {
    let recorder = open(&folder.join("run"), OpenMode::CreateNew).unwrap();
    let n = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(100));
    recorder.declare("net/n", n).unwrap();
    let append = |i: u64| {
        recorder.record("net/n", i).unwrap();
        recorder.record("log", format!("step {i}")).unwrap();
        recorder
            .record("spikes", Ragged(&vec![i; (i % 3) as usize]))
            .unwrap();
    };
    (0..250).for_each(append);
    recorder.checkpoint().unwrap();
    (250..300).for_each(append);
    recorder.flush().unwrap();
    recorder
}

/// Reads everything that can be read.
fn read(folder: &Path, open: Open) {
    let Ok(recorder) = open(&folder.join("run"), OpenMode::Read) else {
        return;
    };
    drop(recorder.keys());
    for key in ["net/n", "log", "spikes"] {
        if let Ok(view) = recorder.get_all(key) {
            view.iter().take(400).for_each(drop);
        }
    }
}

#[derive(Clone, Debug)]
enum Damage {
    /// Changes some bytes.
    Change(Index, Vec<u8>),
    Cut(Index),
    Extend(Vec<u8>),
}

fn damages() -> impl Strategy<Value = Damage> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..9),
        // Values of lengths.
        Just(vec![0xff; 8]),
        Just(vec![0xff, 0xff, 0xff, 0x7f]),
        Just(vec![0, 0, 0, 0x40, 0, 0, 0, 0]),
    ];
    prop_oneof![
        4 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Damage::Change(at, bytes)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..200).prop_map(Damage::Extend),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Change(at, to) => {
                let at = at.index(bytes.len());
                let end = bytes.len().min(at + to.len());
                bytes[at..end].copy_from_slice(&to[..end - at]);
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Extend(more) => bytes.extend_from_slice(more),
        }
    }
}

/// Damages some of the `files` of a recording in many ways and reads it, without a large allocation. `files` are paths in
/// its folder; the recording is `run` in that folder.
///
/// # Panics
/// If there is a large allocation.
pub fn no_damage_makes_a_reader_ask_for_much_memory(
    allocator: &LargestPiece,
    files: &[&str],
    open: Open,
) {
    let folder = tempfile::tempdir().unwrap();
    let recorder = record(folder.path(), open);
    let sound: Vec<Vec<u8>> = files
        .iter()
        .map(|name| fs::read(folder.path().join(name)).unwrap())
        .collect();
    let seen = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-r", "."])
        .arg(seen.path())
        .current_dir(folder.path())
        .status();
    assert!(copied.unwrap().success());
    read(seen.path(), open);
    allocator.take();
    read(seen.path(), open);
    let usual = allocator.take();
    assert!(usual < MOST, "{usual} bytes at once for a sound recording");
    let config = ProptestConfig::with_cases(300);
    proptest!(config, |(file in any::<Index>(), damages in prop::collection::vec(damages(), 1..4))| {
        let file = file.index(files.len());
        let mut bytes = sound[file].clone();
        for damage in damages.iter().filter(|_| !sound[file].is_empty()) {
            if !bytes.is_empty() {
                damage.apply(&mut bytes);
            }
        }
        let path = seen.path().join(files[file]);
        fs::write(&path, &bytes).unwrap();
        allocator.take();
        read(seen.path(), open);
        let most = allocator.take();
        fs::write(&path, &sound[file]).unwrap();
        prop_assert!(most < MOST, "{}: {} bytes at once", files[file], most);
    });
    recorder.close().unwrap();
}
