//! Columns over arrays in memory, compared with a list of numbers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::backend::errors::shortened;
use crate::backend::fork::ProcessLocal;
use crate::backend::sync::Mutex;
use crate::backend::{ChunkGrid, RowSize, Rows, RowsRef, frame_sizes, read_frames, write_frame};
use crate::error::{ErrorKind, Result};
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::region_copy::{Block, copy_block};
use crate::reading::selection::Region;
use crate::reading::view::View;
use crate::store::array_view::ArrayView;
use crate::store::commit::Batch;
use crate::store::node::Node;

/// Encodes chunks of elements as the elements, and chunks of texts as a frame.
#[derive(Debug)]
struct MemoryFormat {
    layout: ColumnLayout,
    writes_chunks: bool,
}

impl ColumnFormat for MemoryFormat {
    type Chunk = Vec<u8>;

    fn layout(&self) -> &ColumnLayout {
        &self.layout
    }

    fn encode(&self, rows: RowsRef<'_>, indices: &[u64]) -> Result<Vec<u8>> {
        if self.layout.dtype.is_some() {
            return self
                .layout
                .with_chunk(rows, indices, |chunk| Ok(chunk.to_vec()));
        }
        let mut frame = Vec::new();
        write_frame(&mut frame, 0, rows, |_| {});
        Ok(frame)
    }

    fn encodes_like(&self, other: &Self) -> bool {
        self.layout == other.layout
    }

    fn writes_chunks(&self) -> bool {
        self.writes_chunks
    }
}

#[derive(Clone, Debug, Default)]
struct Array {
    stored: u64,
    stored_before: u64,
    cuts: Vec<u64>,
    chunks: BTreeMap<Vec<u64>, Vec<u8>>,
    /// The elements, if they are not in chunks.
    elements: Vec<u8>,
    tail: Vec<u8>,
    /// The number of bytes that were ever written to the tail.
    tail_written: usize,
}

type Arrays = BTreeMap<Arc<str>, Array>;

struct OpenArray {
    column: Column<MemoryFormat>,
    array: Array,
}

impl ColumnSource for OpenArray {
    type Format = MemoryFormat;

    fn column(&self) -> &Column<MemoryFormat> {
        &self.column
    }

    fn read_chunk(&self, indices: &[u64], region: &Region, out: &mut [u8]) -> Result<()> {
        let layout = self.column.layout();
        let origin = layout.grid.origin(indices);
        let Some(chunk) = self.array.chunks.get(indices) else {
            return layout.fill_chunk(&origin, region, out);
        };
        let block = Block {
            data: chunk,
            origin: &origin,
            shape: layout.grid.chunk_shape(),
        };
        copy_block(block, region, out, layout.element_size())
    }

    fn read_elements(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        if self.column.format.writes_chunks {
            return read_chunks(self, region, out);
        }
        let shape = self.column.layout().shape(self.array.stored);
        let block = Block {
            data: &self.array.elements,
            origin: &vec![0; shape.len()],
            shape: &shape,
        };
        copy_block(block, region, out, self.column.layout().element_size())
    }

    fn read_variable(&self, range: Range<u64>, _: usize) -> Result<(u64, Rows)> {
        let layout = self.column.layout();
        let chunk = range.start / layout.chunk_rows();
        let encoded = self.array.chunks.get(&vec![chunk]).ok_or_else(shortened)?;
        let rows = read_frames(encoded, 0, layout.row_size())?;
        Ok((chunk * layout.chunk_rows(), rows))
    }

    fn read_tail(&self) -> Result<(u64, Rows)> {
        let (first, size) = (self.array.stored, self.column.layout().row_size());
        Ok((first, read_frames(&self.array.tail, first, size)?))
    }

    fn read_tail_end(&self, first: u64, bytes: u64) -> Result<Rows> {
        let start = self.array.tail.len() - bytes as usize;
        read_frames(
            &self.array.tail[start..],
            first,
            self.column.layout().row_size(),
        )
    }
}

struct Changes<'a>(&'a mut Arrays);

impl Changes<'_> {
    fn array(&mut self, column: &Column<MemoryFormat>) -> &mut Array {
        self.0.entry(Arc::clone(&column.path)).or_default()
    }
}

impl ColumnSink for Changes<'_> {
    type Format = MemoryFormat;
    type Source = OpenArray;

    fn open(&self, column: &Column<MemoryFormat>) -> Result<OpenArray> {
        Ok(OpenArray {
            column: column.clone(),
            array: self.0.get(&column.path).cloned().unwrap_or_default(),
        })
    }

    fn set_stored(&mut self, to: &OpenArray, stored: u64, cut: Option<Cut>) -> Result<()> {
        let layout = to.column.layout();
        let chunk_rows = layout.chunk_rows();
        let array = self.array(&to.column);
        array.stored_before = array.stored;
        array.stored = stored;
        if let Some(cut) = cut {
            assert!(cut.len.min(cut.stored_before) <= stored);
            assert_eq!(cut.stored_before, array.stored_before);
            array.cuts.push(cut.len);
            array
                .chunks
                .retain(|indices, _| indices[0] * chunk_rows < stored);
            if let RowSize::Fixed(size) = layout.row_size() {
                array.elements.truncate(cut.len as usize * size);
            }
        }
        Ok(())
    }

    fn write_chunk(
        &mut self,
        to: &OpenArray,
        indices: &[u64],
        chunk: &Vec<u8>,
        repeats: bool,
    ) -> Result<()> {
        let layout = to.column.layout();
        let array = self.array(&to.column);
        let old = array.chunks.insert(indices.to_vec(), chunk.clone());
        if let (Some(old), true, [first]) = (old, repeats, indices) {
            let rows = array.stored_before - first * layout.chunk_rows();
            let bytes = match layout.dtype {
                Some(dtype) => rows as usize * dtype.size(),
                None => 0,
            };
            assert_eq!(old[..bytes], chunk[..bytes]);
        }
        Ok(())
    }

    fn write_rows(&mut self, to: &OpenArray, first: u64, rows: RowsRef<'_>) -> Result<()> {
        let array = self.array(&to.column);
        if rows.count > 0 {
            let size = rows.data.len() / rows.count as usize;
            assert_eq!(array.elements.len(), first as usize * size);
        }
        array.elements.extend_from_slice(rows.data);
        Ok(())
    }

    fn append_tail(&mut self, column: &Column<MemoryFormat>, frames: Vec<u8>) {
        let array = self.array(column);
        array.tail_written += frames.len();
        array.tail.extend(frames);
    }

    fn replace_tail_end(&mut self, column: &Column<MemoryFormat>, bytes: u64, frames: Vec<u8>) {
        let array = self.array(column);
        array.tail_written += frames.len();
        array.tail.truncate(array.tail.len() - bytes as usize);
        array.tail.extend(frames);
    }

    fn clear_tail(&mut self, column: &Column<MemoryFormat>) {
        self.array(column).tail.clear();
    }
}

/// One series.
struct MemoryStore {
    key: Key,
    schema: Arc<Schema>,
    formats: Columns<Arc<MemoryFormat>>,
    arrays: Mutex<Arrays>,
    planned: PlannedFormats<MemoryFormat>,
}

impl MemoryStore {
    fn new(schema: Schema, chunk_shape: &[u64], writes_chunks: bool) -> Self {
        let format = |dtype, chunk_shape: &[u64], record_shape: &[u64]| {
            let grid = ChunkGrid::new(chunk_shape.to_vec(), record_shape.to_vec());
            Arc::new(MemoryFormat {
                layout: ColumnLayout::new(dtype, grid, None, Some(vec![7; 8])).unwrap(),
                writes_chunks,
            })
        };
        let shape = schema.record_shape();
        let formats = match schema.kind() {
            Kind::Ragged => Columns::Ragged {
                ends: format(Some(ENDS_DTYPE), &[3], &[]),
                items: format(schema.dtype(), chunk_shape, shape),
            },
            _ => Columns::Single(format(schema.dtype(), chunk_shape, shape)),
        };
        let key = Key::new("s").unwrap();
        let planned = PlannedFormats::default();
        let planned_format = Arc::clone(formats.elements());
        planned.lock().insert(key.clone(), planned_format);
        Self {
            key,
            schema: Arc::new(schema),
            formats,
            arrays: Mutex::default(),
            planned,
        }
    }

    /// The current columns.
    fn columns(&self) -> Columns<ColumnView<Column<MemoryFormat>, usize>> {
        let arrays = self.arrays.lock();
        let mut number = 0;
        let columns = self.formats.clone().map(|format| {
            number += 1;
            let path: Arc<str> = number.to_string().into();
            let array = arrays.get(&path).cloned().unwrap_or_default();
            let tail = read_frames(&array.tail, array.stored, format.layout.row_size())?;
            let frames = frame_sizes(&array.tail, array.stored)?;
            assert!(frames.len() <= MAX_FRAMES);
            let column = Column::new(path, format, array.stored, tail.count)?;
            Ok(ColumnView {
                column: column.with_frames(frames),
                version: array.cuts.len(),
            })
        });
        columns.unwrap()
    }

    /// Commits changes of the series, which is in the cache or loaded.
    fn commit(
        &self,
        cache: &mut SeriesCache<MemoryFormat>,
        changes: impl FnOnce(&mut SeriesAppend<MemoryFormat>, &Changes<'_>) -> Result<()>,
    ) -> Result<()> {
        let columns = self.columns().map(|view| Ok(view.column))?;
        let kind = self.schema.kind();
        let mut arrays = self.arrays.lock();
        let mut committed = arrays.clone();
        let mut sink = Changes(&mut committed);
        let mut series = SeriesChanges::default();
        let load = || Ok(Series { kind, columns });
        changes(series.series(&self.key, cache, load)?, &sink)?;
        cache.extend(series.finish(&mut sink)?);
        *arrays = committed;
        Ok(())
    }

    fn fold(&self, cache: &mut SeriesCache<MemoryFormat>) {
        cache.clear();
        let mut columns = Vec::new();
        let pushed = self.columns().map(|view| {
            columns.push(view.column);
            Ok(())
        });
        pushed.unwrap();
        let mut arrays = self.arrays.lock();
        for column in columns {
            fold(column, &mut Changes(&mut arrays)).unwrap();
        }
        assert!(arrays.values().all(|array| array.tail.is_empty()));
    }
}

impl ColumnStore for MemoryStore {
    type Format = MemoryFormat;
    type Version = usize;
    type Source<'a> = OpenArray;

    fn read_column<T>(
        &self,
        view: &ColumnView<Column<MemoryFormat>, usize>,
        mut read: impl FnMut(&OpenArray) -> Result<(u64, T)>,
    ) -> Result<T> {
        let column = view.column.clone();
        let array = self.arrays.lock().get(&column.path).cloned();
        let array = array.unwrap_or_default();
        let mut cuts = array.cuts.clone().into_iter().skip(view.version);
        let (end, result) = read(&OpenArray { column, array })?;
        match cuts.any(|len| len < end) {
            true => Err(shortened()),
            false => Ok(result),
        }
    }

    fn nodes(store: &Arc<ProcessLocal<Self>>, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let node = |key| Ok(Some(Node::Series(View::from(view_of(store, key)?))));
        keys.iter().map(node).collect()
    }
}

fn view_of(store: &Arc<ProcessLocal<MemoryStore>>, key: &Key) -> Result<Arc<dyn ArrayView>> {
    let MemoryStore { schema, .. } = store.get("read")?;
    let (schema, columns) = (Arc::clone(schema), store.get("read")?.columns());
    let view = SeriesView::new(Arc::clone(store), key.clone(), schema, columns);
    Ok(Arc::new(view))
}

/// Records of the schema with a number in each.
fn records(schema: &Arc<Schema>, numbers: &[u64]) -> Records {
    let bytes = |numbers: &[u64]| -> Vec<u8> {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        bytes.collect()
    };
    let record = |&number: &u64| match schema.kind() {
        Kind::Array => {
            let len = schema.record_shape().iter().product::<u64>();
            bytes(&(number..number + len).collect::<Vec<_>>())
        }
        Kind::Ragged => bytes(&vec![number; number as usize % 4]),
        _ => number.to_string().repeat(number as usize % 3).into(),
    };
    let parts: Vec<Vec<u8>> = numbers.iter().map(record).collect();
    let ends = parts.iter().scan(0, |end, part| {
        *end += part.len() as u64;
        Some(*end)
    });
    let (ends, data) = (ends.collect(), parts.concat());
    match schema.kind() {
        Kind::Array => Records::fixed(Arc::clone(schema), numbers.len() as u64, data).unwrap(),
        _ => Records::variable(Arc::clone(schema), ends, data).unwrap(),
    }
}

fn check(view: &dyn ArrayView, numbers: &[u64]) -> Result<()> {
    assert_eq!(view.shape()[0], numbers.len() as u64);
    let expected = records(view.schema(), numbers);
    let mut found = Records::empty(Arc::clone(view.schema()));
    // Reads in parts that begin and end anywhere.
    while found.len() < expected.len() {
        let some = view.read_records(found.len()..expected.len(), 40)?;
        assert!(!some.is_empty());
        found.extend_from(&some, 0..some.len());
    }
    assert_eq!(found.data(), expected.data());
    assert_eq!(found.ends(), expected.ends());
    if view.kind() == Kind::Array {
        let mut out = vec![0; expected.data().len()];
        view.read_into(&Region::all(view.shape()), &mut out)?;
        assert_eq!(out, expected.data());
    }
    view.check_records(0..expected.len())
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        count: u64,
        prepared: bool,
    },
    /// Appends records, each in a separate batch.
    AppendEach(u64),
    Truncate(u64),
}

fn steps() -> impl Strategy<Value = Vec<(Vec<Step>, bool)>> {
    let step = prop_oneof![
        3 => (0..12_u64, any::<bool>())
            .prop_map(|(count, prepared)| Step::Append { count, prepared }),
        1 => (0..200_u64).prop_map(Step::AppendEach),
        1 => prop_oneof![0..40_u64, 0..600_u64].prop_map(Step::Truncate),
    ];
    // Some changes in each commit, and whether tails are folded after it.
    prop::collection::vec((prop::collection::vec(step, 0..4), any::<bool>()), 1..10)
}

fn stores() -> impl Strategy<Value = MemoryStore> {
    prop_oneof![
        any::<bool>().prop_map(|by_chunk| MemoryStore::new(
            Schema::scalar::<u64>(),
            &[4],
            by_chunk
        )),
        any::<bool>().prop_map(|by_chunk| {
            MemoryStore::new(Schema::array::<u64>([3, 2]), &[4, 2, 2], by_chunk)
        }),
        prop_oneof![Just(4), Just(2000)].prop_map(|rows| MemoryStore::new(
            Schema::text(),
            &[rows],
            true
        )),
        Just(()).prop_map(|()| MemoryStore::new(Schema::scalar::<u64>(), &[2000], true)),
        Just(()).prop_map(|()| MemoryStore::new(Schema::ragged::<u64>([]), &[5], true)),
    ]
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.schema, self.formats)
    }
}

proptest! {
    #[test]
    fn any_commits_give_the_records_that_were_appended(store in stores(), steps in steps()) {
        let shared = Arc::new(ProcessLocal::new(store));
        let store = shared.get("test")?;
        let mut cache = SeriesCache::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut next = 0;
        let mut views = Vec::new();
        for (changes, folded) in steps {
            store.commit(&mut cache, |series, sink| {
                for step in changes {
                    let len = numbers.len() as u64;
                    match step {
                        Step::Append { count, prepared } => {
                            numbers.extend(next..next + count);
                            next += count;
                            let new = records(&store.schema, &numbers[len as usize..]);
                            let batch = Batch::new(store.key.clone(), len, new);
                            let prepared = match prepared {
                                true => prepare(&store.planned, &batch, |_, _, chunk| Ok(chunk))?,
                                false => None,
                            };
                            series.append(Arc::new(batch), prepared)?;
                        }
                        Step::AppendEach(count) => {
                            for number in next..next + count {
                                let new = records(&store.schema, &[number]);
                                let start = numbers.len() as u64;
                                let batch = Batch::new(store.key.clone(), start, new);
                                series.append(Arc::new(batch), None)?;
                                numbers.push(number);
                            }
                            next += count;
                        }
                        Step::Truncate(len) => {
                            series.truncate(sink, len)?;
                            numbers.truncate(len as usize);
                        }
                    }
                }
                Ok(())
            })?;
            let view = view_of(&shared, &store.key)?;
            check(&*view, &numbers)?;
            views.push((view, numbers.clone()));
            if folded {
                store.fold(&mut cache);
                check(&*view_of(&shared, &store.key)?, &numbers)?;
            }
            // Older views still return their records, unless these were cut off.
            for (view, numbers) in &views {
                match check(&**view, numbers) {
                    Ok(()) => {}
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::OutOfBounds),
                }
            }
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let store = MemoryStore::new(Schema::scalar::<u64>(), &[4], true);
    let append = |schema: Schema, start: u64| {
        let batch = Batch::new(store.key.clone(), start, records(&Arc::new(schema), &[1]));
        let batch = Arc::new(batch);
        let result = store.commit(&mut SeriesCache::new(), |series, _| {
            series.append(Arc::clone(&batch), None)
        });
        (
            result,
            prepare(&store.planned, &batch, |_, _, chunk| Ok(chunk))
                .unwrap()
                .is_some(),
        )
    };
    let (gap, _) = append(Schema::scalar::<u64>(), 1);
    assert_eq!(gap.unwrap_err().kind(), ErrorKind::Internal);
    let (other, is_prepared) = append(Schema::text(), 0);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::SchemaMismatch);
    assert!(!is_prepared);
    append(Schema::scalar::<u64>(), 0).0.unwrap();
}

#[test]
fn encoded_records_follow_stored_ones_and_are_alone_in_their_commit() {
    let source = Arc::new(MemoryStore::new(Schema::scalar::<u64>(), &[4], true));
    let shared = MemoryStore::new(Schema::scalar::<u64>(), &[4], true);
    let shared = Arc::new(ProcessLocal::new(shared));
    let target = shared.get("test").unwrap();
    let numbers: Vec<u64> = (0..6).collect();
    let batch = |numbers: &[u64], start| {
        let records = records(&source.schema, numbers);
        Arc::new(Batch::new(source.key.clone(), start, records))
    };
    let append = |store: &MemoryStore, numbers: &[u64], start| {
        store.commit(&mut SeriesCache::new(), |series, _| {
            series.append(batch(numbers, start), None)
        })
    };
    append(&source, &numbers, 0).unwrap();
    source.fold(&mut SeriesCache::new());
    let encoded = || {
        let arrays = source.arrays.lock();
        Columns::Single(EncodedRows {
            format: Arc::clone(source.formats.elements()),
            len: 6,
            chunks: arrays["1"].chunks.clone().into_iter().collect(),
        })
    };
    let append_encoded = |start, more: bool| {
        target.commit(&mut SeriesCache::new(), |series, _| {
            series.append_encoded(&target.key, start, encoded())?;
            match more {
                true => series.append(batch(&[9], 6), None),
                false => Ok(()),
            }
        })
    };
    assert_eq!(
        append_encoded(2, false).unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(
        append_encoded(0, true).unwrap_err().kind(),
        ErrorKind::Internal
    );
    append_encoded(0, false).unwrap();
    let view = view_of(&shared, &target.key).unwrap();
    check(&*view, &numbers).unwrap();
    // Records in the tail are not replaced.
    append(target, &[6], 6).unwrap();
    assert_eq!(
        append_encoded(7, false).unwrap_err().kind(),
        ErrorKind::Internal
    );
}

#[test]
fn a_series_that_is_committed_to_record_by_record_has_few_frames_and_writes_little() {
    const COMMITS: u64 = 100_000;
    let store = MemoryStore::new(Schema::scalar::<u64>(), &[1 << 20], true);
    let store = Arc::new(ProcessLocal::new(store));
    let this = store.get("test").unwrap();
    let mut cache = SeriesCache::new();
    let columns = this.columns().map(|view| Ok(view.column)).unwrap();
    let stored = Series {
        kind: Kind::Array,
        columns,
    };
    for number in 0..COMMITS {
        let batch = Batch::new(this.key.clone(), number, records(&this.schema, &[number]));
        let mut series = SeriesChanges::default();
        let appended = series
            .series(&this.key, &cache, || Ok(stored.clone()))
            .unwrap();
        appended.append(Arc::new(batch), None).unwrap();
        let mut arrays = this.arrays.lock();
        cache.extend(series.finish(&mut Changes(&mut arrays)).unwrap());
    }
    let view = view_of(&store, &this.key).unwrap();
    check(&*view, &(0..COMMITS).collect::<Vec<_>>()).unwrap();
    let array = &this.arrays.lock()["1"];
    assert!(frame_sizes(&array.tail, 0).unwrap().len() <= MAX_FRAMES);
    // Each record once for each tier, of which there are five, and the frames around them.
    assert!(
        array.tail_written < COMMITS as usize * (5 * 8 + 2 * 28),
        "{}",
        array.tail_written
    );
    assert!(array.tail.len() < COMMITS as usize * 8 + MAX_FRAMES * 28);
}

#[test]
fn a_layout_that_no_memory_could_hold_is_refused() {
    let grid = ChunkGrid::new(vec![u64::MAX, 2], vec![2]);
    let layout = ColumnLayout::new(Some(DType::F64), grid, None, None);
    assert_eq!(layout.unwrap_err().kind(), ErrorKind::Corrupt);
}
