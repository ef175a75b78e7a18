//! A log of records in a file, such as the journal of a store.
//!
//! A log is a header and then records. All numbers are little endian.
//!
//! ```text
//! header, 32 bytes            record
//!  0  8  magic                 0  8  n, length of the payload
//!  8  4  version               8  8  sequence number: 1, 2, 3 …
//! 12  4  feature flags, 0     16  n  payload
//! 16  8  generation         16+n  4  CRC-32 of all of the above
//! 24  4  CRC-32 of 0..24
//! 28  4  for the backend; zero
//! ```
//!
//! The CRC of a record continues that of the previous record; the CRC of the first record continues that of the header.
//! So a record is valid only after the same records as when it was written, and a reader notices if the writer has
//! replaced a record that it read.
//!
//! A backend may put its own fields between the header and the first record, and may include them in the checksums
//! ([`Position::after`]).
//!
//! Create a log under another name and rename it, so that its header is complete once its name exists. Records are
//! appended in place: the last one may be incomplete, and reading ends before the first incomplete record.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crc32fast::Hasher;

use super::files::check_plain_file;
use crate::error::{Error, ErrorKind, Result};

/// The length of the header.
pub const HEADER_LEN: usize = 32;
const RECORD_HEAD: usize = 16;
const RECORD_OVERHEAD: u64 = RECORD_HEAD as u64 + 4;

/// The kind of a log.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The first bytes of the file.
    pub magic: [u8; 8],
    /// The version that this build writes and reads.
    pub version: u32,
}

/// The end of a record: the offset and the checksum that the next one continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The offset of the next record.
    pub offset: u64,
    sequence: u64,
    chain: u32,
}

impl Position {
    /// Returns the checksum of everything before.
    pub fn checksum(&self) -> u32 {
        self.chain
    }

    /// Returns the position of a first record at `offset`, after `fields` of the backend that the checksums include.
    #[must_use]
    pub fn after(self, fields: &[u8], offset: u64) -> Self {
        let mut hasher = Hasher::new_with_initial(self.chain);
        hasher.update(fields);
        Self {
            offset,
            chain: hasher.finalize(),
            ..self
        }
    }
}

impl Format {
    /// Encodes the header of a new log; returns it with the position after it.
    pub fn encode_header(&self, generation: u64) -> ([u8; HEADER_LEN], Position) {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(&self.magic);
        header[8..12].copy_from_slice(&self.version.to_le_bytes());
        header[16..24].copy_from_slice(&generation.to_le_bytes());
        let chain = crc32fast::hash(&header[..24]);
        header[24..28].copy_from_slice(&chain.to_le_bytes());
        (header, first(chain))
    }

    /// Reads the header of a log and returns the position after it.
    pub fn read_header(&self, file: &File, path: &Path) -> Result<Position> {
        let mut header = [0; HEADER_LEN];
        let mut start = At { file, offset: 0 };
        match start.read_exact(&mut header) {
            Ok(()) => self.decode_header(&header).map_err(|(kind, message)| {
                Error::new(kind, "open", message).with_key(path.display().to_string())
            }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let message = "the journal is shorter than its header";
                Err(Error::new(ErrorKind::Corrupt, "open", message)
                    .with_key(path.display().to_string()))
            }
            Err(error) => Err(Error::io("open", path, error)),
        }
    }

    /// Checks that a new log may replace the contents of `path`: nothing, another log of this kind, or an empty file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a file of other software; errors of the system.
    pub fn check_replaceable(&self, path: &Path) -> Result<()> {
        let mut start = Vec::new();
        let read = check_plain_file(path)
            .and_then(|()| File::open(path))
            .and_then(|file| file.take(8).read_to_end(&mut start));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io("open", path, error)),
            // A power failure may leave zeros instead of data that was not synced.
            Ok(_) if start == self.magic || start.iter().all(|byte| *byte == 0) => Ok(()),
            Ok(_) => {
                let message = "a file of other software has the name of the journal; move it away, \
                               or choose another path for the recording";
                Err(Error::new(ErrorKind::InvalidArgument, "open", message)
                    .with_key(path.display().to_string()))
            }
        }
    }

    fn decode_header(&self, header: &[u8; HEADER_LEN]) -> Result<Position, (ErrorKind, String)> {
        if header[..8] != self.magic {
            return Err((
                ErrorKind::Corrupt,
                "this is not a journal of simrecorder".into(),
            ));
        }
        // Checks the version before the checksum, which may be elsewhere in a newer version.
        let version = u32_at(header, 8);
        if version > self.version {
            let known = self.version;
            let message = format!("the journal has format {version}, this build reads {known}");
            return Err((ErrorKind::Unsupported, message));
        }
        let chain = crc32fast::hash(&header[..24]);
        if version != self.version || (u32_at(header, 24) != chain && !cfg!(fuzzing)) {
            return Err((
                ErrorKind::Corrupt,
                "the header of the journal is damaged".into(),
            ));
        }
        let flags = u32_at(header, 12);
        if flags != 0 {
            let message = format!("the journal needs features {flags:#x}, unknown to this build");
            return Err((ErrorKind::Unsupported, message));
        }
        Ok(first(chain))
    }
}

fn first(chain: u32) -> Position {
    Position {
        offset: HEADER_LEN as u64,
        sequence: 0,
        chain,
    }
}

/// Reads the number at the offset `at`. Panics if `bytes` is too short.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// Reads the number at the offset `at`. Panics if `bytes` is too short.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// Returns a number that distinguishes the logs of one recording, for people who inspect them.
pub fn generation() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// A record that is being built.
#[derive(Debug)]
pub struct Record {
    bytes: Vec<u8>,
}

impl Default for Record {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Record {
    /// Makes an empty record with room for `payload` bytes.
    pub fn with_capacity(payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(payload + RECORD_OVERHEAD as usize);
        bytes.resize(RECORD_HEAD, 0);
        Self { bytes }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == RECORD_HEAD
    }

    /// Returns its length, including its head.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds bytes to the payload.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Completes the record as the one after `position`.
    pub fn seal(self, position: Position) -> Sealed {
        let SealedStart {
            mut bytes,
            start,
            end,
        } = self.seal_before(&[], position);
        bytes.extend_from_slice(&end.checksum().to_le_bytes());
        Sealed { bytes, start, end }
    }

    /// Completes the record as the one after `position`, with a payload that continues with `rest`, which is not copied.
    pub fn seal_before(mut self, rest: &[u8], position: Position) -> SealedStart {
        let sequence = position.sequence + 1;
        let length = (self.bytes.len() - RECORD_HEAD + rest.len()) as u64;
        self.bytes[..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        let mut hasher = Hasher::new_with_initial(position.chain);
        hasher.update(&self.bytes);
        hasher.update(rest);
        SealedStart {
            bytes: self.bytes,
            start: position.offset,
            end: Position {
                offset: position.offset + length + RECORD_OVERHEAD,
                sequence,
                chain: hasher.finalize(),
            },
        }
    }
}

/// A complete record without the rest of its payload and without the checksum, which are written after it: the checksum
/// of `end` in little endian.
#[derive(Debug)]
pub struct SealedStart {
    /// The start of the record.
    pub bytes: Vec<u8>,
    /// Its offset in the file.
    pub start: u64,
    /// The position after the record.
    pub end: Position,
}

impl SealedStart {
    /// Returns the start of the payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[RECORD_HEAD..]
    }

    /// Returns the offset of the payload in the file.
    pub fn payload_offset(&self) -> u64 {
        payload_offset(self.start)
    }
}

/// A complete record, ready to be written.
#[derive(Debug)]
pub struct Sealed {
    /// The whole record.
    pub bytes: Vec<u8>,
    /// Its offset in the file.
    pub start: u64,
    /// The position after it.
    pub end: Position,
}

impl Sealed {
    /// Returns its payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[RECORD_HEAD..self.bytes.len() - 4]
    }

    /// Returns the offset of its payload in the file.
    pub fn payload_offset(&self) -> u64 {
        payload_offset(self.start)
    }
}

/// The offset of the payload of a record at `offset`.
fn payload_offset(offset: u64) -> u64 {
    offset + RECORD_HEAD as u64
}

/// The result of reading a log.
#[derive(Clone, Copy, Debug)]
pub struct Scanned {
    /// The position after the last whole record.
    pub position: Position,
    /// Whether the file is long enough for another whole record that is not valid, so that it is damaged and not
    /// just being written.
    pub damaged: bool,
}

/// Passes the payloads of all whole records from `position` on to `sink`, each with its offset in the file.
///
/// It reads and allocates nothing beyond `length`, the length of the file.
pub fn scan(
    file: &File,
    path: &Path,
    mut position: Position,
    length: u64,
    sink: &mut dyn FnMut(&[u8], u64) -> Result<()>,
) -> Result<Scanned> {
    let mut reader = BufReader::with_capacity(
        1 << 18,
        At {
            file,
            offset: position.offset,
        },
    );
    let mut head = [0; RECORD_HEAD];
    let mut payload = Vec::new();
    let mut damaged = false;
    while let Some(rest) = length.checked_sub(position.offset + RECORD_OVERHEAD) {
        if !read_exact(&mut reader, &mut head, path)? {
            break;
        }
        let sequence = u64_at(&head, 8);
        let size = u64_at(&head, 0);
        damaged = sequence != position.sequence + 1;
        if damaged || size > rest {
            break;
        }
        let Ok(size_in_memory) = usize::try_from(size) else {
            break;
        };
        payload.clear();
        payload.try_reserve_exact(size_in_memory).map_err(|error| {
            Error::new(
                ErrorKind::Io,
                "open",
                "a record of the journal does not fit in memory",
            )
            .with_key(path.display().to_string())
            .with_source(error)
        })?;
        payload.resize(size_in_memory, 0);
        let mut stored = [0; 4];
        if !read_exact(&mut reader, &mut payload, path)?
            || !read_exact(&mut reader, &mut stored, path)?
        {
            break;
        }
        let mut hasher = Hasher::new_with_initial(position.chain);
        hasher.update(&head);
        hasher.update(&payload);
        let chain = hasher.finalize();
        // A fuzzer cannot guess checksums.
        damaged = chain != u32::from_le_bytes(stored) && !cfg!(fuzzing);
        if damaged {
            break;
        }
        sink(&payload, payload_offset(position.offset))
            .map_err(|error| error.with_key(path.display().to_string()))?;
        position = Position {
            offset: position.offset + RECORD_OVERHEAD + size,
            sequence,
            chain,
        };
    }
    Ok(Scanned { position, damaged })
}

/// Fills the buffer; `false` if the file has too few bytes left.
fn read_exact(reader: &mut impl Read, buffer: &mut [u8], path: &Path) -> Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Error::io("open", path, error)),
    }
}

/// Reads a file from an offset without its cursor, which other threads share.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let count = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.offset)?;
        #[cfg(windows)]
        let count = std::os::windows::fs::FileExt::seek_read(self.file, buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
