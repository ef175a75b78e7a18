//! Translates the changes of a commit into commands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use simrecorder_core::backend::errors::{check_filled, clash, not_declared, not_described};
use simrecorder_core::{
    Attributes, Batch, Change, Error, ErrorKind, Key, NodeKind, Result, Schema, Value,
};

use crate::connection::errors::corrupt;
use crate::format::document::{Document, SeriesDocument, signature};
use crate::format::names::{SeriesNames, group_of};
use crate::recording::Recording;
use crate::recording::claims::{Claims, new_number};
use crate::recording::encoder::{FrameEncoder, PreparedBatch};
use crate::recording::keyspace::Keyspace;
use crate::recording::script::Slot;
use crate::recording::writer::{CommitCommands, Writer};

/// Collects the changes of one commit.
pub(super) struct CommitBuilder<'a> {
    keyspace: &'a Keyspace,
    encoder: &'a FrameEncoder,
    claims: &'a Claims,
    writer: &'a Writer,
    commit: CommitCommands,
    /// Groups whose claims the script checks before the changes of their series, in each slot.
    held: HashSet<(Slot, Key)>,
    /// The attributes of keys after the previous changes of this commit.
    attributes: HashMap<Key, Attributes>,
    /// The attributes that previous changes of this commit have declared. They apply unless the
    /// series already existed.
    declared_attributes: HashMap<Key, Attributes>,
    /// Values that previous changes of this commit have set.
    values: HashSet<Key>,
}

impl<'a> CommitBuilder<'a> {
    pub(super) fn new(recording: &'a Recording, writer: &'a Writer) -> Self {
        Self {
            keyspace: &recording.keyspace,
            encoder: &recording.encoder,
            claims: &recording.claims,
            writer,
            commit: CommitCommands::default(),
            held: HashSet::new(),
            attributes: HashMap::new(),
            declared_attributes: HashMap::new(),
            values: HashSet::new(),
        }
    }

    pub(super) fn finish(mut self) -> CommitCommands {
        // In a cluster, changes of the hierarchy must not be committed without the rest.
        if !self.commit.slot(None).changes.is_empty() {
            let groups: Vec<_> = self.held.iter().map(|(_, group)| group.clone()).collect();
            groups.iter().for_each(|group| self.hold(&None, group));
        }
        self.commit
    }

    pub(super) fn add(&mut self, change: Change) -> Result<()> {
        let key = change.key().clone();
        let added = match change {
            Change::Declare {
                key,
                schema,
                filled,
            } => self.declare(&key, &schema, filled),
            Change::Append { batch, prepared } => {
                let prepared = prepared.and_then(|it| it.downcast::<PreparedBatch>().ok());
                self.append(&batch, prepared.map(|prepared| *prepared))
            }
            Change::Set { key, value } => self.set(&key, &value),
            Change::SetAttributes { key, attributes } => {
                self.set_attributes(&key, Attributes::clone(&attributes));
                Ok(())
            }
            Change::Describe {
                key,
                dimension_names,
                attributes,
            } => self.describe(&key, dimension_names.as_deref(), &attributes),
            Change::Truncate { key, len } => self.truncate(&key, len),
            Change::Claim { group } => self.claim(&group),
            _ => {
                let message = "this store does not support this kind of change";
                Err(Error::new(ErrorKind::Internal, "commit", message))
            }
        };
        added.map_err(|e| e.with_key(key.as_str()))
    }

    /// The slot of a series. Without a cluster, the slot of the hierarchy is used for everything.
    fn slot(&self, series: &SeriesNames) -> Slot {
        let is_cluster = self.keyspace.connections.is_cluster();
        is_cluster.then(|| series.slot().clone())
    }

    /// Adds a change to the commit in a slot.
    fn change(&mut self, slot: &Slot, arguments: &[&str]) {
        let arguments = arguments.iter().map(|it| it.as_bytes().to_vec());
        self.commit.slot(slot.as_ref()).changes.extend(arguments);
    }

    /// The number of this writer's claim to the series of a group.
    fn claim_of(&self, group: &Key) -> Option<u64> {
        let claim = self.commit.claims.get(group).copied();
        claim.or_else(|| self.claims.get(group))
    }

    /// If this writer has claimed a group, makes the script check that no other writer claimed it
    /// later.
    fn hold(&mut self, slot: &Slot, group: &Key) {
        if let Some(number) = self.claim_of(group)
            && self.held.insert((slot.clone(), group.clone()))
        {
            self.change(slot, &["hold", group.as_str(), &number.to_string()]);
        }
    }

    fn claim(&mut self, group: &Key) -> Result<()> {
        let number = new_number(self.keyspace, group)?;
        let mut slots = vec![None];
        if self.keyspace.connections.is_cluster() {
            slots.push(Some(self.keyspace.names.slot(group)));
        }
        for slot in slots {
            self.change(&slot, &["claim", group.as_str(), &number.to_string()]);
            self.held.insert((slot, group.clone()));
        }
        self.commit.claims.insert(group.clone(), number);
        Ok(())
    }

    /// Where the next batch of a series begins, according to this writer. For claimed series, the
    /// server determines it.
    fn position(&self, key: &Key) -> Option<u64> {
        if self.claim_of(&group_of(key)).is_some() {
            return None;
        }
        let position = self.commit.positions.get(key).copied();
        position.or_else(|| self.writer.position(key))
    }

    fn declare(&mut self, key: &Key, schema: &Schema, filled: u64) -> Result<()> {
        check_filled(schema, filled)?;
        if key.is_root() {
            return Err(clash("commit", key, NodeKind::Group, NodeKind::Series));
        }
        if let Some(series) = self.keyspace.cached_series(key) {
            series.schema.check_same_records(schema)?;
        }
        let is_cluster = self.keyspace.connections.is_cluster();
        let group = group_of(key);
        let mut document = self.encoder.new_document(schema)?;
        document.shares_slot = is_cluster && self.claim_of(&group).is_some();
        let attributes = match schema.attributes().is_empty() {
            true => String::new(),
            false => serde_json::Value::Object(schema.attributes().clone()).to_string(),
        };
        let signature = signature(schema);
        let prefix = match is_cluster {
            true => String::new(),
            false => self.keyspace.names.series(key).prefix().to_owned(),
        };
        let json = document.to_json();
        let filled = filled.to_string();
        let declare = [
            "declare",
            key.as_str(),
            &signature,
            &json,
            &attributes,
            &prefix,
            &filled,
        ];
        self.hold(&None, &group);
        self.change(&None, &declare);
        if is_cluster {
            let stored = self.keyspace.series(key)?;
            let stored = stored.as_deref().unwrap_or(&document);
            let names = stored.names(&self.keyspace.names, key);
            let slot = self.slot(&names);
            let base = self.keyspace.cut_base()?.to_string();
            self.hold(&slot, &group);
            let open = ["open", names.prefix(), &signature, &base, &filled];
            self.change(&slot, &open);
        }
        let document = Arc::new(document);
        let attributes = self.declared_attributes.entry(key.clone());
        attributes.or_insert_with(|| schema.attributes().clone());
        self.commit.declared.entry(key.clone()).or_insert(document);
        Ok(())
    }

    fn set_attributes(&mut self, key: &Key, attributes: Attributes) {
        let text = serde_json::Value::Object(attributes.clone()).to_string();
        self.change(&None, &["attributes", key.as_str(), &text]);
        self.attributes.insert(key.clone(), attributes);
    }

    fn describe(
        &mut self,
        key: &Key,
        names: Option<&[Option<String>]>,
        attributes: &Attributes,
    ) -> Result<()> {
        let declared = self.commit.declared.get(key).cloned();
        let document = match declared {
            Some(series) => Some(Document::Series(series)),
            None => self.keyspace.document(key)?,
        };
        let is = match self.values.contains(key) {
            true => Some(NodeKind::Value),
            false => document.as_ref().map(Document::kind),
        };
        match (document, names) {
            (Some(Document::Series(series)), Some(names)) => {
                let document = series.with_dimension_names(names)?;
                self.change(&None, &["describe", key.as_str(), &document.to_json()]);
                self.keyspace.forget_series(key);
                self.commit.declared.insert(key.clone(), Arc::new(document));
            }
            _ if is == Some(NodeKind::Series)
                || (is == Some(NodeKind::Value) && names.is_none()) => {}
            _ => return Err(not_described(key, is)),
        }
        let mut all = match self.attributes.remove(key) {
            Some(attributes) => attributes,
            None => match self.keyspace.attributes(key)? {
                none if none.is_empty() => self.declared_attributes.remove(key).unwrap_or_default(),
                stored => stored,
            },
        };
        all.extend(attributes.clone());
        self.set_attributes(key, all);
        Ok(())
    }

    /// The series of a change, which was declared before.
    fn series(&self, key: &Key) -> Result<Arc<SeriesDocument>> {
        if let Some(series) = self.commit.declared.get(key) {
            return Ok(Arc::clone(series));
        }
        if key.is_root() {
            return Err(clash("commit", key, NodeKind::Group, NodeKind::Series));
        }
        if let Some(series) = self.keyspace.cached_series(key) {
            return Ok(series);
        }
        match self.keyspace.document(key)? {
            Some(Document::Series(series)) => Ok(series),
            Some(other) => Err(clash("commit", key, other.kind(), NodeKind::Series)),
            None => {
                self.keyspace.check_current()?;
                // The server may have lost it, and receives it again before this commit.
                self.writer.declared(key).ok_or_else(|| not_declared(key))
            }
        }
    }

    fn append(&mut self, batch: &Arc<Batch>, prepared: Option<PreparedBatch>) -> Result<()> {
        let (key, records) = (&batch.key, &batch.records);
        let series = self.series(key)?;
        series.schema.check_same_records(records.schema())?;
        if let Some(expected) = self.position(key)
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
        self.commit.positions.insert(key.clone(), end);
        let names = series.names(&self.keyspace.names, key);
        // The group may have been claimed after the batch was encoded.
        let prepared = match prepared.filter(|prepared| prepared.prefix == names.prefix()) {
            Some(prepared) => prepared,
            None => self.encoder.encode(&names, batch, series.format)?,
        };
        let (slot, group) = (self.slot(&names), group_of(key));
        let start = match self.claim_of(&group) {
            Some(_) => batch.start.to_string(),
            None => String::new(),
        };
        let count = prepared.frames.len().to_string();
        let signature = signature(&series.schema);
        let append = [
            "append",
            key.as_str(),
            &signature,
            names.prefix(),
            &start,
            &count,
        ];
        self.hold(&slot, &group);
        self.change(&slot, &append);
        for frame in &prepared.frames {
            let numbers = [
                frame.record_count,
                frame.byte_len as u64,
                frame.part_count as u64,
            ];
            let [record_count, byte_len, part_count] = numbers.map(|number| number.to_string());
            let frame = [&*frame.name, &record_count, &byte_len, &part_count];
            self.change(&slot, &frame);
        }
        let frames = &mut self.commit.slot(slot.as_ref()).frames;
        frames.push(prepared.commands);
        Ok(())
    }

    fn set(&mut self, key: &Key, value: &Arc<Value>) -> Result<()> {
        if key.is_root() {
            return Err(clash("commit", key, NodeKind::Group, NodeKind::Value));
        }
        let prefix = self.keyspace.names.values();
        let (stored, commands) = self.encoder.encode_value(&prefix, value)?;
        self.change(&None, &["set", key.as_str(), &stored.to_json()]);
        self.commit.slot(None).frames.push(commands);
        self.values.insert(key.clone());
        Ok(())
    }

    /// Removes a node and everything below it.
    pub(super) fn remove(&mut self, key: &Key, series: &[Key]) -> Result<()> {
        self.hold_all(key);
        self.change(&None, &["remove", key.as_str()]);
        if self.keyspace.connections.is_cluster() {
            for series in series {
                self.drop_in_cluster(series, key)?;
            }
            self.commit.hierarchy_last();
        }
        Ok(())
    }

    /// Removes the records of a series at or below `key`.
    fn drop_in_cluster(&mut self, series: &Key, key: &Key) -> Result<()> {
        let names = self.keyspace.series_names(series)?;
        let (slot, group) = (self.slot(&names), group_of(series));
        let is_claimed = self.claim_of(&group).is_some();
        self.hold(&slot, &group);
        if names.shares_slot() && (group.is_within(key) || !is_claimed) {
            self.change(&slot, &["release", group.as_str()]);
        }
        self.change(&slot, &["drop", names.prefix()]);
        Ok(())
    }

    /// Moves a node and everything below it.
    pub(super) fn rename(&mut self, from: &Key, to: &Key) {
        self.hold_all(from);
        self.hold(&None, &group_of(to));
        self.change(&None, &["rename", from.as_str(), to.as_str()]);
    }

    /// Makes the script check the claims of this writer that removing or renaming `key` concerns.
    fn hold_all(&mut self, key: &Key) {
        self.hold(&None, &group_of(key));
        for (group, _) in self.claims.within(key) {
            self.hold(&None, &group);
        }
    }

    fn truncate(&mut self, key: &Key, len: u64) -> Result<()> {
        let names = self.series(key)?.names(&self.keyspace.names, key);
        let slot = self.slot(&names);
        self.hold(&slot, &group_of(key));
        self.change(
            &slot,
            &["truncate", key.as_str(), names.prefix(), &len.to_string()],
        );
        if self.position(key).is_some_and(|position| len < position) {
            self.commit.positions.insert(key.clone(), len);
        }
        Ok(())
    }
}
