//! The journal of an HDF5 file: all of it, or everything after a sound header, which names the file of the
//! journal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simrecorder_fuzz::{HDF5_HEADER, Scratch, hdf5, open_hdf5};

const JOURNAL: &str = "run.h5.journal";

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static RECORDING: (Scratch, Vec<u8>) = {
        let recording = Scratch::new(hdf5, open_hdf5);
        let journal = std::fs::read(recording.path().join(JOURNAL)).expect("a journal");
        (recording, journal[..HDF5_HEADER].to_vec())
    });
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    RECORDING.with(|(recording, header)| {
        let header: &[u8] = if first % 2 == 0 { &[] } else { header };
        recording.write(JOURNAL, &[header, rest].concat());
        recording.read();
    });
});
