//! Single bytes of a file are changed, and the whole file is read.
//!
//! libhdf5 parses the file in the process, so each attempt runs in another process. Object headers
//! and groups have checksums, compressed chunks have that of zlib. Indices of chunks and texts have
//! none.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use std::fs;
use std::path::Path;

use simrecorder_core::{ChunkPolicy, OpenMode, Recorder, Schema, prelude::*};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::{role, this_test};

/// The file with one changed byte.
fn flip(whole: &[u8], i: usize) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    let at = i.wrapping_mul(2_654_435_761) % whole.len();
    damaged[at] ^= [0xff, 0x01, 0x80][i % 3];
    damaged
}

/// Reads the whole file. Numbers that can be read must be right.
fn read(path: &Path, what: &str) {
    let Ok(store) = Hdf5DataStore::open(path) else {
        return;
    };
    let recorder = Recorder::new(store);
    for key in recorder.keys().unwrap_or_default() {
        drop(recorder.get(&key));
        let Ok(view) = recorder.get_all(&key) else {
            continue;
        };
        view.iter().take(2000).for_each(drop);
        let n = view.read::<u64>().unwrap_or_default();
        if key.as_str() == "net/n" {
            let mut pairs = n.iter().copied().zip(0..);
            assert!(pairs.all(|(x, i)| x == i), "{what}: wrong records");
        }
    }
}

/// Reads files that differ from a recording in one byte, in other processes. Returns the files for
/// which the process crashed. A panic fails the test.
fn crashes(name: &str, flips: usize, record: impl FnOnce(&Recorder)) -> Vec<String> {
    if let Some(folder) = role() {
        let next = folder.join("next");
        let whole = fs::read(folder.join("run.h5")).unwrap();
        let first: usize = fs::read_to_string(&next).unwrap().parse().unwrap();
        for i in first..flips {
            fs::write(&next, (i + 1).to_string()).unwrap();
            let path = folder.join("damaged.h5");
            fs::write(&path, flip(&whole, i)).unwrap();
            read(&path, &format!("flip {i}"));
        }
        std::process::exit(0);
    }
    let folder = tempfile::tempdir().unwrap();
    // Small chunks: large ones take most of the time and are all alike.
    let store = Hdf5DataStore::options()
        .mode(OpenMode::CreateNew)
        .chunk_policy(ChunkPolicy::target_bytes(800));
    let recorder = Recorder::new(store.open(folder.path().join("run.h5")).unwrap());
    record(&recorder);
    recorder.close().unwrap();
    let next = folder.path().join("next");
    fs::write(&next, "0").unwrap();
    let mut crashes = Vec::new();
    loop {
        let output = this_test(name, folder.path()).output().unwrap();
        let at = fs::read_to_string(&next).unwrap();
        if output.status.success() {
            assert_eq!(at, flips.to_string());
            return crashes;
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        // A panic would be our defect; a signal is libhdf5's.
        assert_eq!(output.status.code(), None, "{at} flips: {errors}");
        crashes.push(format!("{at}: {}", output.status));
    }
}

#[test]
fn flipped_bytes_of_numbers_are_an_error_or_right_records() {
    const NAME: &str = "flipped_bytes_of_numbers_are_an_error_or_right_records";
    let crashes = crashes(NAME, 250, |recorder| {
        let n = Schema::scalar::<u64>().with_units("mV");
        recorder.declare("net/n", n).unwrap();
        recorder.set("meta/seed", 42_u64).unwrap();
        for i in 0..1000_u64 {
            recorder.record("net/n", i).unwrap();
            recorder.record("frames", [i as f32 / 8.0; 20]).unwrap();
            recorder
                .record("spikes", Ragged(&vec![i; (i % 3) as usize]))
                .unwrap();
        }
    });
    assert!(crashes.is_empty(), "{crashes:?}");
}

/// A defect of libhdf5 1.10.8: if a flipped bit changes the length or the place of a text, it
/// copies past the end of its buffer (in `H5HG_read`) and may end the process with a signal. Do not
/// read text from untrusted sources with it.
#[test]
fn flipped_bytes_of_text_are_an_error_or_texts_and_never_a_panic() {
    const NAME: &str = "flipped_bytes_of_text_are_an_error_or_texts_and_never_a_panic";
    let crashes = crashes(NAME, 120, |recorder| {
        for i in 0..500_u64 {
            recorder.record("log", format!("step {i}")).unwrap();
            recorder
                .record("blob", Blob(vec![7; i as usize % 9]))
                .unwrap();
        }
    });
    println!("libhdf5 crashed on {} of 120 files", crashes.len());
}
