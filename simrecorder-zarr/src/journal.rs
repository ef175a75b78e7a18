//! The on-disk form of the journal of a directory recording.
//!
//! A journal is a log of records ([`simrecorder_core::backend`]), one per commit: version 1, with
//! the magic below. The payload of a record is its changes, one after another.
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
//! 6 recording     id
//! 7 replace end   array, how many bytes of its tail go as a `u64`, bytes
//! 8 shard         key, places
//! ```
//!
//! `recording` identifies the recording of the journal. It is first, in a record of its own, if the
//! recording has an id.
//!
//! `shard` contains the places of chunks in a shard. They are encoded as bytes: the number of slots
//! of the shard, a `u32`, and for each place the slot, a `u32`, and the offset and the length in
//! the file of the shard, `u64` each, both `u64::MAX` for a missing chunk. The first change of a
//! shard in a journal contains all its chunks.

use std::collections::BTreeMap;

use simrecorder_core::backend::{self, Format, Position, Sealed, u32_at, u64_at};
use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::recording_id::RecordingId;
use crate::format::shards::{Extent, MAX_SLOTS};
use crate::storage::Change;

/// How the journal of a directory recording begins.
pub(crate) const FORMAT: Format = Format {
    magic: *b"\x89SRJ\r\n\x1a\n",
    version: 1,
};

const SET: u8 = 1;
const ERASE: u8 = 2;
const ERASE_PATH: u8 = 3;
const APPEND_TAIL: u8 = 4;
const CLEAR_TAIL: u8 = 5;
const RECORDING: u8 = 6;
const REPLACE_TAIL_END: u8 = 7;
const SHARD: u8 = 8;

/// The most bytes of a change to a tail, in addition to its name and its data.
const TAIL_HEAD: usize = 1 + 4 + 8 + 8;

/// A record under construction.
#[derive(Debug, Default)]
pub(crate) struct Record(backend::Record);

impl Record {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// An empty record with room for the tails in `changes`. Growing it would take twice the memory.
    pub(crate) fn with_room_for(changes: &[Change]) -> Self {
        let room = changes.iter().map(|change| match change {
            Change::AppendTail { array, bytes } | Change::ReplaceTailEnd { array, bytes, .. } => {
                TAIL_HEAD + array.len() + bytes.len()
            }
            _ => 0,
        });
        Self(backend::Record::with_capacity(room.sum()))
    }

    /// Adds a change. The record stores `SetChunk` like `Set`.
    pub(crate) fn push(&mut self, change: &Change) {
        match change {
            Change::Set { key, value } | Change::SetChunk { key, value } => {
                self.named(SET, key);
                self.data(value);
            }
            // Rejected earlier.
            Change::SetWritten { .. } => {}
            Change::Erase { key } => self.named(ERASE, key),
            // `push_shard` writes it once the place of the chunk is known.
            Change::SetInShard { .. } | Change::EraseInShard { .. } => {}
            // The entries are files in their new place before the record is written.
            Change::ErasePath { path } | Change::MovePath { from: path, .. } => {
                self.named(ERASE_PATH, path);
            }
            Change::AppendTail { array, bytes } => self.append_tail(array, bytes),
            Change::ReplaceTailEnd {
                array,
                dropped,
                bytes,
            } => {
                self.named(REPLACE_TAIL_END, array);
                self.0.extend(&dropped.to_le_bytes());
                self.data(bytes);
            }
            Change::ClearTail { array } => self.named(CLEAR_TAIL, array),
        }
    }

    pub(crate) fn append_tail(&mut self, array: &str, bytes: &[u8]) {
        self.named(APPEND_TAIL, array);
        self.data(bytes);
    }

    /// Adds the places of chunks of a shard with `count` slots.
    pub(crate) fn push_shard(
        &mut self,
        key: &str,
        count: u32,
        places: &BTreeMap<u32, Option<Extent>>,
    ) {
        self.named(SHARD, key);
        let mut bytes = count.to_le_bytes().to_vec();
        for (slot, extent) in places {
            let (offset, len) = extent.map_or((u64::MAX, u64::MAX), |it| (it.offset, it.len));
            bytes.extend_from_slice(&slot.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        self.data(&bytes);
    }

    /// The record that identifies the recording of the journal.
    pub(crate) fn of_recording(id: &RecordingId) -> Self {
        let mut record = Self::default();
        record.named(RECORDING, id.as_str());
        record
    }

    fn named(&mut self, code: u8, name: &str) {
        self.0.extend(&[code]);
        // Names were already checked to be shorter than the longest path of the system.
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        self.0.extend(&length.to_le_bytes());
        self.0.extend(name.as_bytes());
    }

    fn data(&mut self, data: &[u8]) {
        self.0.extend(&(data.len() as u64).to_le_bytes());
        self.0.extend(data);
    }

    /// Completes the record so that it follows `position`.
    pub(crate) fn seal(self, position: Position) -> Sealed {
        self.0.seal(position)
    }
}

/// The changes of a written record.
pub(crate) fn ops(record: &Sealed) -> Result<Vec<Op<'_>>> {
    decode(record.payload(), record.payload_offset(), |_| Ok(()))
}

/// A change, as encoded in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Set {
        key: &'a str,
        value: Data<'a>,
    },
    Erase {
        key: &'a str,
    },
    ErasePath {
        path: &'a str,
    },
    AppendTail {
        array: &'a str,
        bytes: Data<'a>,
    },
    ReplaceTailEnd {
        array: &'a str,
        dropped: u64,
        bytes: Data<'a>,
    },
    ClearTail {
        array: &'a str,
    },
    Recording {
        id: &'a str,
    },
    Shard {
        key: &'a str,
        places: Places<'a>,
    },
}

/// The places of chunks in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places<'a> {
    /// The number of slots in the shard.
    pub(crate) count: u32,
    encoded: &'a [u8],
}

/// The length of a place: slot, offset and length.
const PLACE_LEN: usize = 20;

impl<'a> Places<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self> {
        let (count, encoded) = bytes
            .split_first_chunk()
            .ok_or_else(|| corrupt("a shard has no slots"))?;
        let places = Self {
            count: u32::from_le_bytes(*count),
            encoded,
        };
        let is_sound = u64::from(places.count) <= MAX_SLOTS
            && encoded.len() % PLACE_LEN == 0
            && places.iter().all(|(slot, _)| slot < places.count);
        match is_sound {
            true => Ok(places),
            false => Err(corrupt("the positions of chunks in a shard are not valid")),
        }
    }

    /// The slots and the places of their chunks; `None` for a missing chunk.
    pub(crate) fn iter(self) -> impl Iterator<Item = (u32, Option<Extent>)> + use<'a> {
        self.encoded.chunks_exact(PLACE_LEN).map(|place| {
            let (offset, len) = (u64_at(place, 4), u64_at(place, 12));
            let is_there = offset != u64::MAX || len != u64::MAX;
            (u32_at(place, 0), is_there.then_some(Extent { offset, len }))
        })
    }
}

/// Bytes in a record, and their offset in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: u64,
}

/// The changes of a payload that starts at `offset` of the journal. `check` validates keys and
/// paths: a file from another process must not lead out of the recording.
pub(crate) fn decode(
    payload: &[u8],
    offset: u64,
    check: impl Fn(&str) -> Result<()>,
) -> Result<Vec<Op<'_>>> {
    let mut reader = Payload {
        bytes: payload,
        at: 0,
        offset,
    };
    let mut ops = Vec::new();
    while reader.at < payload.len() {
        let code = reader.take(1)?[0];
        if !(SET..=SHARD).contains(&code) {
            let message = format!("the journal holds a change of unknown kind {code}");
            return Err(Error::new(ErrorKind::Unsupported, "open", message));
        }
        let name = reader.name()?;
        let may_be_root = code >= ERASE_PATH && code != SHARD;
        if code != RECORDING && !(name.is_empty() && may_be_root) {
            check(name).map_err(|error| corrupt("a key is not valid").with_source(error))?;
        }
        ops.push(match code {
            SET => Op::Set {
                key: name,
                value: reader.data()?,
            },
            ERASE => Op::Erase { key: name },
            ERASE_PATH => Op::ErasePath { path: name },
            APPEND_TAIL => Op::AppendTail {
                array: name,
                bytes: reader.data()?,
            },
            CLEAR_TAIL => Op::ClearTail { array: name },
            REPLACE_TAIL_END => Op::ReplaceTailEnd {
                array: name,
                dropped: u64_at(reader.take(8)?, 0),
                bytes: reader.data()?,
            },
            SHARD => Op::Shard {
                key: name,
                places: Places::decode(reader.data()?.bytes)?,
            },
            _ => Op::Recording { id: name },
        });
    }
    Ok(ops)
}

fn corrupt(what: &str) -> Error {
    let message = format!("a record of the journal cannot be decoded: {what}");
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
        std::str::from_utf8(name).map_err(|error| corrupt("a key is not text").with_source(error))
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use bytes::Bytes;
    use proptest::prelude::*;
    use simrecorder_core::backend::{HEADER_LEN, scan};

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
            Change::ReplaceTailEnd {
                array: "b".into(),
                dropped: 2,
                bytes: Bytes::from_static(b"45"),
            },
        ]
    }

    fn journal(record_count: usize) -> (Vec<u8>, Vec<u64>) {
        let (header, mut position) = FORMAT.encode_header(7);
        let mut bytes = header.to_vec();
        let mut ends = vec![position.offset];
        for _ in 0..record_count {
            let mut record = Record::default();
            changes().iter().for_each(|change| record.push(change));
            let sealed = record.seal(position);
            bytes.extend_from_slice(&sealed.bytes);
            position = sealed.end;
            ends.push(position.offset);
        }
        (bytes, ends)
    }

    /// The number of complete records and the offset of their end.
    fn parse(bytes: &[u8]) -> Result<(u64, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let path = Path::new("j");
        let mut count = 0;
        let start = FORMAT.read_header(&file, path)?;
        let end = scan(
            &file,
            path,
            start,
            bytes.len() as u64,
            &mut |payload, offset| {
                count += 1;
                let ops = decode(payload, offset, |_| Ok(()))?;
                for op in ops {
                    if let Op::Set { value, .. }
                    | Op::AppendTail { bytes: value, .. }
                    | Op::ReplaceTailEnd { bytes: value, .. } = op
                    {
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
        let mut record = Record::default();
        changes().iter().for_each(|change| record.push(change));
        let sealed = record.seal(FORMAT.encode_header(0).1);
        let ops = ops(&sealed).unwrap();
        assert_eq!(ops.len(), 6);
        assert!(matches!(ops[0], Op::Set { key: "a/zarr.json", value } if value.bytes == b"{}"));
        assert_eq!(ops[1], Op::Erase { key: "a/c/0" });
        assert_eq!(ops[2], Op::ErasePath { path: "" });
        assert!(matches!(ops[3], Op::AppendTail { array: "ä", bytes } if bytes.bytes == b"123"));
        assert_eq!(ops[4], Op::ClearTail { array: "" });
        assert!(matches!(
            ops[5],
            Op::ReplaceTailEnd { array: "b", dropped: 2, bytes } if bytes.bytes == b"45"
        ));

        let id = RecordingId::random();
        let sealed = Record::of_recording(&id).seal(FORMAT.encode_header(0).1);
        let id = id.as_str();
        assert_eq!(super::ops(&sealed).unwrap(), [Op::Recording { id }]);
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
    fn a_record_after_another_history_is_not_valid() {
        let (bytes, ends) = journal(2);
        let second = usize::try_from(ends[1]).unwrap();
        let (header, position) = FORMAT.encode_header(7);
        let mut other = Record::default();
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
