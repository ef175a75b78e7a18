//! The state of files after a power failure: any part of the unsynced data, in any order.
//!
//! The system may have written any sectors of a file since its last sync, and any of its changes of
//! length. The file system keeps names of files in a log: it may have all names up to some moment, and later names in
//! folders that were synced.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::damage::Numbers;

/// The unit that a disk writes at once.
const SECTOR: usize = 512;

/// A call that changes files, or a line that the process printed.
#[derive(Debug)]
enum Step {
    Open {
        path: PathBuf,
        descriptor: String,
        flags: String,
    },
    /// At an offset, or at the position of the descriptor.
    Write {
        descriptor: String,
        offset: Option<u64>,
        data: Vec<u8>,
    },
    Seek {
        descriptor: String,
        to: u64,
    },
    Resize {
        descriptor: String,
        len: u64,
    },
    Punch {
        descriptor: String,
        start: u64,
        len: u64,
    },
    Sync {
        path: PathBuf,
    },
    SyncAll,
    Make {
        path: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    Print {
        text: String,
    },
}

/// The calls of a process, as `strace -y -xx` writes them.
#[derive(Debug)]
pub(crate) struct Trace(Vec<Step>);

impl Trace {
    pub(crate) const CALLS: &'static str = "trace=openat,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,\
        fallocate,fsync,fdatasync,sync,syncfs,?mkdir,?rename,renameat2,?link,linkat,?unlink,unlinkat,?rmdir,\
        ?clone,clone3";

    /// Reads the output of strace about changes in a folder, except for locks.
    pub(crate) fn parse(text: &str, folder: &Path) -> Self {
        Self(text.lines().filter_map(|line| step(line, folder)).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The last number after a word that was printed before the power failed at a step.
    pub(crate) fn printed(&self, word: &str, at: usize) -> u64 {
        let text = self.0[..at].iter().filter_map(|step| match step {
            Step::Print { text } => Some(&**text),
            _ => None,
        });
        crate::system_calls::last(&text.collect::<String>(), word)
    }

    /// Writes to `to` a possible state of the folder `from` if the power fails at a step. About `percent` percent of the
    /// unsynced sectors are written.
    pub(crate) fn write_remains(
        &self,
        (from, to): (&Path, &Path),
        at: usize,
        percent: usize,
        numbers: &mut Numbers,
    ) {
        let mut disk = Disk::default();
        self.0[..at].iter().for_each(|step| disk.apply(step));
        for (path, file) in disk.names_left(percent, numbers) {
            let Ok(below) = path.strip_prefix(from) else {
                continue;
            };
            let path = to.join(below);
            match file {
                None => fs::create_dir_all(path).unwrap(),
                Some(file) => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, disk.files[file].left(percent, numbers)).unwrap();
                }
            }
        }
    }
}

fn step(line: &str, folder: &Path) -> Option<Step> {
    let (call, result) = line.rsplit_once(") = ")?;
    let (name, arguments) = call.split_once('(')?;
    let name = name.rsplit(' ').next()?;
    if result.starts_with('-') {
        return None;
    }
    let descriptor = |text: &str| {
        text.split(['<', ','])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let texts = strings(arguments);
    let path = |n: usize| {
        let path = PathBuf::from(String::from_utf8_lossy(&texts[n]).into_owned());
        is_ours(&path, folder).then_some(path)
    };
    let number = |n: usize| {
        let numbers = arguments.rsplit(", ");
        numbers.clone().nth(n)?.trim().parse::<u64>().ok()
    };
    let write = |offset| Step::Write {
        descriptor: descriptor(arguments),
        offset,
        data: texts.concat(),
    };
    // The number of a descriptor is reused for files elsewhere.
    let changes_a_file = [
        "write",
        "writev",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "lseek",
        "ftruncate",
        "fallocate",
    ];
    let is_print = name == "write" && (arguments.starts_with("1<") || arguments.starts_with("1,"));
    if changes_a_file.contains(&name)
        && !is_print
        && !opened(arguments).is_some_and(|path| is_ours(&path, folder))
    {
        return None;
    }
    Some(match name {
        "write" if is_print => Step::Print {
            text: String::from_utf8_lossy(&texts.concat()).into_owned(),
        },
        "openat" => Step::Open {
            path: path(texts.len() - 1)?,
            descriptor: descriptor(result),
            flags: arguments.to_owned(),
        },
        "write" | "writev" => write(None),
        "pwrite64" | "pwritev" => write(number(0)),
        "pwritev2" => write(number(1)),
        "lseek" => Step::Seek {
            descriptor: descriptor(arguments),
            to: result.parse().ok()?,
        },
        "ftruncate" => Step::Resize {
            descriptor: descriptor(arguments),
            len: number(0)?,
        },
        "fallocate" if arguments.contains("PUNCH_HOLE") => Step::Punch {
            descriptor: descriptor(arguments),
            start: number(1)?,
            len: number(0)?,
        },
        "fsync" | "fdatasync" => Step::Sync {
            path: opened(arguments)?,
        },
        "sync" | "syncfs" => Step::SyncAll,
        "mkdir" => Step::Make { path: path(0)? },
        "rename" => Step::Rename {
            from: path(0)?,
            to: path(1)?,
        },
        "link" => Step::Link {
            from: path(0)?,
            to: path(1)?,
        },
        "renameat2" => panic!("a call that is not followed: {line}"),
        "linkat" => Step::Link {
            from: path(texts.len() - 2)?,
            to: path(texts.len() - 1)?,
        },
        "unlink" | "rmdir" => Step::Remove { path: path(0)? },
        // Relative to the folder of a descriptor.
        "unlinkat" => {
            let name = String::from_utf8_lossy(texts.last()?).into_owned();
            let path = opened(arguments).unwrap_or_default().join(name);
            path.starts_with(folder).then_some(Step::Remove { path })?
        }
        _ => return None,
    })
}

fn is_ours(path: &Path, folder: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.starts_with(folder) && !name.ends_with(".lock") && !name.starts_with("lock.mdb")
}

/// The path of a descriptor such as `3</place/run>`.
fn opened(text: &str) -> Option<PathBuf> {
    let (_, rest) = text.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    Some(PathBuf::from(
        String::from_utf8_lossy(&unescape(path)).into_owned(),
    ))
}

/// The strings of a call, each in quotes and in hexadecimal digits.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .map(unescape)
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    match text.strip_prefix("\\x") {
        Some(digits) => {
            let bytes = digits.split("\\x");
            bytes
                .map(|byte| u8::from_str_radix(byte, 16).unwrap())
                .collect()
        }
        None => text.as_bytes().to_vec(),
    }
}

#[derive(Debug, Default)]
struct Disk {
    files: Vec<Contents>,
    /// The file or folder of each current name.
    now: BTreeMap<PathBuf, Option<usize>>,
    names: Vec<NameChange>,
    open: HashMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    file: usize,
    at: u64,
    /// Whether each write is synced.
    syncs: bool,
}

/// A file as of its last sync, and the changes since.
#[derive(Debug, Default)]
struct Contents {
    synced: Vec<u8>,
    pending: Vec<FileChange>,
}

#[derive(Debug)]
enum FileChange {
    Write(u64, Vec<u8>),
    Resize(u64),
    Punch(u64, u64),
}

/// A name of a file or folder that was created, moved or removed, and whether it is certainly in the log.
#[derive(Debug)]
struct NameChange {
    made: Option<(PathBuf, Option<usize>)>,
    removed: Option<PathBuf>,
    is_synced: bool,
}

impl Disk {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Open {
                path,
                descriptor,
                flags,
            } => self.open(path, descriptor, flags),
            Step::Write {
                descriptor,
                offset,
                data,
            } => {
                let Some(open) = self.open.get_mut(descriptor) else {
                    return;
                };
                let start = offset.unwrap_or(open.at);
                if offset.is_none() {
                    open.at += data.len() as u64;
                }
                let file = &mut self.files[open.file];
                file.pending.push(FileChange::Write(start, data.clone()));
                if open.syncs {
                    file.sync();
                }
            }
            Step::Seek { descriptor, to } => {
                if let Some(open) = self.open.get_mut(descriptor) {
                    open.at = *to;
                }
            }
            Step::Resize { descriptor, len } => self.change(descriptor, FileChange::Resize(*len)),
            Step::Punch {
                descriptor,
                start,
                len,
            } => {
                self.change(descriptor, FileChange::Punch(*start, *len));
            }
            Step::Sync { path } => match self.now.get(path) {
                Some(Some(file)) => self.files[*file].sync(),
                _ => self.sync_names(|folder| folder == path),
            },
            Step::SyncAll => {
                self.files.iter_mut().for_each(Contents::sync);
                self.sync_names(|_| true);
            }
            Step::Make { path } => self.name(path, None, None),
            Step::Link { from, to } => {
                let file = self.now[from];
                self.name(to, file, None);
            }
            Step::Rename { from, to } => {
                let file = self.now[from];
                self.name(to, file, Some(from));
            }
            Step::Remove { path } => {
                self.now.remove(path);
                self.names.push(NameChange {
                    made: None,
                    removed: Some(path.clone()),
                    is_synced: false,
                });
            }
            Step::Print { .. } => {}
        }
    }

    fn open(&mut self, path: &Path, descriptor: &str, flags: &str) {
        let found = self.now.get(path).copied();
        let file = match found {
            Some(None) => return,
            Some(Some(file)) => file,
            None if flags.contains("O_CREAT") => {
                self.files.push(Contents::default());
                let file = self.files.len() - 1;
                self.name(path, Some(file), None);
                file
            }
            None => return,
        };
        if flags.contains("O_TRUNC") && found.is_some() {
            self.files[file].pending.push(FileChange::Resize(0));
        }
        let syncs = flags.contains("O_DSYNC") || flags.contains("O_SYNC");
        self.open
            .insert(descriptor.to_owned(), Open { file, at: 0, syncs });
    }

    fn change(&mut self, descriptor: &str, change: FileChange) {
        if let Some(open) = self.open.get(descriptor) {
            self.files[open.file].pending.push(change);
        }
    }

    fn name(&mut self, path: &Path, file: Option<usize>, from: Option<&Path>) {
        rename(&mut self.now, Some((path, file)), from);
        self.names.push(NameChange {
            made: Some((path.to_owned(), file)),
            removed: from.map(Path::to_owned),
            is_synced: false,
        });
    }

    fn sync_names(&mut self, is_synced: impl Fn(&Path) -> bool) {
        for change in &mut self.names {
            let made = change.made.as_ref().map(|(path, _)| path);
            let mut folders = made
                .into_iter()
                .chain(&change.removed)
                .filter_map(|path| path.parent());
            change.is_synced |= folders.any(&is_synced);
        }
    }

    /// The names after the power failure.
    fn names_left(
        &self,
        percent: usize,
        numbers: &mut Numbers,
    ) -> BTreeMap<PathBuf, Option<usize>> {
        let logged = match percent {
            0 => 0,
            100 => self.names.len(),
            _ => numbers.below(self.names.len() + 1),
        };
        let mut names = BTreeMap::new();
        for (number, change) in self.names.iter().enumerate() {
            if number < logged || change.is_synced {
                let made = change.made.as_ref().map(|(path, file)| (&**path, *file));
                rename(&mut names, made, change.removed.as_deref());
            }
        }
        names
    }
}

/// Creates and removes names, with everything below a folder.
fn rename(
    names: &mut BTreeMap<PathBuf, Option<usize>>,
    made: Option<(&Path, Option<usize>)>,
    removed: Option<&Path>,
) {
    if let (Some((to, _)), Some(from)) = (made, removed) {
        let below: Vec<_> = names
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for path in below {
            let file = names.remove(&path).unwrap();
            names.insert(to.join(path.strip_prefix(from).unwrap()), file);
        }
    } else if let Some(from) = removed {
        // The contents of a folder are removed with it, with or without entries in the log.
        names.retain(|path, _| !path.starts_with(from));
    }
    if let Some((to, file)) = made {
        names.insert(to.to_owned(), file);
    }
}

impl Contents {
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// The file after the power failure.
    fn left(&self, percent: usize, numbers: &mut Numbers) -> Vec<u8> {
        let mut left = self.synced.clone();
        for change in &self.pending {
            match change {
                FileChange::Write(start, data) => {
                    let mut at = 0;
                    while at < data.len() {
                        let place = *start as usize + at;
                        let until = data.len().min(at + SECTOR - place % SECTOR);
                        if numbers.below(100) < percent {
                            let part = data[at..until].to_vec();
                            FileChange::Write(place as u64, part).apply(&mut left);
                        }
                        at = until;
                    }
                }
                other if numbers.below(100) < percent => other.apply(&mut left),
                _ => {}
            }
        }
        left
    }
}

impl FileChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(start, data) => {
                let start = *start as usize;
                let end = start + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
            Self::Resize(len) => bytes.resize(*len as usize, 0),
            Self::Punch(start, len) => {
                let len_now = bytes.len();
                let end = (*start + *len).min(len_now as u64) as usize;
                bytes[(*start as usize).min(len_now)..end].fill(0);
            }
        }
    }
}
