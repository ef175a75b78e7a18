//! New series: planning them, declaring them in the journal, and creating their datasets.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use simrecorder_core::backend::columns::{ColumnFormat, Columns, ENDS_DTYPE, ragged_chunk_shapes};
use simrecorder_core::backend::errors::check_filled;
use simrecorder_core::backend::{ChunkGrid, Rows};
use simrecorder_core::{
    ArrayValue, Attributes, ChunkPolicy, Compression, DType, Error, ErrorKind, Kind, Result,
    Schema, Value,
};

use crate::format::attributes::{Metadata, write_attributes, write_new_metadata};
use crate::format::dataset_format::DatasetFormat;
use crate::format::declared::Declaration;
use crate::format::node::{create_group, dimension_names_of};
use crate::format::node_path::{ENDS, ITEMS, part_path};
use crate::format::scales::{self, write_axis_labels};
use crate::format::variable::VariableType;
use crate::library::{Handle, MAX_AXES, has_link, open_object};
use crate::recording::series::{CHUNK, ENDS_CHUNK, FILLED, shape_of};

/// How a new series will be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewSeries {
    pub(crate) schema: Schema,
    compression: Compression,
    columns: Columns<Arc<DatasetFormat>>,
    /// The number of filled records at its beginning.
    pub(crate) filled: u64,
}

/// The shapes of the chunks of a series.
enum Chunks {
    Single(Vec<u64>),
    Ragged { ends: Vec<u64>, items: Vec<u64> },
}

impl NewSeries {
    /// Plans a series, or fails if HDF5 cannot store it.
    pub(crate) fn plan(
        schema: &Schema,
        policy: &ChunkPolicy,
        compression: Compression,
    ) -> Result<Self> {
        schema.check()?;
        let policy = schema.chunk_policy().unwrap_or(policy);
        let compression = schema.compression().unwrap_or(compression);
        if schema.record_shape().len() >= MAX_AXES {
            let message =
                format!("HDF5 supports at most {MAX_AXES} axes, including the axis of records");
            return Err(Error::new(ErrorKind::Unsupported, "plan", message));
        }
        let size = schema.dtype().map_or(1, DType::size);
        let chunks = match schema.kind() {
            Kind::Array => Chunks::Single(policy.chunk_shape(schema.record_shape(), size)?),
            Kind::Ragged => {
                let (ends, items) = ragged_chunk_shapes(policy, schema)?;
                Chunks::Ragged { ends, items }
            }
            _ => Chunks::Single(Vec::new()),
        };
        Self::with_chunks(schema.clone(), compression, chunks)
    }

    fn with_chunks(schema: Schema, compression: Compression, chunks: Chunks) -> Result<Self> {
        let fill_value = schema.fill_value().and_then(Value::as_array);
        let fill_value = fill_value.map(|value| value.as_bytes().to_vec());
        let elements = |dtype, shape: &[u64], chunk, fill| {
            let grid = ChunkGrid::new(chunk, shape.to_vec());
            DatasetFormat::of_elements(dtype, grid, compression, fill).map(Arc::new)
        };
        let dtype = schema.dtype().unwrap_or(DType::U8);
        let shape = schema.record_shape();
        let columns = match (schema.kind(), chunks) {
            (_, Chunks::Ragged { ends, items }) => Columns::Ragged {
                ends: elements(ENDS_DTYPE, &[], ends, None)?,
                items: elements(dtype, shape, items, fill_value)?,
            },
            (Kind::Array, Chunks::Single(chunk)) => {
                Columns::Single(elements(dtype, shape, chunk, fill_value)?)
            }
            (Kind::Text, _) => Columns::Single(Arc::new(DatasetFormat::of_text()?)),
            _ => {
                let bytes = DatasetFormat::of_variable(VariableType::Bytes)?;
                Columns::Single(Arc::new(bytes))
            }
        };
        Ok(Self {
            schema,
            compression,
            columns,
            filled: 0,
        })
    }

    /// The same plan with `filled` filled records, which only a series of arrays may have.
    pub(crate) fn with_filled(self, filled: u64) -> Self {
        Self { filled, ..self }
    }

    /// The formats of the datasets.
    pub(crate) fn into_formats(self) -> Columns<Arc<DatasetFormat>> {
        self.columns
    }

    /// The paths of the datasets, and their formats.
    pub(crate) fn columns(&self, path: &str) -> Columns<(String, Arc<DatasetFormat>)> {
        match &self.columns {
            Columns::Single(format) => Columns::Single((path.to_owned(), Arc::clone(format))),
            Columns::Ragged { ends, items } => Columns::Ragged {
                ends: (part_path(path, ENDS), Arc::clone(ends)),
                items: (part_path(path, ITEMS), Arc::clone(items)),
            },
        }
    }

    /// Creates the datasets of the series at `path`, whose group exists. `rows` are all rows of
    /// each; those of datasets that are not short are left out.
    pub(crate) fn create(
        &self,
        root: &Handle,
        path: &str,
        cut_base: u64,
        rows: &Columns<Rows>,
    ) -> Result<()> {
        let create = |format: &DatasetFormat, group: &Handle, name: &str, rows: &Rows| {
            let rows = match format.is_short(rows.count, 0) {
                true => rows,
                false => &Rows::default(),
            };
            let dataset = format.make(rows.count, rows.count > 0, |new| new.create(group, name))?;
            format.write(&dataset, 0, rows.as_rows_ref())?;
            if rows.count == 0 && self.filled > 0 {
                dataset.set_len(self.filled)?;
            }
            if cut_base > 0 {
                dataset.set_cut_count(cut_base)?;
            }
            Ok::<_, Error>(dataset.into_handle())
        };
        // A dimension without values is replaced.
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let removed = match has_link(root, path)? {
            true => {
                let above = format!("{above}/");
                scales::make_room(&open_object(root, &above)?, name)?
            }
            false => scales::RemovedScale::default(),
        };
        let names = self.schema.dimension_names();
        let label =
            |object: &Handle| names.map_or(Ok(()), |names| write_axis_labels(object, names));
        let object = match (&self.columns, rows) {
            (Columns::Ragged { ends, items }, rows) => {
                let object = create_group(root, path)?;
                label(&create(ends, &object, ENDS, rows.records())?)?;
                create(items, &object, ITEMS, rows.elements())?;
                object
            }
            (Columns::Single(format), rows) => {
                let object = create(format, root, path, rows.records())?;
                label(&object)?;
                object
            }
        };
        let mut metadata = self.metadata();
        write_attributes(&object, self.schema.attributes(), &mut metadata)?;
        write_new_metadata(&object, metadata)?;
        removed.replace_with(root, &object, name)
    }

    /// The metadata of the series.
    fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("node".into(), json!("series"));
        metadata.insert("kind".into(), json!(self.schema.kind().as_str()));
        if let Some(names) = self.schema.dimension_names() {
            metadata.insert("dimension_names".into(), json!(names));
        }
        if self.schema.fill_value().is_some() {
            metadata.insert("fill_value".into(), json!(true));
        }
        if self.filled > 0 {
            metadata.insert(FILLED.into(), json!(self.filled));
        }
        // Text and bytes are stored in heaps, which have no filters. The metadata keeps the
        // requested compression anyway.
        metadata.insert("compression".into(), json!(self.compression.to_string()));
        let chunk = |format: &DatasetFormat| json!(format.layout().grid.chunk_shape());
        metadata.insert(CHUNK.into(), chunk(self.columns.elements()));
        if let Columns::Ragged { ends, .. } = &self.columns {
            metadata.insert(ENDS_CHUNK.into(), chunk(ends));
        }
        metadata
    }

    // ---- declarations ------------------------------------------------------------------------

    /// The complete plan, for the journal.
    pub(crate) fn declaration(&self, cut_base: u64) -> Declaration {
        let schema = &self.schema;
        let mut all = self.metadata();
        all.insert("dtype".into(), json!(schema.dtype().map(DType::as_str)));
        all.insert("record_shape".into(), json!(schema.record_shape()));
        if let Some(fill) = schema.fill_value().and_then(Value::as_array) {
            all.insert("fill_value".into(), json!(fill.as_bytes()));
        }
        if !schema.attributes().is_empty() {
            let attributes = Json::Object(schema.attributes().clone());
            all.insert("attributes".into(), attributes);
        }
        let text = Json::Object(all).to_string();
        Declaration::new(cut_base, &text, self.filled > 0)
    }

    /// Decodes a [`declaration`](Self::declaration).
    pub(crate) fn decode(declaration: &Declaration) -> Result<Self> {
        let damaged = || {
            let message = "the declaration of the series in the journal is damaged";
            Error::new(ErrorKind::Corrupt, "read", message)
        };
        let all: Metadata = serde_json::from_str(declaration.text())
            .map_err(|error| damaged().with_source(error))?;
        let text = |name: &str| all.get(name).and_then(Json::as_str);
        let shape = |name: &str| all.get(name).and_then(shape_of).ok_or_else(damaged);
        let kind: Kind = text("kind").ok_or_else(damaged)?.parse()?;
        let compression: Compression = text("compression").ok_or_else(damaged)?.parse()?;
        let dtype: Option<DType> = text("dtype").map(str::parse).transpose()?;
        let record_shape = shape("record_shape")?;
        let mut schema = match (kind, dtype) {
            (Kind::Array, Some(dtype)) => Schema::array_of(dtype, record_shape),
            (Kind::Ragged, Some(dtype)) => Schema::ragged_of(dtype, record_shape),
            (Kind::Text, _) => Schema::text(),
            (Kind::Bytes, _) => Schema::bytes(),
            (Kind::Object, _) => Schema::object(),
            _ => return Err(damaged()),
        };
        if let Some(names) = dimension_names_of(&all) {
            schema = schema.with_dimension_names(names);
        }
        if let (Some(fill), Some(dtype)) = (all.get("fill_value"), dtype) {
            let bytes: Vec<u8> = serde_json::from_value(fill.clone())
                .map_err(|error| damaged().with_source(error))?;
            schema = schema.with_fill_value_of(ArrayValue::from_bytes(dtype, Vec::new(), bytes)?);
        }
        let attributes = match all.get("attributes") {
            Some(Json::Object(attributes)) => attributes.clone(),
            _ => Attributes::new(),
        };
        let schema = schema
            .with_compression(compression)
            .with_attributes(attributes);
        schema
            .check()
            .map_err(|error| damaged().with_source(error))?;
        let axes = schema.record_shape().len() + 1;
        let is_chunk = |chunk: &Vec<u64>| chunk.len() == axes && !chunk.contains(&0);
        let chunk = shape(CHUNK)?;
        if schema.dtype().is_some() && (!is_chunk(&chunk) || axes > MAX_AXES) {
            return Err(damaged());
        }
        let chunks = match kind {
            Kind::Ragged => Chunks::Ragged {
                ends: Some(shape(ENDS_CHUNK)?)
                    .filter(|ends| ends.len() == 1 && ends[0] > 0)
                    .ok_or_else(damaged)?,
                items: chunk,
            },
            _ => Chunks::Single(chunk),
        };
        let filled = all.get(FILLED).and_then(Json::as_u64).unwrap_or(0);
        check_filled(&schema, filled).map_err(|error| damaged().with_source(error))?;
        Ok(Self::with_chunks(schema, compression, chunks)?.with_filled(filled))
    }
}
