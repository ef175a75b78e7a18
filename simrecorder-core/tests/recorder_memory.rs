//! The memory of a recorder, counted by the allocator.
//!
//! `RecorderOptions::memory_bound` allows the bound, 64 MiB for a commit in progress, and
//! 2 KiB for each key.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use simrecorder_core::{
    Coordinate, ErrorKind, MemoryPolicy, OnStoreError, Recorder, RecorderOptions, Result, Timeline,
    prelude::*,
};
use support::{FaultStore, NullStore, Op, no_timer, wait_until};

/// Counts the memory in use, and the allocations of this thread.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn taken(bytes: usize) {
    let in_use = IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(in_use, Ordering::Relaxed);
    // Missing while a thread ends.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        taken(new_size);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counts are those of the whole process, so one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poison| poison.into_inner())
}

const MIB: usize = 1 << 20;
const KEY_BYTES: usize = 2048;

/// The peak of the memory in use from now on.
struct Peak(usize);

impl Peak {
    fn start() -> Self {
        let now = IN_USE.load(Ordering::Relaxed);
        PEAK.store(now, Ordering::Relaxed);
        Self(now)
    }

    fn bytes(&self) -> usize {
        PEAK.load(Ordering::Relaxed).saturating_sub(self.0)
    }

    fn in_use(&self) -> usize {
        IN_USE.load(Ordering::Relaxed).saturating_sub(self.0)
    }
}

fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("region{}/neuron/{index}", index % 10))
        .collect()
}

#[derive(Clone, Copy, Debug)]
enum What {
    Scalars,
    Vectors,
    Ragged,
    Texts,
}

/// Records `bytes` at all keys in turn; returns how many records were accepted.
fn fill(recorder: &Recorder, keys: &[String], what: What, bytes: usize) -> Result<u64> {
    let vector = vec![0.5_f64; 1000];
    let text = "x".repeat(200);
    let (mut recorded, mut taken) = (0, 0);
    for (round, key) in keys.iter().cycle().enumerate() {
        if recorded >= bytes {
            break;
        }
        let (size, result) = match what {
            What::Scalars => (8, recorder.record(key, 0.5)),
            What::Vectors => (8000, recorder.record(key, &vector)),
            What::Ragged => {
                let row = &vector[..round % 1000];
                (8 * row.len() + 8, recorder.record(key, Ragged(row)))
            }
            What::Texts => (text.len(), recorder.record(key, &text)),
        };
        recorded += size;
        match result {
            Ok(()) => taken += 1,
            Err(error) if error.kind() == ErrorKind::BufferFull => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

const CASES: [(What, usize); 10] = [
    (What::Scalars, 1),
    (What::Scalars, 100),
    (What::Scalars, 10_000),
    (What::Vectors, 1),
    (What::Vectors, 100),
    (What::Vectors, 10_000),
    (What::Ragged, 1),
    (What::Ragged, 100),
    (What::Ragged, 10_000),
    (What::Texts, 10_000),
];

#[test]
fn memory_stays_within_the_bound_while_the_store_works() -> Result<()> {
    let _alone = alone();
    let bound = 8 * MIB;
    for (what, count) in CASES {
        let keys = keys(count);
        let peak = Peak::start();
        let store = NullStore::default();
        let recorder = Recorder::with_options(store.clone(), no_timer().memory_bound(bound));
        let taken = fill(&recorder, &keys, what, 3 * bound)?;
        recorder.close()?;
        assert_eq!(store.records(), taken, "{what:?}, {count} keys");
        println!("{what:?}, {count} keys: peak {} KiB", peak.bytes() / 1024);
        // A store that keeps nothing needs none of the 64 MiB.
        let allowed = bound + count * KEY_BYTES + MIB;
        assert!(
            peak.bytes() <= allowed,
            "{what:?}, {count} keys: {} bytes, {allowed} are allowed",
            peak.bytes()
        );
    }
    Ok(())
}

#[test]
fn memory_stays_within_the_bound_while_the_store_stalls() -> Result<()> {
    let _alone = alone();
    let bound = 8 * MIB;
    for (what, count) in CASES {
        let keys = keys(count);
        let peak = Peak::start();
        let store = NullStore::default();
        store.shut();
        let options = no_timer()
            .memory_bound(bound)
            .memory_policy(MemoryPolicy::Error);
        let recorder = Recorder::with_options((store.clone(), NullStore::default()), options);
        let taken = fill(&recorder, &keys, what, 2 * bound)?;
        let at_rest = peak.bytes();
        store.release();
        recorder.close()?;
        assert_eq!(store.records(), taken, "{what:?}, {count} keys");
        println!("{what:?}, {count} keys: peak {} KiB", at_rest / 1024);
        let allowed = bound + count * KEY_BYTES + MIB;
        for (when, bytes) in [("stalled", at_rest), ("closing", peak.bytes())] {
            assert!(
                bytes <= allowed,
                "{what:?}, {count} keys, {when}: {bytes} bytes, {allowed} are allowed"
            );
        }
    }
    Ok(())
}

#[test]
fn timed_commits_of_many_small_tails_stay_within_the_bound_while_the_store_stalls() -> Result<()> {
    let _alone = alone();
    let (bound, count) = (8 * MIB, 1000);
    let keys = keys(count);
    let peak = Peak::start();
    let store = NullStore::default();
    store.shut();
    let options = RecorderOptions::new()
        .commit_interval(std::time::Duration::from_micros(100))
        .memory_bound(bound)
        .memory_policy(MemoryPolicy::Error);
    let recorder = Recorder::with_options(store.clone(), options);
    let mut taken = 0;
    wait_until("the queue is full", || {
        recorder.status().stores[0].queued_bytes > bound / 8 * 3 - 2048
            || fill(&recorder, &keys, What::Scalars, 8 * count).is_err()
    });
    taken += recorder.status().record_count;
    store.release();
    recorder.close()?;
    assert_eq!(store.records(), taken);
    println!("peak {} KiB", peak.bytes() / 1024);
    assert!(
        peak.bytes() <= bound + count * KEY_BYTES + MIB,
        "{} bytes",
        peak.bytes()
    );
    Ok(())
}

#[test]
fn what_stores_prepare_counts_too() -> Result<()> {
    let _alone = alone();
    let bound = 256 * MIB;
    for stores in [1, 2, 4] {
        let stores: Vec<_> = (0..stores).map(|_| NullStore::copying()).collect();
        stores.iter().for_each(NullStore::shut);
        let peak = Peak::start();
        let options = no_timer()
            .memory_bound(bound)
            .memory_policy(MemoryPolicy::Error);
        let recorder = Recorder::with_options(stores.clone(), options);
        let taken = fill(&recorder, &keys(100), What::Vectors, bound + bound / 4)?;
        let bytes = peak.bytes();
        stores.iter().for_each(NullStore::release);
        recorder.close()?;
        assert!(stores.iter().all(|store| store.records() == taken));
        println!("{} stores: peak {} MiB", stores.len(), bytes / MIB);
        assert!(bytes <= bound + 64 * MIB + 100 * KEY_BYTES, "{bytes} bytes");
    }
    Ok(())
}

/// Records or sets something of `8 * MIB` bytes.
type Write = fn(&Recorder, &[u8]) -> Result<()>;

const LARGE_WRITES: [(&str, Write); 4] = [
    ("array", |recorder, data| recorder.record("array", data)),
    ("row", |recorder, data| recorder.record("row", Ragged(data))),
    ("bytes", |recorder, data| {
        recorder.record("bytes", Blob(data))
    }),
    ("value", |recorder, data| recorder.set("value", data)),
];

#[test]
fn what_is_larger_than_the_bound_waits_for_the_one_before() -> Result<()> {
    let _alone = alone();
    let data = vec![1_u8; 8 * MIB];
    for (what, write) in LARGE_WRITES {
        for (stores, inline) in [(1, false), (2, false), (2, true)] {
            let stores: Vec<_> = (0..stores).map(|_| NullStore::default()).collect();
            let peak = Peak::start();
            let options = no_timer().memory_bound(MIB).inline(inline);
            let recorder = Recorder::with_options(stores.clone(), options);
            (0..6).try_for_each(|_| write(&recorder, &data))?;
            recorder.close()?;
            println!(
                "{what}, {} stores: {} KiB",
                stores.len(),
                peak.bytes() / 1024
            );
            assert!(peak.bytes() <= 9 * MIB, "{what}: {} bytes", peak.bytes());
        }
    }
    Ok(())
}

#[test]
fn what_is_larger_than_the_bound_is_refused_before_it_is_copied() -> Result<()> {
    let _alone = alone();
    let data = vec![1_u8; 8 * MIB];
    for (what, write) in LARGE_WRITES {
        let (quick, stalled) = (NullStore::default(), NullStore::default());
        stalled.shut();
        let peak = Peak::start();
        let options = no_timer().memory_bound(MIB);
        let options = options.memory_policy(MemoryPolicy::Error);
        let recorder = Recorder::with_options((quick, stalled.clone()), options);
        write(&recorder, &data)?;
        for _ in 0..3 {
            let error = write(&recorder, &data).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BufferFull, "{what}");
        }
        assert!(peak.bytes() <= 9 * MIB, "{what}: {} bytes", peak.bytes());
        stalled.release();
        recorder.flush()?;
        write(&recorder, &data)?;
        recorder.close()?;
        if what != "value" {
            assert_eq!(stalled.records(), 2, "{what}");
        }
    }
    Ok(())
}

#[test]
fn a_detached_store_holds_no_memory() -> Result<()> {
    let _alone = alone();
    let bound = 4 * MIB;
    let peak = Peak::start();
    let options = no_timer()
        .memory_bound(bound)
        .on_store_error(OnStoreError::Detach);
    let store = NullStore::default();
    let faulty = FaultStore::new(Op::Commit, 1);
    let recorder = Recorder::with_options((faulty, store.clone()), options);
    let taken = fill(&recorder, &keys(100), What::Vectors, 8 * bound)?;
    assert!(recorder.close().is_err());
    assert_eq!(store.records(), taken);
    assert!(peak.bytes() <= bound + 100 * KEY_BYTES + MIB);
    Ok(())
}

#[test]
fn a_key_takes_less_than_two_kib() -> Result<()> {
    let _alone = alone();
    for count in [10_000, 100_000] {
        let keys = keys(count);
        let peak = Peak::start();
        let store = NullStore::default();
        let recorder = Recorder::with_options(store.clone(), no_timer());
        fill(&recorder, &keys, What::Scalars, 8 * count)?;
        let with_record = peak.in_use() / count;
        recorder.flush()?;
        let flushed = peak.in_use() / count;
        println!(
            "{count} keys: {with_record} bytes a key, {flushed} after a flush, {} at the peak",
            peak.bytes() / count
        );
        assert!(peak.bytes() / count < KEY_BYTES);
        recorder.close()?;
        drop(recorder);
        assert_eq!(store.records(), count as u64);
        assert!(peak.in_use() < MIB, "{} bytes are left", peak.in_use());
    }
    Ok(())
}

#[test]
fn spellings_of_a_key_do_not_take_more_and_more_memory() -> Result<()> {
    let _alone = alone();
    let store = NullStore::default();
    let recorder = Recorder::with_options(store.clone(), no_timer());
    let spelling = |count: usize| format!("{}a//b{}", "/".repeat(count), "/".repeat(count % 7));
    let record = |range: std::ops::Range<usize>| -> Result<()> {
        for count in range {
            recorder.record(spelling(count), 1_u8)?;
        }
        recorder.flush()
    };
    record(0..100)?;
    let peak = Peak::start();
    record(0..4000)?;
    assert!(peak.in_use() < 16 * 1024, "{} bytes", peak.in_use());
    assert_eq!(recorder.status().series_count, 1);
    assert_eq!(store.records(), 4100);
    Ok(())
}

/// The number of allocations of `work` on this thread.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn a_record_takes_no_memory_of_its_own() -> Result<()> {
    let _alone = alone();
    let recorder = Recorder::with_options(NullStore::default(), no_timer());
    let handle = recorder.series::<f64>("handle")?;
    let (row, text) = (vec![1.0; 10], "ten letter".to_owned());
    let record_all = || {
        recorder.record("scalar", 0.5).unwrap();
        recorder.record("size", 7_usize).unwrap();
        recorder.record("row", &row).unwrap();
        recorder.record("array", [1_u8, 2, 3]).unwrap();
        recorder.record("ragged", Ragged(&row)).unwrap();
        recorder.record("text", &text).unwrap();
        handle.record(0.5).unwrap();
    };
    // The buffers get the size of the last batch.
    for _ in 0..2000 {
        record_all();
    }
    recorder.flush()?;
    record_all();
    let count = allocations(|| (0..1000).for_each(|_| record_all()));
    println!("{count} allocations for 7000 records");
    // Buffers, and the ends of records of unknown size, grow by doubling.
    assert!(count <= 50, "{count} allocations");
    let count = allocations(|| {
        for _ in 0..500 {
            recorder.record("scalar", 0.5).unwrap();
            handle.record(0.5).unwrap();
        }
    });
    assert_eq!(count, 0);
    Ok(())
}

#[test]
fn a_long_run_asks_for_memory_once_a_chunk_and_not_once_a_record() -> Result<()> {
    let _alone = alone();
    let recorder = Recorder::with_options(NullStore::default(), no_timer());
    let handle = recorder.series::<f64>("handle")?;
    let count = allocations(|| {
        for _ in 0..1_000_000_u32 {
            handle.record(0.5).unwrap();
        }
    });
    println!("{count} allocations for a million records");
    assert!(count < 200, "{count} allocations");
    recorder.close()
}

/// The scalars of a tick and the bytes of its frame, if it has one.
const TICKS: [(usize, usize); 6] = [
    (1, 0),
    (100, 0),
    (10_000, 0),
    (0, 100_000),
    (10, 3000),
    (1000, 64 << 10),
];

/// Records ticks from `first` on, of about `bytes` bytes in total; returns how many records were accepted.
fn fill_ticks(
    net: &mut Timeline<u64>,
    (scalars, frame): (usize, usize),
    first: u64,
    bytes: usize,
) -> Result<u64> {
    let names = (0..scalars).map(|i| format!("scalar_{i}"));
    let members = names.map(|name| net.member(&name));
    let members = members.collect::<Result<Vec<_>>>()?;
    let frame = vec![1_u8; frame];
    let count = (bytes / (8 * (scalars + 1) + frame.len())) as u64;
    for tick in first..first + count {
        net.advance(tick)?;
        for member in &members {
            net.push(*member, 0.5)?;
        }
        if !frame.is_empty() {
            net.record("frame", &frame)?;
        }
    }
    Ok(count * (members.len() + 1 + usize::from(!frame.is_empty())) as u64)
}

#[test]
fn timelines_stay_within_the_bound_while_the_store_works() -> Result<()> {
    let _alone = alone();
    let bound = 8 * MIB;
    for case in TICKS {
        let peak = Peak::start();
        let store = NullStore::default();
        let recorder = Recorder::with_options(store.clone(), no_timer().memory_bound(bound));
        let mut net = recorder.timeline("net", Coordinate::new("step"))?;
        let taken = fill_ticks(&mut net, case, 0, 3 * bound)?;
        net.finish()?;
        recorder.close()?;
        assert_eq!(store.records(), taken, "{case:?}");
        println!("{case:?}: peak {} KiB", peak.bytes() / 1024);
        let allowed = bound + (case.0 + 2) * KEY_BYTES + MIB;
        let bytes = peak.bytes();
        assert!(
            bytes <= allowed,
            "{case:?}: {bytes} bytes, {allowed} are allowed"
        );
    }
    Ok(())
}

#[test]
fn timelines_stay_within_the_bound_while_the_store_stalls() -> Result<()> {
    let _alone = alone();
    let bound = 8 * MIB;
    for case in TICKS {
        let peak = Peak::start();
        let store = NullStore::default();
        let options = no_timer()
            .memory_bound(bound)
            .memory_policy(MemoryPolicy::Error);
        let recorder = Recorder::with_options((store.clone(), NullStore::default()), options);
        let mut net = recorder.timeline("net", Coordinate::new("step"))?;
        // The series exist before the store stalls.
        fill_ticks(&mut net, case, 0, 8 * (case.0 + 1) + case.1)?;
        recorder.flush()?;
        store.shut();
        let error = fill_ticks(&mut net, case, 1, 2 * bound).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BufferFull, "{case:?}");
        let at_rest = peak.bytes();
        store.release();
        // The records of the open tick are not lost: the tick is incomplete, and discarded.
        net.discard_tick();
        let ticks = net.len();
        recorder.close()?;
        let series = (case.0 + 1 + usize::from(case.1 > 0)) as u64;
        assert_eq!(store.records(), ticks * series, "{case:?}");
        println!("{case:?}: peak {} KiB", at_rest / 1024);
        let allowed = bound + (case.0 + 2) * KEY_BYTES + MIB;
        for (when, bytes) in [("stalled", at_rest), ("closing", peak.bytes())] {
            assert!(
                bytes <= allowed,
                "{case:?}, {when}: {bytes} bytes, {allowed} are allowed"
            );
        }
    }
    Ok(())
}

#[test]
fn a_tick_that_is_larger_than_the_bound_passes_alone() -> Result<()> {
    let _alone = alone();
    let data = vec![1_u8; 4 * MIB];
    for (stores, inline) in [(1, false), (2, false), (2, true)] {
        let stores: Vec<_> = (0..stores).map(|_| NullStore::default()).collect();
        let peak = Peak::start();
        let options = no_timer().memory_bound(MIB).inline(inline);
        let recorder = Recorder::with_options(stores.clone(), options);
        let mut net = recorder.timeline("net", Coordinate::new("step"))?;
        for tick in 0..6_u64 {
            net.tick(
                tick,
                (("a", &data), ("b", Ragged(&data)), ("c", Blob(&data))),
            )?;
        }
        recorder.close()?;
        drop(net);
        assert!(stores.iter().all(|store| store.records() == 24));
        println!("{} stores: {} KiB", stores.len(), peak.bytes() / 1024);
        assert!(peak.bytes() <= 13 * MIB, "{} bytes", peak.bytes());
    }
    Ok(())
}

#[test]
fn a_tick_takes_no_memory_of_its_own() -> Result<()> {
    let _alone = alone();
    let recorder = Recorder::with_options(NullStore::default(), no_timer());
    let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    fill_ticks(&mut net, (10, 0), 0, 88 * 5000)?;
    let few = allocations(|| {
        fill_ticks(&mut net, (10, 0), 5000, 88 * 3000).unwrap();
    });
    // The names of its series, and the members.
    assert!(few < 100, "{few} allocations in 3000 ticks of 11 records");
    Ok(())
}
