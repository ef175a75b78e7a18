//! Files that are damaged in many ways. Each is read in another process, since a C library that maps or
//! parses the file may end the process.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{role, this_test};

/// The result of reading a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was read correctly.
    Correct,
    /// Something was an error, and the rest was correct.
    Error,
    /// Everything that was read was correct, and something at the end was missing.
    Shorter,
    /// Something was read that was not recorded.
    Wrong,
}

/// The number of damaged files with each outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Of [`Outcome::Correct`].
    pub correct: usize,
    /// Of [`Outcome::Error`].
    pub errors: usize,
    /// Of [`Outcome::Shorter`].
    pub shorter: usize,
    /// The damages with [`Outcome::Wrong`].
    pub wrong: Vec<String>,
    /// The damages that ended the process with a signal.
    pub killed: Vec<String>,
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            correct,
            errors,
            shorter,
            wrong,
            killed,
        } = self;
        write!(
            f,
            "{correct} correct, {errors} errors, {shorter} shorter, {} wrong, {} killed",
            wrong.len(),
            killed.len()
        )
    }
}

/// A generator of pseudorandom numbers.
#[derive(Clone, Copy, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Makes the generator of a seed.
    pub fn new(seed: usize) -> Self {
        Self(seed as u64)
    }

    /// Returns the next number, below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        // This is splitmix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % end.max(1)
    }
}

/// A page of the C libraries, and of the system.
const PAGE: usize = 4096;

/// The number of kinds of damage.
const KINDS: usize = 10;

/// The `i`-th damaged form of `sound`, with a description of the damage.
fn damaged(sound: &[u8], i: usize) -> (String, Vec<u8>) {
    let mut numbers = Numbers::new(i);
    let mut bytes = sound.to_vec();
    if bytes.is_empty() {
        bytes.extend([0; 9]);
        return (format!("{i}: not empty"), bytes);
    }
    let flip = [0xff, 0x01, 0x80, 0x10][numbers.below(4)];
    let at = numbers.below(bytes.len());
    let pages = bytes.len() / PAGE;
    let page = numbers.below(pages) * PAGE;
    let other = numbers.below(pages) * PAGE;
    let end = bytes.len().min(page + PAGE);
    let what = match i % KINDS {
        0 | 1 => {
            bytes[at] ^= flip;
            format!("byte {at} is flipped by {flip:#x}")
        }
        2 => {
            // The beginning locates everything else.
            let at = at % (2 * PAGE).min(bytes.len());
            bytes[at] ^= flip;
            format!("byte {at} is flipped by {flip:#x}")
        }
        3 => {
            // The beginning of a page describes its contents.
            let at = page + at % 64.min(end - page);
            bytes[at] ^= flip;
            format!("byte {at} is flipped by {flip:#x}")
        }
        4 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        5 => {
            bytes.truncate(page);
            format!("cut to {page} bytes")
        }
        6 => {
            let more = 1 + numbers.below(3 * PAGE);
            bytes.extend((0..more).map(|i| if flip == 1 { 0 } else { i as u8 }));
            format!("{more} bytes longer")
        }
        7 => {
            bytes[page..end].fill(if flip == 1 { 0xff } else { 0 });
            format!("page at {page} is wiped")
        }
        8 => {
            bytes.copy_within(page..end, other);
            format!("page at {page} is also at {other}")
        }
        _ => {
            let end = sound.len().min(at + 8);
            for byte in &mut bytes[at.min(end)..end] {
                *byte = numbers.below(256) as u8;
            }
            format!("bytes from {at} are random")
        }
    };
    (format!("{i}: {what}"), bytes)
}

/// Damages one of the files that `prepare` makes in a folder, in `tries` ways, and calls `read` each time with a folder
/// that contains all of them: in another process, as the child of the test `name`.
///
/// Every second damage is in the first file, the others are in any file. A panic or a try that does not end fails the
/// test.
pub fn survey(
    name: &str,
    tries: usize,
    prepare: impl FnOnce(&Path),
    read: impl Fn(&Path) -> Outcome,
) -> Outcomes {
    if let Some(folder) = role() {
        try_all(&folder, tries, read);
        std::process::exit(0);
    }
    // In memory, if there is a file system for that, since no file has to survive.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.unwrap();
    let sound = folder.path().join("sound");
    fs::create_dir(&sound).unwrap();
    prepare(&sound);
    let sound = Files::load(&sound);
    fs::write(folder.path().join("next"), "0").unwrap();
    fs::write(folder.path().join("outcomes"), "").unwrap();
    let mut outcomes = Outcomes::default();
    loop {
        let output = this_test(name, folder.path()).output().unwrap();
        if output.status.success() {
            break;
        }
        let at = fs::read_to_string(folder.path().join("next")).unwrap();
        let (what, ..) = sound.damaged(at.parse::<usize>().unwrap() - 1);
        let errors = String::from_utf8_lossy(&output.stderr);
        // A panic is a bug of this library, a signal one of a C library.
        assert_eq!(output.status.code(), None, "{what}: {errors}");
        outcomes.killed.push(format!("{what}: {}", output.status));
    }
    let lines = fs::read_to_string(folder.path().join("outcomes")).unwrap();
    for line in lines.lines() {
        match line.split_once(' ').unwrap() {
            ("Correct", _) => outcomes.correct += 1,
            ("Error", _) => outcomes.errors += 1,
            ("Shorter", _) => outcomes.shorter += 1,
            (_, what) => outcomes.wrong.push(what.to_owned()),
        }
    }
    let read = outcomes.correct + outcomes.errors + outcomes.shorter;
    let all = read + outcomes.wrong.len() + outcomes.killed.len();
    assert_eq!(all, tries, "{outcomes}");
    outcomes
}

fn try_all(folder: &Path, tries: usize, read: impl Fn(&Path) -> Outcome) {
    let next = folder.join("next");
    let sound = Files::load(&folder.join("sound"));
    let first: usize = fs::read_to_string(&next).unwrap().parse().unwrap();
    let mut outcomes = OpenOptions::new()
        .append(true)
        .open(folder.join("outcomes"))
        .unwrap();
    watch();
    for i in first..tries {
        fs::write(&next, (i + 1).to_string()).unwrap();
        TRY.store(i + 1, Ordering::Relaxed);
        let (what, path, bytes) = sound.damaged(i);
        let place = folder.join(format!("try{i}"));
        sound.store(&place);
        fs::write(place.join(path), bytes).unwrap();
        let outcome = read(&place);
        writeln!(outcomes, "{outcome:?} {what}").unwrap();
        fs::remove_dir_all(&place).unwrap();
    }
}

/// The files of a folder: their paths in it and their contents, sorted.
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn load(folder: &Path) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                    files.push((name.to_owned(), fs::read(&path).unwrap()));
                }
            }
        }
        files.sort();
        assert!(!files.is_empty(), "there is nothing to damage");
        Self(files)
    }

    fn store(&self, folder: &Path) {
        for (name, bytes) in &self.0 {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    fn damaged(&self, i: usize) -> (String, &str, Vec<u8>) {
        // One kind of damage after the other, then the next file.
        let file = match i / KINDS {
            round if round % 2 == 0 => 0,
            round => round / 2 % self.0.len(),
        };
        let (name, sound) = &self.0[file];
        let (what, bytes) = damaged(sound, i);
        (format!("{name} {what}"), name, bytes)
    }
}

/// How many files to damage: `SIMRECORDER_DAMAGES`, or `default`.
pub fn tries(default: usize) -> usize {
    std::env::var("SIMRECORDER_DAMAGES").map_or(default, |tries| tries.parse().unwrap())
}

static TRY: AtomicUsize = AtomicUsize::new(0);

/// Ends the process with an exit code if one try takes longer than a minute.
fn watch() {
    std::thread::spawn(|| {
        let mut seen = TRY.load(Ordering::Relaxed);
        loop {
            std::thread::sleep(Duration::from_secs(60));
            let now = TRY.load(Ordering::Relaxed);
            if now == seen {
                eprintln!("a try did not end within a minute");
                std::process::exit(99);
            }
            seen = now;
        }
    });
}
