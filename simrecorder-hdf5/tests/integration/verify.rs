//! What `verify` reports about damaged files, and what can still be read.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use flate2::read::ZlibDecoder;
use simrecorder_core::{ChunkPolicy, OpenMode, Recorder, Schema, Value, verify};
use simrecorder_hdf5::Hdf5DataStore;
use simrecorder_testkit::recovery::check_recovery;

const CHUNK_RECORDS: u64 = 100;
const RECORDS: u64 = 450;

fn write(path: &Path) {
    let store = Hdf5DataStore::options().mode(OpenMode::CreateNew);
    let recorder = Recorder::new(store.open(path).unwrap());
    let schema = Schema::scalar::<f64>().with_chunk_policy(ChunkPolicy::records(CHUNK_RECORDS));
    recorder.declare("v", schema).unwrap();
    for i in 0..RECORDS {
        recorder.record("v", i as f64).unwrap();
        recorder.record("log", format!("line {i}")).unwrap();
    }
    recorder.set("seed", 42_u64).unwrap();
    recorder.close().unwrap();
}

/// The places of the chunks of `v` in the file, in order: zlib streams that decode to the size of a
/// chunk.
fn chunks(file: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 2 < file.len() {
        let mut decoder = ZlibDecoder::new(&file[at..]);
        let mut data = Vec::new();
        let is_stream = file[at] == 0x78 && decoder.read_to_end(&mut data).is_ok();
        if is_stream && data.len() as u64 == CHUNK_RECORDS * 8 {
            let end = at + decoder.total_in() as usize;
            found.push(at..end);
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

#[test]
fn changed_bytes_of_a_chunk_are_found_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    write(&path);
    let report = verify(&Hdf5DataStore::open(&path).unwrap()).unwrap();
    assert!(report.is_sound(), "{report}");

    let sound = fs::read(&path).unwrap();
    let chunks = chunks(&sound);
    assert_eq!(chunks.len() as u64, RECORDS.div_ceil(CHUNK_RECORDS));
    let mut damaged_chunks = Vec::new();
    for chunk in chunks {
        // The last four bytes are the checksum.
        for at in [chunk.start, (chunk.start + chunk.end) / 2, chunk.end - 1] {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, damaged).unwrap();
            let store = Hdf5DataStore::open(&path).unwrap();
            let report = verify(&store).unwrap();
            let keys: Vec<_> = report.damaged().collect();
            let [key] = keys[..] else { panic!("{report}") };
            assert_eq!((key.key.as_str(), key.damage.len()), ("v", 1), "{report}");
            let records = key.damage[0].records.clone().unwrap();
            assert!(
                records.start.is_multiple_of(CHUNK_RECORDS)
                    && records.end == RECORDS.min(records.start + CHUNK_RECORDS),
                "{report}"
            );
            damaged_chunks.push(records.start / CHUNK_RECORDS);

            let keys = [("v", RECORDS), ("log", RECORDS)];
            let recovery = check_recovery(&store, &keys, |key, i| match key {
                "v" => Value::new(i as f64).unwrap(),
                _ => Value::new(format!("line {i}")).unwrap(),
            });
            assert_eq!(recovery.left_out.len(), 1, "{recovery}");

            let view = Recorder::new(store).get_all("v").unwrap();
            for i in (0..RECORDS).step_by(10) {
                assert_eq!(view.get(i).is_err(), records.contains(&i), "record {i}");
            }
        }
    }
    damaged_chunks.dedup();
    damaged_chunks.sort_unstable();
    assert_eq!(damaged_chunks, [0, 1, 2, 3, 4]);
}
