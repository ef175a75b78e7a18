//! From the changes of a commit to the commands that make them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use simrecorder_core::{
    Batch, Change, Error, ErrorKind, Key, NodeKind, Records, Result, Schema, Value,
};

use crate::connection::errors::corrupt;
use crate::connection::reply::Commands;
use crate::format::document::{Document, SeriesDocument, StoredValue, signature};
use crate::format::frame::{Form, Pieces, RedisEncoding, stream};
use crate::format::names::{SeriesNames, part_names};
use crate::recording::Recording;
use crate::recording::writer::Writer;

/// How long the server keeps frames that no commit followed, in seconds.
const FRAME_LIFETIME: &[u8] = b"600";

/// One frame that was, or will be, sent.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) records: u64,
    pub(crate) bytes: usize,
    pub(crate) parts: usize,
}

/// A batch as commands that store its frames.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    pub(crate) commands: Commands,
    pub(crate) frames: Vec<Frame>,
}

/// What a commit does to the keys of one slot of a cluster; without a cluster, all that it does.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) frames: Vec<Commands>,
    /// The changes as arguments of the script.
    pub(crate) changes: Vec<Vec<u8>>,
}

/// The slot of a part: a series, or the hierarchy.
pub(crate) type Slot = Option<SeriesNames>;

/// The changes of one commit.
pub(crate) struct Stage<'a> {
    recording: &'a Recording,
    /// The hierarchy first.
    pub(crate) parts: Vec<(Slot, Part)>,
    /// Where the next batch of this writer begins, for the series of this commit.
    pub(crate) positions: HashMap<Key, u64>,
    writer: &'a Writer,
    pub(crate) declared: HashMap<Key, Arc<SeriesDocument>>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(recording: &'a Recording, writer: &'a Writer) -> Self {
        Self {
            recording,
            parts: vec![(None, Part::default())],
            positions: HashMap::new(),
            writer,
            declared: HashMap::new(),
        }
    }

    pub(crate) fn add(&mut self, change: Change) -> Result<()> {
        let key = change.key().clone();
        let added = match change {
            Change::Declare { key, schema } => self.declare(&key, &schema),
            Change::Append { batch, prepared } => {
                let prepared = prepared.and_then(|it| it.downcast::<PreparedBatch>().ok());
                self.append(&batch, prepared.map(|prepared| *prepared))
            }
            Change::Set { key, value } => self.set(&key, &value),
            Change::SetAttributes { key, attributes } => {
                let text = serde_json::Value::Object((*attributes).clone()).to_string();
                self.change(None, &["attributes", key.as_str(), &text]);
                Ok(())
            }
            Change::Truncate { key, records } => self.truncate(&key, records),
            _ => {
                let message = "the Redis store does not know this kind of change";
                Err(Error::new(ErrorKind::Internal, "commit", message))
            }
        };
        added.map_err(|e| e.with_key(key.as_str()))
    }

    /// The part for the keys of a series, or for the hierarchy.
    fn part(&mut self, series: Option<&SeriesNames>) -> &mut Part {
        let slot = series.filter(|_| self.recording.connections.is_cluster());
        let index = self.parts.iter().position(|(it, _)| it.as_ref() == slot);
        let index = index.unwrap_or_else(|| {
            self.parts.push((slot.cloned(), Part::default()));
            self.parts.len() - 1
        });
        &mut self.parts[index].1
    }

    fn change(&mut self, series: Option<&SeriesNames>, arguments: &[&str]) {
        let arguments = arguments.iter().map(|it| it.as_bytes().to_vec());
        self.part(series).changes.extend(arguments);
    }

    fn declare(&mut self, key: &Key, schema: &Schema) -> Result<()> {
        if key.is_root() {
            return Err(clash(NodeKind::Group, NodeKind::Series));
        }
        if let Some(series) = self.recording.known_series(key) {
            series.schema.check_same_records(schema)?;
        }
        let document = Arc::new(self.recording.new_document(schema)?);
        let attributes = match schema.attributes().is_empty() {
            true => String::new(),
            false => serde_json::Value::Object(schema.attributes().clone()).to_string(),
        };
        let names = self.recording.names.series(key);
        let records = signature(schema);
        let is_cluster = self.recording.connections.is_cluster();
        let state = if is_cluster {
            String::new()
        } else {
            names.state()
        };
        let json = document.to_json();
        self.change(
            None,
            &[
                "declare",
                key.as_str(),
                &records,
                &json,
                &attributes,
                &state,
            ],
        );
        if is_cluster {
            self.change(Some(&names), &["open", &names.state(), &records]);
        }
        self.declared.entry(key.clone()).or_insert(document);
        Ok(())
    }

    /// The series that a change is about, which was declared before.
    fn series(&self, key: &Key) -> Result<Arc<SeriesDocument>> {
        if let Some(series) = self.declared.get(key) {
            return Ok(Arc::clone(series));
        }
        if key.is_root() {
            return Err(clash(NodeKind::Group, NodeKind::Series));
        }
        if let Some(series) = self.recording.known_series(key) {
            return Ok(series);
        }
        match self.recording.document(key)? {
            Some(Document::Series(_)) => self
                .recording
                .known_series(key)
                .ok_or_else(|| corrupt("the series is gone")),
            Some(other) => Err(clash(other.kind(), NodeKind::Series)),
            None => {
                self.recording.check_there()?;
                // The server may have lost it, and is sent it again before this commit.
                self.writer.declared(key).ok_or_else(|| {
                    let message = "the series was not declared";
                    Error::new(ErrorKind::NotFound, "commit", message)
                })
            }
        }
    }

    fn append(&mut self, batch: &Batch, prepared: Option<PreparedBatch>) -> Result<()> {
        let (key, records) = (&batch.key, &batch.records);
        let series = self.series(key)?;
        series.schema.check_same_records(records.schema())?;
        let expected = self
            .positions
            .get(key)
            .or_else(|| self.writer.positions.get(key));
        if let Some(&expected) = expected
            && expected != batch.start
        {
            let message = format!(
                "a batch starts at record {}, this writer is at {expected}",
                batch.start
            );
            return Err(Error::new(ErrorKind::Internal, "commit", message));
        }
        let end = batch.start.checked_add(records.len());
        let end = end.ok_or_else(|| corrupt("the series is too long"))?;
        self.positions.insert(key.clone(), end);
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => self.recording.prepare_batch(key, records, series.form)?,
        };
        let names = self.recording.names.series(key);
        let count = prepared.frames.len().to_string();
        let holds = signature(&series.schema);
        self.change(
            Some(&names),
            &["append", key.as_str(), &holds, names.prefix(), &count],
        );
        for frame in &prepared.frames {
            let numbers = [frame.records, frame.bytes as u64, frame.parts as u64];
            let [records, bytes, parts] = numbers.map(|number| number.to_string());
            self.change(Some(&names), &[&frame.name, &records, &bytes, &parts]);
        }
        self.part(Some(&names)).frames.push(prepared.commands);
        Ok(())
    }

    fn set(&mut self, key: &Key, value: &Value) -> Result<()> {
        if key.is_root() {
            return Err(clash(NodeKind::Group, NodeKind::Value));
        }
        let schema = Schema::try_from(value)?;
        let form = self.recording.value_form();
        form.check(&schema)?;
        let records = one_record(&schema, value)?;
        let mut pieces = form.encode(&records, 0..1)?;
        if form.encoding == RedisEncoding::Arrow {
            pieces = stream(&schema, pieces);
        }
        let mut commands = Commands::default();
        let prefix = self.recording.names.values();
        let frame = self
            .recording
            .store_frame(&mut commands, &prefix, &pieces, 1);
        let stored = StoredValue {
            schema,
            form,
            bytes: frame.bytes as u64,
            parts: frame.parts,
            frame: frame.name,
        };
        self.change(None, &["set", key.as_str(), &stored.to_json()]);
        self.part(None).frames.push(commands);
        Ok(())
    }

    fn truncate(&mut self, key: &Key, records: u64) -> Result<()> {
        self.series(key)?;
        let names = self.recording.names.series(key);
        let count = records.to_string();
        self.change(
            Some(&names),
            &["truncate", key.as_str(), names.prefix(), &count],
        );
        let position = self
            .positions
            .get(key)
            .or_else(|| self.writer.positions.get(key));
        if position.is_some_and(|&position| records < position) {
            self.positions.insert(key.clone(), records);
        }
        Ok(())
    }
}

pub(crate) fn clash(is: NodeKind, wanted: NodeKind) -> Error {
    let message = format!("this is a {is}, it cannot become a {wanted}");
    Error::new(ErrorKind::KindMismatch, "commit", message)
}

/// A value as the only record of a series.
fn one_record(schema: &Schema, value: &Value) -> Result<Records> {
    let schema = Arc::new(schema.clone());
    let variable = |bytes: &[u8]| {
        Records::variable(
            Arc::clone(&schema),
            vec![bytes.len() as u64],
            bytes.to_vec(),
        )
    };
    match value {
        Value::Array(array) => Records::fixed(Arc::clone(&schema), 1, array.as_bytes().to_vec()),
        Value::Text(text) => variable(text.as_bytes()),
        Value::Bytes(bytes) => variable(bytes),
        Value::Object(object) => variable(object.as_msgpack()),
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            "commit",
            "this kind of value is not kept",
        )),
    }
}

impl Recording {
    /// Encodes records and makes the commands that store them.
    pub(crate) fn prepare_batch(
        &self,
        key: &Key,
        records: &Records,
        form: Form,
    ) -> Result<PreparedBatch> {
        let prefix = self.names.series(key).prefix().to_owned();
        let bytes = records.data().len() + records.ends().len() * 8 + 1024;
        let mut commands = Commands::with_buffer(self.buffers.take(bytes));
        let mut frames = Vec::new();
        for range in frame_ranges(records, self.frame_bytes) {
            let count = range.end - range.start;
            let pieces = form.encode(records, range)?;
            frames.push(self.store_frame(&mut commands, &prefix, &pieces, count));
        }
        Ok(PreparedBatch { commands, frames })
    }

    /// Adds the commands that store one frame, in parts if it is large.
    fn store_frame(
        &self,
        commands: &mut Commands,
        prefix: &str,
        pieces: &Pieces<'_>,
        records: u64,
    ) -> Frame {
        let name = self.new_frame_name();
        let bytes = pieces.len();
        let parts = bytes.div_ceil(self.part_bytes).max(1);
        let whole = (parts > 1).then(|| pieces.concat());
        for (part, full_name) in part_names(prefix, &name, parts).enumerate() {
            commands.begin(6);
            commands.argument("SET");
            commands.argument(full_name);
            match &whole {
                None => commands.argument_of(bytes, |target| pieces.append_to(target)),
                Some(whole) => {
                    let start = part * self.part_bytes;
                    let end = bytes.min(start + self.part_bytes);
                    commands.argument(&whole[start..end]);
                }
            }
            commands.argument("EX");
            commands.argument(FRAME_LIFETIME);
            // One that comes twice must not end the one that a commit has made permanent.
            commands.argument("NX");
        }
        Frame {
            name,
            records,
            bytes,
            parts,
        }
    }
}

/// Cuts records into frames of about so many bytes; a record is never cut.
fn frame_ranges(records: &Records, frame_bytes: usize) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < records.len() {
        let end = if records.schema().kind().is_fixed() {
            let size = records.schema().record_bytes().unwrap_or(1).max(1);
            start + (frame_bytes / size).max(1) as u64
        } else {
            let before = match start {
                0 => 0,
                start => records.ends()[start as usize - 1],
            };
            let rest = &records.ends()[start as usize..];
            // Each record takes the eight bytes of its end too.
            let fitting = rest.partition_point(|end| end - before <= frame_bytes as u64);
            start + fitting.clamp(1, frame_bytes / 8 + 1) as u64
        };
        let end = end.min(records.len());
        ranges.push(start..end);
        start = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_into_frames_that_hold_all_of_them() {
        let numbers = Records::fixed(Schema::scalar::<u64>().into(), 10, vec![0; 80]).unwrap();
        assert_eq!(frame_ranges(&numbers, 32), [0..4, 4..8, 8..10]);
        assert_eq!(frame_ranges(&numbers, 1).len(), 10);
        let ends = vec![0, 40, 41, 42, 50];
        let texts = Records::variable(Schema::text().into(), ends, vec![0; 50]).unwrap();
        assert_eq!(frame_ranges(&texts, 16), [0..1, 1..2, 2..5]);
        let none = Records::empty(Schema::text().into());
        assert_eq!(frame_ranges(&none, 16), []);
    }
}
