//! The recorder behind its handles: series, stores, memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::buffer_pool::BufferPool;
use super::options::{MemoryPolicy, OnDivergence, OnStoreError, RecorderOptions};
use super::pipeline::{CHANGE_BYTES, Mark, Pipeline, Reached, Reserved, WhenFull};
use super::series_buffer::{LockedSeries, SeriesState};
use crate::record::RecordRef;
use crate::store::{Change, DataStore, Node};
use crate::{Attributes, Error, ErrorKind, Key, NodeKind, Result, Schema, Value};

/// A store to read from, with what to wait for before.
pub(crate) type ToRead<'a> = (&'a Pipeline, Option<Arc<Reached>>);

/// Spellings of one key that are remembered; others are brought to the normal form each time.
const MAX_SPELLINGS: u32 = 8;

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: RecorderOptions,
    pub(crate) pipelines: Vec<Pipeline>,
    /// Spellings of keys as users gave them.
    spellings: RwLock<HashMap<Box<str>, Arc<SeriesState>>>,
    /// What this recorder knows of each key.
    nodes: Mutex<HashMap<Key, Known>>,
    /// All series of `nodes`, in the order in which they came.
    series: RwLock<Vec<Arc<SeriesState>>>,
    /// What the open buffers take.
    buffered_bytes: AtomicUsize,
    pool: Arc<BufferPool>,
    /// Held while buffers are sent off to make room. If there was no room in the queues, it
    /// tells how often room had been made by then: to try again before costs much for nothing.
    spilling: Mutex<Option<u64>>,
    stop: Arc<Stop>,
    closed: AtomicBool,
    /// Held while the recorder is closed.
    closing: Mutex<()>,
    /// Whether anything but records was written.
    wrote: AtomicBool,
    /// The store that was opened read only, if there is one: then nothing is written.
    read_only: Option<usize>,
}

/// The one flag that every `record` looks at: the recorder was closed, or so many stores failed
/// that it stops.
#[derive(Debug)]
pub(crate) struct Stop {
    flag: AtomicBool,
    failures_left: AtomicUsize,
}

impl Stop {
    fn new(failures: usize) -> Self {
        Self {
            flag: AtomicBool::new(false),
            failures_left: AtomicUsize::new(failures),
        }
    }

    #[inline]
    fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.flag.store(true, Ordering::Release);
    }

    /// Counts a store that failed; `true` if the recorder stops.
    pub(crate) fn count_failure(&self) -> bool {
        let stops = self.failures_left.fetch_sub(1, Ordering::AcqRel) <= 1;
        if stops {
            self.set();
        }
        stops
    }
}

#[derive(Clone, Debug)]
enum Known {
    Group,
    Value,
    Series(Arc<SeriesState>),
}

impl Known {
    fn kind(&self) -> NodeKind {
        match self {
            Self::Group => NodeKind::Group,
            Self::Value => NodeKind::Value,
            Self::Series(_) => NodeKind::Series,
        }
    }
}

impl Inner {
    pub(crate) fn new(stores: Vec<Arc<dyn DataStore>>, options: RecorderOptions) -> Self {
        let pool = Arc::new(BufferPool::new(options.pool_bound()));
        let bounds = (
            options.queue_bound(stores.len()),
            options.encoded_bound(stores.len()),
        );
        let read_only = stores.iter().position(|store| store.is_read_only());
        let stop = Arc::new(Stop::new(match options.on_store_error {
            OnStoreError::Stop => 1,
            OnStoreError::Detach => stores.len(),
        }));
        let mut names = BTreeSet::new();
        let pipelines = stores.into_iter().map(|store| {
            let mut name = store.name().to_owned();
            for count in 2.. {
                if names.insert(name.clone()) {
                    break;
                }
                name = format!("{}-{count}", store.name());
            }
            let inline = options.inline || read_only.is_some();
            Pipeline::new(
                name,
                store,
                bounds,
                inline,
                Arc::clone(&stop),
                Arc::clone(&pool),
            )
        });
        Self {
            pipelines: pipelines.collect(),
            options,
            spellings: RwLock::default(),
            nodes: Mutex::default(),
            series: RwLock::default(),
            buffered_bytes: AtomicUsize::new(0),
            pool,
            spilling: Mutex::default(),
            stop,
            closed: AtomicBool::new(false),
            closing: Mutex::default(),
            wrote: AtomicBool::new(false),
            read_only,
        }
    }

    // ---- recording -------------------------------------------------------------------------

    #[inline]
    pub(crate) fn record(&self, key: &str, record: &RecordRef<'_>) -> Result<()> {
        if !self.stop.is_set()
            && self
                .spellings
                .read()
                .get(key)
                .is_some_and(|state| state.try_push(record))
        {
            return Ok(());
        }
        self.record_by_key(key, record)
    }

    #[cold]
    #[inline(never)]
    fn record_by_key(&self, key: &str, record: &RecordRef<'_>) -> Result<()> {
        self.find_or_create(key, || Schema::of_record(record))
            .and_then(|state| self.record_in(&state, record))
            .map_err(|e| e.with_key(key).with_operation("record"))
    }

    /// Takes a record into its series, growing or cutting the buffer as needed.
    #[cold]
    #[inline(never)]
    pub(crate) fn record_in(&self, state: &SeriesState, record: &RecordRef<'_>) -> Result<()> {
        self.check_running("record")?;
        if !state.schema.accepts(record) {
            return Err(state.schema.mismatch(record).with_key(state.key.as_str()));
        }
        let batch_bound = self.batch_bound();
        let mut series = state.lock();
        loop {
            if series.is_closed() {
                return Err(closed("record"));
            }
            if !series.is_empty() && series.is_full(batch_bound) {
                series = self.send_buffer(series, self.when_full())?;
                continue;
            }
            let Some(capacity) = series.wanted_capacity(record.data.len(), batch_bound) else {
                break;
            };
            let buffered = self.buffered_bytes.load(Ordering::Relaxed);
            if buffered.saturating_add(capacity) <= self.options.buffer_bound() {
                self.grow(&mut series, capacity);
                break;
            }
            // The others are sent first, without this lock.
            drop(series);
            let freed = self.spill(capacity)?;
            series = state.lock();
            if freed == 0 {
                // What is left is this record, or buffers that others fill at this moment.
                if series.is_empty() {
                    self.grow(&mut series, record.data.len().max(1));
                    break;
                }
                series = self.send_buffer(series, self.when_full())?;
            }
        }
        if series.is_closed() {
            return Err(closed("record"));
        }
        series.push(record);
        if series.is_full(batch_bound) {
            // The record is taken; if the queue has no room now, the next one will find out.
            drop(self.send_buffer(series, self.when_full()));
        }
        Ok(())
    }

    fn grow(&self, series: &mut LockedSeries<'_>, capacity: usize) {
        let grown = series.grow(capacity, &self.pool);
        self.buffered_bytes.fetch_add(grown, Ordering::Relaxed);
    }

    fn when_full(&self) -> WhenFull {
        match self.options.memory_policy {
            MemoryPolicy::Block => WhenFull::Wait,
            MemoryPolicy::Error => WhenFull::Fail,
        }
    }

    /// The size at which a batch is sent even if its chunk is larger.
    fn batch_bound(&self) -> usize {
        (self.options.memory_bound / 16).clamp(4096, 64 << 20)
    }

    /// Sends the largest buffers until half of the room for buffers, and at least `needed`, is
    /// free; returns how much was freed.
    fn spill(&self, needed: usize) -> Result<usize> {
        let mut in_vain = self.spilling.lock();
        let room_made = self.pipelines.iter().map(Pipeline::room_made).sum();
        if *in_vain == Some(room_made) && self.when_full() == WhenFull::Fail {
            return Err(self.buffer_full());
        }
        let bound = self.options.buffer_bound();
        let buffered = self.buffered_bytes.load(Ordering::Relaxed);
        if buffered.saturating_add(needed) <= bound {
            return Ok(buffered);
        }
        let mut largest: Vec<_> = self
            .series
            .read()
            .iter()
            .map(|state| (state.capacity(), Arc::clone(state)))
            .filter(|(capacity, _)| *capacity > 0)
            .collect();
        largest.sort_unstable_by_key(|(capacity, _)| std::cmp::Reverse(*capacity));
        let mut freed = 0;
        for (capacity, state) in largest {
            if freed >= bound / 2 && buffered.saturating_sub(freed) + needed <= bound {
                break;
            }
            if let Err(error) = self.send_buffer(state.lock(), self.when_full()) {
                *in_vain = Some(room_made);
                return Err(error);
            }
            freed += capacity;
        }
        Ok(freed)
    }

    /// Sends the buffer of a series to all stores. While it waits for room, it gives the lock
    /// up, so that others see the series.
    fn send_buffer<'a>(
        &self,
        mut series: LockedSeries<'a>,
        when_full: WhenFull,
    ) -> Result<LockedSeries<'a>> {
        let at_once = match when_full {
            WhenFull::Wait => WhenFull::Fail,
            other => other,
        };
        let mut reserved = self.reserve(series.batch_bytes(), at_once);
        while !series.is_empty() {
            match reserved {
                Ok(reserved) if holds(&reserved, series.batch_bytes()) => {
                    let (batch, freed) = series.cut();
                    self.buffered_bytes.fetch_sub(freed, Ordering::Relaxed);
                    let batch = Arc::new(batch);
                    for reserved in reserved {
                        let batch = Arc::clone(&batch);
                        let prepared = None;
                        reserved.send(Change::Append { batch, prepared });
                    }
                    return Ok(series);
                }
                Err(error) if when_full != WhenFull::Wait => return Err(error),
                // Given back before it waits, lest it waits for itself.
                too_little => drop(too_little),
            }
            let (state, bytes) = (series.state(), series.batch_bytes());
            drop(series);
            reserved = self.reserve(bytes, WhenFull::Wait);
            series = state.lock();
        }
        // Sent by another thread, or never used.
        self.buffered_bytes
            .fetch_sub(series.free(), Ordering::Relaxed);
        Ok(series)
    }

    /// Sets room aside in the queues of all stores, or of none.
    fn reserve(&self, bytes: usize, when_full: WhenFull) -> Result<Vec<Reserved<'_>>> {
        let reserve = |pipeline| Pipeline::reserve(pipeline, bytes, when_full);
        let reserved: Option<_> = self.pipelines.iter().map(reserve).collect();
        reserved.ok_or_else(|| self.buffer_full())
    }

    fn buffer_full(&self) -> Error {
        let queued = |pipeline: &&Pipeline| pipeline.status().queued_bytes;
        let slowest = self.pipelines.iter().max_by_key(queued);
        let message = format!(
            "the memory bound of {} bytes is met, store '{}' is behind; record less often, raise \
             the bound, or let the recorder block",
            self.options.memory_bound,
            slowest.map_or("", Pipeline::name)
        );
        Error::new(ErrorKind::BufferFull, "record", message)
    }

    // ---- keys ------------------------------------------------------------------------------

    /// The series at `key`, if this recorder has used it.
    pub(crate) fn known_series(&self, key: &str) -> Option<Arc<SeriesState>> {
        self.spellings.read().get(key).cloned()
    }

    /// The series at `key`; if there is none, it is made with `schema`.
    pub(crate) fn find_or_create(
        &self,
        spelling: &str,
        schema: impl FnOnce() -> Schema,
    ) -> Result<Arc<SeriesState>> {
        self.check_running("record")?;
        if let Some(state) = self.known_series(spelling) {
            return Ok(state);
        }
        let key = Key::new(spelling)?;
        let known = self.nodes.lock().get(&key).cloned();
        let state = match known {
            Some(Known::Series(state)) => state,
            Some(other) => return Err(clash(&key, other.kind(), NodeKind::Series)),
            None => self.create_series(key, schema())?,
        };
        if state.spellings.fetch_add(1, Ordering::Relaxed) < MAX_SPELLINGS {
            self.spellings
                .write()
                .insert(spelling.into(), Arc::clone(&state));
        }
        Ok(state)
    }

    fn create_series(&self, key: Key, schema: Schema) -> Result<Arc<SeriesState>> {
        schema.check()?;
        // First, so that nobody waits for room with the keys locked.
        let reserved = self.reserve(2 * CHANGE_BYTES, self.when_full())?;
        let mut nodes = self.nodes.lock();
        // Closing takes this lock after it has set the flag.
        self.check_running("record")?;
        match nodes.get(&key) {
            Some(Known::Series(state)) => return Ok(Arc::clone(state)),
            Some(other) => return Err(clash(&key, other.kind(), NodeKind::Series)),
            None => {}
        }
        let groups = self.check_groups_above(&nodes, &key)?;
        let mut lengths = Vec::with_capacity(reserved.len());
        for reserved in reserved {
            let pipeline = reserved.pipeline();
            if pipeline.failure().is_some() {
                continue;
            }
            let length = match pipeline.node(&key)? {
                None => None,
                Some(Node::Series {
                    schema: stored,
                    records,
                }) => {
                    stored.check_same_records(&schema)?;
                    Some(records)
                }
                Some(other) => return Err(clash(&key, other.kind(), NodeKind::Series)),
            };
            lengths.push((reserved, length));
        }
        let mut chunk_records = None;
        for (reserved, length) in &lengths {
            let pipeline = reserved.pipeline();
            let records = pipeline.plan(&key, Some(&schema))?;
            // A store that has the series already keeps its chunks.
            chunk_records = chunk_records.or(Some(records));
            tracing::trace!(store = pipeline.name(), %key, ?length, records, "series");
        }
        let schema = Arc::new(schema);
        let start = self.common_length(&key, &lengths)?;
        for (reserved, length) in &mut lengths {
            if length.is_none() {
                let change = Change::Declare {
                    key: key.clone(),
                    schema: Arc::clone(&schema),
                };
                reserved.send_part(change, CHANGE_BYTES);
            }
            if length.is_some_and(|length| length > start) {
                let change = Change::Truncate {
                    key: key.clone(),
                    records: start,
                };
                reserved.send_part(change, CHANGE_BYTES);
            }
        }
        let chunk_records = chunk_records.unwrap_or(1);
        let state = Arc::new(SeriesState::new(key.clone(), schema, chunk_records, start));
        self.series.write().push(Arc::clone(&state));
        nodes.extend(groups.into_iter().map(|group| (group, Known::Group)));
        nodes.insert(key, Known::Series(Arc::clone(&state)));
        Ok(state)
    }

    /// How many records of a series all stores hold.
    fn common_length(&self, key: &Key, lengths: &[(Reserved<'_>, Option<u64>)]) -> Result<u64> {
        let counts = || lengths.iter().map(|(_, length)| length.unwrap_or(0));
        let shortest = counts().min().unwrap_or(0);
        if counts().all(|count| count == shortest)
            || self.options.on_divergence == OnDivergence::CutToShortest
        {
            return Ok(shortest);
        }
        let held: Vec<_> = lengths
            .iter()
            .map(|(reserved, length)| {
                let name = reserved.pipeline().name();
                format!("'{name}' {}", length.unwrap_or(0))
            })
            .collect();
        let message = format!(
            "the stores hold different numbers of records: {}; \
             RecorderOptions::with_on_divergence(OnDivergence::CutToShortest) cuts all to {shortest}",
            held.join(", ")
        );
        Err(Error::new(ErrorKind::Diverged, "record", message).with_key(key.as_str()))
    }

    /// Checks that the keys above `key` are, or can become, groups; returns those that are not
    /// known yet.
    fn check_groups_above(&self, nodes: &HashMap<Key, Known>, key: &Key) -> Result<Vec<Key>> {
        let mut new = Vec::new();
        for group in key.ancestors() {
            match nodes.get(&group) {
                Some(Known::Group) => break,
                Some(other) => return Err(not_a_group(key, &group, other.kind())),
                None => {}
            }
            for pipeline in self.working_pipelines() {
                match pipeline.node(&group)?.map(|node| node.kind()) {
                    None | Some(NodeKind::Group) => {}
                    Some(other) => return Err(not_a_group(key, &group, other)),
                }
            }
            new.push(group);
        }
        Ok(new)
    }

    /// What the series at `key` holds, if there is one.
    pub(crate) fn series_schema(&self, key: &Key) -> Result<Option<Arc<Schema>>> {
        match self.nodes.lock().get(key) {
            Some(Known::Series(state)) => return Ok(Some(Arc::clone(&state.schema))),
            Some(other) => return Err(clash(key, other.kind(), NodeKind::Series)),
            None => {}
        }
        for pipeline in self.working_pipelines() {
            match pipeline.node(key)? {
                Some(Node::Series { schema, .. }) => return Ok(Some(schema)),
                Some(other) => return Err(clash(key, other.kind(), NodeKind::Series)),
                None => {}
            }
        }
        Ok(None)
    }

    pub(crate) fn declare(&self, key: &str, schema: Schema) -> Result<()> {
        schema.check()?;
        let state = self.find_or_create(key, || schema.clone())?;
        state.schema.check_same_records(&schema)
    }

    pub(crate) fn set(&self, spelling: &str, value: Value) -> Result<()> {
        self.check_running("set")?;
        let key = Key::new(spelling)?;
        let bytes = match &value {
            Value::Array(array) => array.as_bytes().len(),
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Object(object) => object.as_msgpack().len(),
        };
        let reserved = self.reserve(CHANGE_BYTES + bytes, self.when_full())?;
        let mut nodes = self.nodes.lock();
        self.check_running("set")?;
        match nodes.get(&key) {
            Some(Known::Value) => {}
            Some(other) => return Err(clash(&key, other.kind(), NodeKind::Value)),
            None => {
                let groups = self.check_groups_above(&nodes, &key)?;
                for pipeline in self.working_pipelines() {
                    match pipeline.node(&key)?.map(|node| node.kind()) {
                        None | Some(NodeKind::Value) => {}
                        Some(other) => return Err(clash(&key, other, NodeKind::Value)),
                    }
                    pipeline.plan(&key, None)?;
                }
                nodes.extend(groups.into_iter().map(|group| (group, Known::Group)));
                nodes.insert(key.clone(), Known::Value);
            }
        }
        let value = Arc::new(value);
        self.wrote.store(true, Ordering::Relaxed);
        // Under the lock, so that values set one after the other arrive in this order.
        for reserved in reserved {
            let (key, value) = (key.clone(), Arc::clone(&value));
            reserved.send(Change::Set { key, value });
        }
        Ok(())
    }

    pub(crate) fn set_attributes(&self, spelling: &str, attributes: Attributes) -> Result<()> {
        self.check_running("set attributes")?;
        let key = Key::new_or_root(spelling)?;
        let reserved = self.reserve(CHANGE_BYTES, self.when_full())?;
        let mut nodes = self.nodes.lock();
        self.check_running("set attributes")?;
        if !key.is_root() && !nodes.contains_key(&key) {
            let mut groups = self.check_groups_above(&nodes, &key)?;
            let mut is_new = true;
            for pipeline in self.working_pipelines() {
                pipeline.plan(&key, None)?;
                is_new &= pipeline.node(&key)?.is_none();
            }
            if is_new {
                groups.push(key.clone());
            }
            nodes.extend(groups.into_iter().map(|group| (group, Known::Group)));
        }
        let attributes = Arc::new(attributes);
        self.wrote.store(true, Ordering::Relaxed);
        for reserved in reserved {
            let (key, attributes) = (key.clone(), Arc::clone(&attributes));
            reserved.send(Change::SetAttributes { key, attributes });
        }
        Ok(())
    }

    /// The stores that have not failed.
    fn working_pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines
            .iter()
            .filter(|pipeline| pipeline.failure().is_none())
    }

    // ---- commits ---------------------------------------------------------------------------

    /// Sends all buffers to the stores, but those for which there is no room, if `when_full`
    /// says so.
    fn send_all_buffers(&self, when_full: WhenFull) {
        for index in 0.. {
            let Some(state) = self.series.read().get(index).cloned() else {
                return;
            };
            let series = state.lock();
            if !series.is_empty() {
                drop(self.send_buffer(series, when_full));
            }
        }
    }

    /// Commits what there is without waiting for it: for the thread of timed commits.
    pub(crate) fn commit_in_background(&self, last: &mut Vec<Option<Arc<Reached>>>) {
        // Also after a failure that stopped the recorder: other stores get what was recorded.
        if self.is_closed() {
            return;
        }
        self.send_all_buffers(WhenFull::Fail);
        last.resize(self.pipelines.len(), None);
        for (pipeline, last) in self.pipelines.iter().zip(last) {
            // A store that is behind does not get another mark.
            if last.as_ref().is_none_or(|reached| reached.is_set()) {
                *last = Some(pipeline.mark(Mark::Flush));
            }
        }
    }

    /// Commits everything and waits until it is durable.
    pub(crate) fn commit_all(&self, mark: Mark, operation: &'static str) -> Result<()> {
        self.check_running(operation)?;
        self.send_all_buffers(WhenFull::Wait);
        let marks: Vec<_> = self.pipelines.iter().map(|p| p.mark(mark)).collect();
        for reached in marks {
            // Errors are kept by the pipelines.
            reached.wait(None);
        }
        self.stop_reason().map_or(Ok(()), Err)
    }

    /// Commits what this recorder holds of `key`, if that is a series; else what was declared
    /// and set. Returns the stores to read, in their order: all that have not failed, or `only`
    /// one.
    pub(crate) fn commit_for_reading(
        &self,
        key: &Key,
        only: Option<usize>,
    ) -> Result<Vec<ToRead<'_>>> {
        let known = self.nodes.lock().get(key).cloned();
        let wrote = self.wrote.load(Ordering::Relaxed) || !self.series.read().is_empty();
        if let Some(Known::Series(state)) = &known {
            let series = state.lock();
            if !series.is_empty() {
                drop(self.send_buffer(series, WhenFull::Wait)?);
            }
        }
        let pipelines = self.pipelines.iter().enumerate();
        let wanted = pipelines.filter(|(index, pipeline)| match only {
            Some(only) => only == *index,
            None => pipeline.failure().is_none() || self.stop.is_set(),
        });
        let mark = |pipeline: &Pipeline| wrote.then(|| pipeline.mark(Mark::Flush));
        Ok(wanted.map(|(_, p)| (p, mark(p))).collect())
    }

    /// Waits until a store can be read; `false` if it failed meanwhile and another is to be read.
    pub(crate) fn wait_for(&self, (pipeline, reached): &ToRead<'_>) -> Result<bool> {
        if let Some(reached) = reached {
            // Errors are kept by the pipelines.
            reached.wait(None);
        }
        match self.stop_reason() {
            Some(error) => Err(error),
            None => Ok(pipeline.failure().is_none()),
        }
    }

    /// Closes the recorder; `None` when the deadline passed before all stores were closed.
    pub(crate) fn close(&self, deadline: Option<Instant>) -> Option<Result<()>> {
        // Who comes second finds everything done.
        let _closing = self.closing.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Some(Ok(()));
        }
        self.stop.set();
        drop(self.nodes.lock());
        for index in 0.. {
            let Some(state) = self.series.read().get(index).cloned() else {
                break;
            };
            let mut series = state.lock();
            series.close();
            if !series.is_empty() {
                // Nothing more comes, so the queues may take what the buffers hold: a store that
                // stalls does not keep it from the others.
                drop(self.send_buffer(series, WhenFull::Exceed));
            }
        }
        let marks: Vec<_> = self.pipelines.iter().map(|p| p.mark(Mark::Close)).collect();
        let results: Vec<_> = marks
            .iter()
            .map(|reached| reached.wait(deadline))
            .collect::<Option<_>>()?;
        self.pipelines.iter().for_each(Pipeline::join);
        self.pool.clear();
        Some(first_error(
            self.pipelines.iter().map(Pipeline::name).zip(results),
        ))
    }

    // ---- state -----------------------------------------------------------------------------

    pub(crate) fn check_running(&self, operation: &'static str) -> Result<()> {
        if let Some(index) = self.read_only {
            let message = format!(
                "store '{}' was opened read only; open it for appending to write",
                self.pipelines[index].name()
            );
            return Err(Error::new(ErrorKind::ReadOnly, operation, message));
        }
        if !self.stop.is_set() {
            return Ok(());
        }
        Err(match self.stop_reason() {
            Some(error) if !self.closed.load(Ordering::Relaxed) => error,
            _ => closed(operation),
        })
    }

    /// The failure that stopped the recorder.
    fn stop_reason(&self) -> Option<Error> {
        let failure = |pipeline: &Pipeline| Some(pipeline.failure()?.in_store(pipeline.name()));
        self.stop
            .is_set()
            .then(|| self.pipelines.iter().find_map(failure))
            .flatten()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Whether the stores have threads of their own.
    pub(crate) fn has_threads(&self) -> bool {
        !self.options.inline && self.read_only.is_none()
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.read().len()
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes.load(Ordering::Relaxed)
    }

    /// How many records this recorder has taken.
    pub(crate) fn recorded(&self) -> u64 {
        self.series
            .read()
            .iter()
            .map(|state| state.lock().recorded())
            .sum()
    }
}

/// Whether enough was set aside in all queues.
fn holds(reserved: &[Reserved<'_>], bytes: usize) -> bool {
    reserved.iter().all(|reserved| reserved.bytes() >= bytes)
}

fn first_error<'a>(results: impl Iterator<Item = (&'a str, Result<()>)>) -> Result<()> {
    let mut errors = results.filter_map(|(name, result)| Some((name, result.err()?)));
    let Some((name, first)) = errors.next() else {
        return Ok(());
    };
    let others: Vec<_> = errors
        .map(|(name, error)| format!("store '{name}': {error}"))
        .collect();
    let first = first.in_store(name);
    if others.is_empty() {
        return Err(first);
    }
    let message = format!("several stores failed; also {}", others.join("; "));
    Err(Error::new(first.kind(), "close", message).with_source(first))
}

pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the recorder was closed")
}

fn clash(key: &Key, is: NodeKind, wanted: NodeKind) -> Error {
    let verb = match wanted {
        NodeKind::Series => "record",
        NodeKind::Value => "set",
        NodeKind::Group => "create",
    };
    let message = format!("the key is a {is}, so it cannot be a {wanted}; use another key");
    Error::new(ErrorKind::KindMismatch, verb, message).with_key(key.as_str())
}

fn not_a_group(key: &Key, group: &Key, is: NodeKind) -> Error {
    let message = format!("'{group}' is a {is}, not a group, so nothing can stand below it");
    Error::new(ErrorKind::KindMismatch, "create", message).with_key(key.as_str())
}
