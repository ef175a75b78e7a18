//! The on-disk form of the journal of a directory recording.
//!
//! A journal is a header and then records, one per commit. All numbers are little endian.
//!
//! ```text
//! header, 32 bytes            record
//!  0  8  magic                 0  8  n, length of the payload
//!  8  4  version, 1            8  8  sequence number: 1, 2, 3 …
//! 12  4  feature flags, 0     16  n  payload: changes, one after the other
//! 16  8  generation         16+n  4  CRC-32 of all of the above
//! 24  4  CRC-32 of 0..24
//! 28  4  zero
//! ```
//!
//! The CRC of a record starts from the CRC of the record before it, that of the first record
//! from the CRC of the header. So a record is valid only behind the very records it was
//! written behind: a reader that saw a record which the writer then took back notices.
//!
//! A change is one byte and its fields; a name is a `u32` length and UTF-8, bytes are a `u64`
//! length and the bytes.
//!
//! ```text
//! 1 set           key, bytes
//! 2 erase         key
//! 3 erase path    path
//! 4 append tail   array, bytes
//! 5 clear tail    array
//! ```
//!
//! A journal comes into being under another name and is renamed, so its header is whole
//! whenever its name exists. Records are appended in place: the last one may be torn, and
//! reading ends before the first record that is not whole.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crc32fast::Hasher;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::storage::Change;

const MAGIC: [u8; 8] = *b"\x89SRJ\r\n\x1a\n";
const VERSION: u32 = 1;
pub(crate) const HEADER_LEN: usize = 32;
const RECORD_HEAD: usize = 16;
const RECORD_OVERHEAD: u64 = RECORD_HEAD as u64 + 4;

const SET: u8 = 1;
const ERASE: u8 = 2;
const ERASE_PATH: u8 = 3;
const APPEND_TAIL: u8 = 4;
const CLEAR_TAIL: u8 = 5;

/// The end of a record: where the next one starts and what it must carry on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Where the next record starts.
    pub(crate) offset: u64,
    /// The sequence number of the last record.
    sequence: u64,
    /// The checksum of the last record.
    chain: u32,
}

/// The header of a new journal, and the position behind it.
pub(crate) fn encode_header(generation: u64) -> ([u8; HEADER_LEN], Position) {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&generation.to_le_bytes());
    let chain = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&chain.to_le_bytes());
    (
        header,
        Position {
            offset: HEADER_LEN as u64,
            sequence: 0,
            chain,
        },
    )
}

/// Checks a header and returns the position behind it.
fn decode_header(header: &[u8; HEADER_LEN]) -> Result<Position, (ErrorKind, String)> {
    if header[..8] != MAGIC {
        return Err((
            ErrorKind::Corrupt,
            "this is not a journal of simrecorder".into(),
        ));
    }
    // The version comes before the checksum, which a newer version may place elsewhere.
    let version = u32_at(header, 8);
    if version > VERSION {
        let message = format!("the journal has format {version}, this build reads {VERSION}");
        return Err((ErrorKind::Unsupported, message));
    }
    let chain = crc32fast::hash(&header[..24]);
    if version != VERSION || u32_at(header, 24) != chain {
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
    Ok(Position {
        offset: HEADER_LEN as u64,
        sequence: 0,
        chain,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// A record in the making.
#[derive(Debug)]
pub(crate) struct Record {
    bytes: Vec<u8>,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; RECORD_HEAD],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == RECORD_HEAD
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a change. The record holds `SetChunk` like `Set`.
    pub(crate) fn push(&mut self, change: &Change) {
        match change {
            Change::Set { key, value } | Change::SetChunk { key, value } => {
                self.named(SET, key);
                self.data(value);
            }
            Change::Erase { key } => self.named(ERASE, key),
            Change::ErasePath { path } => self.named(ERASE_PATH, path),
            Change::AppendTail { array, bytes } => self.append_tail(array, bytes),
            Change::ClearTail { array } => self.named(CLEAR_TAIL, array),
        }
    }

    pub(crate) fn append_tail(&mut self, array: &str, bytes: &[u8]) {
        self.named(APPEND_TAIL, array);
        self.data(bytes);
    }

    fn named(&mut self, code: u8, name: &str) {
        self.bytes.push(code);
        // Names are checked to be shorter than a path of the system before they get here.
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
    }

    fn data(&mut self, data: &[u8]) {
        self.bytes
            .extend_from_slice(&(data.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(data);
    }

    /// Completes the record as the one behind `position`.
    pub(crate) fn seal(mut self, position: Position) -> Sealed {
        let sequence = position.sequence + 1;
        let length = (self.bytes.len() - RECORD_HEAD) as u64;
        self.bytes[..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        let mut hasher = Hasher::new_with_initial(position.chain);
        hasher.update(&self.bytes);
        let chain = hasher.finalize();
        self.bytes.extend_from_slice(&chain.to_le_bytes());
        let offset = position.offset + self.bytes.len() as u64;
        Sealed {
            bytes: self.bytes,
            start: position.offset,
            end: Position {
                offset,
                sequence,
                chain,
            },
        }
    }
}

/// A record that is ready to be written.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// Where in the journal it belongs.
    pub(crate) start: u64,
    /// The position behind it.
    pub(crate) end: Position,
}

impl Sealed {
    /// Its changes.
    pub(crate) fn ops(&self) -> Result<Vec<Op<'_>>> {
        let payload = &self.bytes[RECORD_HEAD..self.bytes.len() - 4];
        decode(payload, payload_offset(self.start), |_| Ok(()))
    }
}

/// Where the payload of a record starts that starts at `offset`.
fn payload_offset(offset: u64) -> u64 {
    offset + RECORD_HEAD as u64
}

/// A change as it stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Set { key: &'a str, value: Data<'a> },
    Erase { key: &'a str },
    ErasePath { path: &'a str },
    AppendTail { array: &'a str, bytes: Data<'a> },
    ClearTail { array: &'a str },
}

/// Bytes in a record, and where in the journal they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: u64,
}

/// The changes of a payload that starts at `offset` of the journal. `check` judges the keys
/// and paths: what does not come from this process must not lead out of the recording.
pub(crate) fn decode(
    payload: &[u8],
    offset: u64,
    check: impl Fn(&str) -> Result<()>,
) -> Result<Vec<Op<'_>>> {
    let mut rest = Payload {
        bytes: payload,
        at: 0,
        offset,
    };
    let mut ops = Vec::new();
    while rest.at < payload.len() {
        let code = rest.take(1)?[0];
        if !(SET..=CLEAR_TAIL).contains(&code) {
            let message = format!("the journal holds a change of unknown kind {code}");
            return Err(Error::new(ErrorKind::Unsupported, "open", message));
        }
        let name = rest.name()?;
        if !(name.is_empty() && code >= ERASE_PATH) {
            check(name).map_err(|error| corrupt("a key is not valid").with_source(error))?;
        }
        ops.push(match code {
            SET => Op::Set {
                key: name,
                value: rest.data()?,
            },
            ERASE => Op::Erase { key: name },
            ERASE_PATH => Op::ErasePath { path: name },
            APPEND_TAIL => Op::AppendTail {
                array: name,
                bytes: rest.data()?,
            },
            _ => Op::ClearTail { array: name },
        });
    }
    Ok(ops)
}

fn corrupt(what: &str) -> Error {
    let message = format!("a record of the journal does not decode: {what}");
    Error::new(ErrorKind::Corrupt, "open", message)
}

struct Payload<'a> {
    bytes: &'a [u8],
    at: usize,
    offset: u64,
}

impl<'a> Payload<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length));
        let taken = taken.ok_or_else(|| corrupt("it ends too early"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn name(&mut self) -> Result<&'a str> {
        let length = u32_at(self.take(4)?, 0);
        let name = self.take(length.into())?;
        std::str::from_utf8(name).map_err(|error| corrupt("a key is no text").with_source(error))
    }

    fn data(&mut self) -> Result<Data<'a>> {
        let length = u64_at(self.take(8)?, 0);
        let offset = self.offset + self.at as u64;
        Ok(Data {
            bytes: self.take(length)?,
            offset,
        })
    }
}

/// Reads the header of a journal.
pub(crate) fn read_header(file: &File, path: &Path) -> Result<Position> {
    let mut header = [0; HEADER_LEN];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => decode_header(&header).map_err(|(kind, message)| {
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

/// Where reading a journal ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanned {
    /// Behind the last whole record.
    pub(crate) position: Position,
    /// Whether the file is long enough for what follows to be a whole record, and yet it is
    /// not: so it is not just being written.
    pub(crate) damaged: bool,
}

/// Hands the payloads of all whole records from `position` on to `sink`, each with its offset
/// in the file.
pub(crate) fn scan(
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
    // Nothing is read, or allocated, beyond the length of the file.
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
        damaged = chain != u32::from_le_bytes(stored);
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

/// Whether the file had enough bytes left.
fn read_exact(reader: &mut impl Read, buffer: &mut [u8], path: &Path) -> Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Error::io("open", path, error)),
    }
}

/// Reads a file from an offset on without moving its cursor, which other threads share.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn changes() -> Vec<Change> {
        vec![
            Change::Set {
                key: "a/zarr.json".into(),
                value: Bytes::from_static(b"{}"),
            },
            Change::Erase {
                key: "a/c/0".into(),
            },
            Change::ErasePath {
                path: String::new(),
            },
            Change::AppendTail {
                array: "ä".into(),
                bytes: Bytes::from_static(b"123"),
            },
            Change::ClearTail {
                array: String::new(),
            },
        ]
    }

    fn journal(records: usize) -> (Vec<u8>, Vec<u64>) {
        let (header, mut position) = encode_header(7);
        let mut bytes = header.to_vec();
        let mut ends = vec![position.offset];
        for _ in 0..records {
            let mut record = Record::new();
            changes().iter().for_each(|change| record.push(change));
            let sealed = record.seal(position);
            bytes.extend_from_slice(&sealed.bytes);
            position = sealed.end;
            ends.push(position.offset);
        }
        (bytes, ends)
    }

    /// The number of whole records and where they end.
    fn parse(bytes: &[u8]) -> Result<(u64, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let path = Path::new("j");
        let mut count = 0;
        let start = read_header(&file, path)?;
        let end = scan(
            &file,
            path,
            start,
            bytes.len() as u64,
            &mut |payload, offset| {
                count += 1;
                let ops = decode(payload, offset, |_| Ok(()))?;
                for op in ops {
                    if let Op::Set { value, .. } | Op::AppendTail { bytes: value, .. } = op {
                        let at = usize::try_from(value.offset).unwrap();
                        assert_eq!(&bytes[at..at + value.bytes.len()], value.bytes);
                    }
                }
                Ok(())
            },
        )?;
        Ok((count, end.position.offset))
    }

    #[test]
    fn records_come_back() {
        let (bytes, _) = journal(3);
        assert_eq!(parse(&bytes).unwrap(), (3, bytes.len() as u64));
        let mut record = Record::new();
        changes().iter().for_each(|change| record.push(change));
        let sealed = record.seal(encode_header(0).1);
        let ops = sealed.ops().unwrap();
        assert_eq!(ops.len(), 5);
        assert!(matches!(ops[0], Op::Set { key: "a/zarr.json", value } if value.bytes == b"{}"));
        assert_eq!(ops[1], Op::Erase { key: "a/c/0" });
        assert_eq!(ops[2], Op::ErasePath { path: "" });
        assert!(matches!(ops[3], Op::AppendTail { array: "ä", bytes } if bytes.bytes == b"123"));
        assert_eq!(ops[4], Op::ClearTail { array: "" });
    }

    #[test]
    fn a_cut_journal_ends_with_its_last_whole_record() {
        let (bytes, ends) = journal(3);
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|&&end| end <= cut as u64).count();
            match parse(&bytes[..cut]) {
                Ok((count, end)) => {
                    assert_eq!(count, whole as u64 - 1);
                    assert_eq!(end, ends[whole - 1]);
                }
                Err(error) => {
                    assert!(cut < HEADER_LEN);
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                }
            }
        }
    }

    #[test]
    fn a_newer_journal_is_unsupported() {
        let (mut bytes, _) = journal(0);
        bytes[8] = 2;
        assert_eq!(parse(&bytes).unwrap_err().kind(), ErrorKind::Unsupported);

        let (mut bytes, _) = journal(0);
        bytes[12] = 1;
        let crc = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(parse(&bytes).unwrap_err().kind(), ErrorKind::Unsupported);

        let error = decode(&[9, 0, 0, 0, 0], 0, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_record_behind_another_history_is_not_whole() {
        let (bytes, ends) = journal(2);
        let second = usize::try_from(ends[1]).unwrap();
        let (header, position) = encode_header(7);
        let mut other = Record::new();
        other.push(&Change::Erase { key: "b".into() });
        let mut mixed = header.to_vec();
        mixed.extend_from_slice(&other.seal(position).bytes);
        let first = mixed.len() as u64;
        mixed.extend_from_slice(&bytes[second..]);
        assert_eq!(parse(&mixed).unwrap(), (1, first));
    }

    #[test]
    fn a_huge_length_allocates_nothing() {
        let (mut bytes, ends) = journal(1);
        bytes[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(parse(&bytes).unwrap(), (0, ends[0]));
        assert!(decode(&[1, 255, 255, 255, 255, 0], 0, |_| Ok(())).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_byte_leaves_a_prefix_or_an_error(at in 0usize..400, to: u8) {
            let (mut bytes, ends) = journal(4);
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            match parse(&bytes) {
                Ok((count, end)) => {
                    let count = usize::try_from(count).unwrap();
                    prop_assert_eq!(ends[count], end);
                    prop_assert!(end <= at as u64 || (28..32).contains(&at));
                }
                Err(error) => prop_assert!(
                    at < HEADER_LEN
                        && matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported)
                ),
            }
        }

        #[test]
        fn any_payload_decodes_or_fails(payload: Vec<u8>) {
            let _ = decode(&payload, 0, |_| Ok(()));
        }
    }
}
