//! libhdf5 in a forked child, which has the files of the parent open.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hdf5_metno_sys::h5::H5close;
use simrecorder_core::Recorder;
use simrecorder_core::conformance::child::{Ending, ForkedChild};
use simrecorder_hdf5::Hdf5DataStore;

/// A program, or another library, may make libhdf5 close all files when the process ends.
#[test]
fn a_child_that_ends_libhdf5_leaves_the_file_of_its_parent_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let recorder = Recorder::new(Hdf5DataStore::create(&path).unwrap());
    let ends = AtomicBool::new(false);
    let len = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = 0_u64;
            while !ends.load(Ordering::Relaxed) {
                recorder.record("n", next).unwrap();
                recorder.set(format!("new/{next}"), next).unwrap();
                recorder.flush().unwrap();
                next += 1;
            }
            next
        });
        for _ in 0..20 {
            let child = ForkedChild::start(Ending::Normal, || {
                // SAFETY: under the lock of the library; nothing of it is used afterwards.
                let status = hdf5_metno::sync::sync(|| unsafe { H5close() });
                assert!(status >= 0, "{status}");
            });
            child.finish();
        }
        ends.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    recorder.close().unwrap();
    let reader = Recorder::new(Hdf5DataStore::open(&path).unwrap());
    let numbers = reader.get_all("n").unwrap().read::<u64>().unwrap();
    assert!(numbers.iter().copied().eq(0..len));
    assert_eq!(reader.children("new").unwrap().len() as u64, len);
}
