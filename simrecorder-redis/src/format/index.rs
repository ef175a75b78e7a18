//! The index of a series: which frame contains which records. It is a stream. The id of an entry is
//! the index of the first record of its frame.

use std::ops::Range;

use redis::Value;
use simrecorder_core::Result;

use crate::connection::errors::corrupt;
use crate::connection::reply::Reply;
use crate::format::names::{part_name, part_names};

/// The number of entries that are requested at once.
pub(crate) const PAGE: usize = 512;
/// The maximum number of parts of a frame.
const MAX_PARTS: usize = 1 << 20;
/// The maximum size of a frame: 64 TiB.
const MAX_BYTES: u64 = 1 << 46;

/// One frame of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// The index of its first record in the series.
    pub(crate) first: u64,
    pub(crate) record_count: u64,
    pub(crate) frame: String,
    /// The length of the frame, and the number of strings that contain it.
    pub(crate) byte_len: usize,
    pub(crate) part_count: usize,
    /// The writer.
    pub(crate) writer: u64,
}

impl IndexEntry {
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first + self.record_count
    }

    pub(crate) fn part_names(&self, prefix: &str) -> impl Iterator<Item = String> {
        part_names(prefix, &self.frame, self.part_count)
    }

    pub(crate) fn part_name(&self, prefix: &str, part: usize) -> String {
        part_name(prefix, &self.frame, self.part_count, part)
    }
}

/// Whether a frame of this length can have this number of non-empty parts.
pub(crate) fn is_sane(byte_len: u64, part_count: usize) -> bool {
    (1..=MAX_PARTS).contains(&part_count) && (part_count as u64..=MAX_BYTES).contains(&byte_len)
}

/// The entries in a reply to `XRANGE` or `XREVRANGE`.
pub(crate) fn entries(reply: Value) -> Result<Vec<IndexEntry>> {
    reply.array()?.into_iter().map(entry).collect()
}

fn entry(reply: Value) -> Result<IndexEntry> {
    let damaged = || corrupt("an entry of the index cannot be decoded");
    let mut reply = reply.array()?.into_iter();
    let mut next = || reply.next().unwrap_or_default();
    let id = next().text()?.ok_or_else(damaged)?;
    let fields = next().pairs()?;
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let number = |name| field(name)?.parse().ok();
    let found = || {
        Some(IndexEntry {
            first: id.split_once('-')?.0.parse().ok()?,
            record_count: number("n")?,
            frame: field("f")?.to_owned(),
            byte_len: usize::try_from(number("b")?).ok()?,
            part_count: usize::try_from(number("p")?).ok()?,
            writer: u64::from_str_radix(field("w")?, 16).ok()?,
        })
    };
    let entry = found().ok_or_else(damaged)?;
    let ends = entry.first.checked_add(entry.record_count);
    match is_sane(entry.byte_len as u64, entry.part_count) && ends.is_some() {
        true => Ok(entry),
        false => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(id: &str, fields: &[&str]) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        let fields = fields.iter().map(|field| text(field)).collect();
        Value::Array(vec![Value::Array(vec![text(id), Value::Array(fields)])])
    }

    #[test]
    fn entries_decode_or_are_errors() {
        let fields = ["n", "3", "w", "ff", "f", "ff-0", "b", "10", "p", "1"];
        let found = entries(reply("7-1", &fields)).unwrap();
        assert_eq!(found[0].range(), 7..10);
        assert_eq!(found[0].writer, 255);
        for (id, change) in [
            ("x-1", ""),
            ("7", ""),
            ("7-1", "n"),
            ("7-1", "p"),
            ("7-1", "w"),
        ] {
            let fields = fields.map(|field| if field == change { "x" } else { field });
            assert!(entries(reply(id, &fields)).is_err(), "{id} {change}");
        }
        let many = [
            "n",
            "18446744073709551615",
            "w",
            "f",
            "f",
            "f",
            "b",
            "1",
            "p",
            "1",
        ];
        assert!(entries(reply("7-1", &many)).is_err());
        assert!(
            entries(reply(
                "7-1",
                &["n", "3", "w", "f", "f", "f", "b", "1", "p", "0"]
            ))
            .is_err()
        );
        assert!(entries(Value::Array(vec![Value::Okay])).is_err());
    }

    /// Possible replies of a server, of any form.
    fn replies() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[0-9]{1,20}-[0-9]{1,3}".prop_map(String::into_bytes),
            prop::sample::select(vec![
                "n",
                "w",
                "f",
                "b",
                "p",
                "1",
                "ff",
                "18446744073709551615"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..6),
        ];
        let leaf = prop_oneof![
            6 => text.prop_map(Value::BulkString),
            1 => any::<i64>().prop_map(Value::Int),
            1 => Just(Value::Nil),
            1 => Just(Value::Okay),
        ];
        leaf.prop_recursive(3, 60, 12, |inner| {
            prop::collection::vec(inner, 0..12).prop_map(Value::Array)
        })
    }

    proptest! {
        #[test]
        fn any_reply_is_an_error_or_entries(reply in replies()) {
            for entry in entries(reply).unwrap_or_default() {
                prop_assert!(entry.range().end >= entry.first);
                prop_assert!(entry.part_count <= MAX_PARTS);
            }
        }

        #[test]
        fn changed_fields_are_errors_or_entries(
            id in "[0-9]{0,21}-?[0-9]{0,2}",
            values in prop::collection::vec("[0-9a-g-]{0,22}", 5),
        ) {
            let names = ["n", "w", "f", "b", "p"];
            let fields: Vec<&str> = names
                .iter()
                .zip(&values)
                .flat_map(|(name, value)| [*name, value.as_str()])
                .collect();
            for entry in entries(reply(&id, &fields)).unwrap_or_default() {
                prop_assert!(entry.first.checked_add(entry.record_count).is_some());
            }
        }
    }
}
