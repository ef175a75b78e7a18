//! Series: loading them from the file, and creating them.

use std::sync::Arc;

use serde_json::json;
use simrecorder_core::backend::ChunkGrid;
use simrecorder_core::backend::columns::{ColumnFormat, Columns, ENDS_DTYPE, ragged_chunk_shapes};
use simrecorder_core::{
    ArrayValue, ChunkPolicy, Compression, DType, Error, ErrorKind, Key, Kind, Result, Schema, Value,
};

use crate::columns::reading::Column;
use crate::format::attributes::{
    Metadata, read_attributes, read_metadata, write_attributes, write_metadata,
};
use crate::format::dataset::{Dataset, NewDataset};
use crate::format::dataset_format::{DatasetFormat, RowFormat};
use crate::format::datatype::{bytes_type, text_type};
use crate::format::filters::Pipeline;
use crate::format::node::{StoredNode, create_group};
use crate::format::node_path::{ENDS, ITEMS, part_path};
use crate::format::scales::write_axis_labels;
use crate::format::tail::Tails;
use crate::format::variable::VariableType;
use crate::library::{Handle, MAX_AXES, open_object};

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "read", message)
}

/// A series in the file.
pub(crate) struct LoadedSeries {
    pub(crate) schema: Schema,
    pub(crate) columns: Columns<LoadedColumn>,
}

/// A column in the file.
pub(crate) struct LoadedColumn {
    pub(crate) column: Column,
    pub(crate) dataset: Dataset,
}

/// Loads the series at `path`.
pub(crate) fn load(found: &StoredNode, path: &str, tails: &Tails) -> Result<LoadedSeries> {
    let kind = found.stored_kind()?;
    let compression = stored_compression(found);
    if kind == Some(Kind::Ragged) {
        let part = |name: &str| {
            let path = part_path(path, name);
            let object = open_object(&found.object, name)?;
            let dataset = Dataset::from_handle(object);
            let dataset = dataset.ok_or_else(|| corrupt(format!("'{name}' is no dataset")))?;
            let column = load_column(&dataset, &path, true, false, compression, tails)?;
            Ok(LoadedColumn { column, dataset })
        };
        let (ends, items) = (part(ENDS)?, part(ITEMS)?);
        let of_ends = ends.column.layout();
        let is_of_ends =
            of_ends.dtype == Some(ENDS_DTYPE) && of_ends.grid.record_shape().is_empty();
        if !is_of_ends || items.column.layout().dtype.is_none() {
            return Err(corrupt("the datasets of the series do not fit its kind"));
        }
        let columns = Columns::Ragged { ends, items };
        return with_schema(found, Kind::Ragged, columns);
    }
    let Some(dataset) = Dataset::borrow(&found.object)? else {
        return Err(corrupt("a group is marked as a series"));
    };
    let is_ours = found.metadata.is_some();
    let column = load_column(&dataset, path, is_ours, kind.is_none(), compression, tails)?;
    let kind = match (&column.format.rows, kind) {
        (RowFormat::Elements(_), None | Some(Kind::Array)) => Kind::Array,
        (RowFormat::Variable(type_), None | Some(Kind::Text)) if type_.is_text() => Kind::Text,
        (RowFormat::Variable(VariableType::Bytes), None | Some(Kind::Bytes)) => Kind::Bytes,
        (RowFormat::Variable(VariableType::Bytes), Some(Kind::Object)) => Kind::Object,
        (_, kind) => {
            let kind = kind.map_or("none", Kind::as_str);
            return Err(corrupt(format!(
                "a series of kind {kind} holds something else"
            )));
        }
    };
    with_schema(
        found,
        kind,
        Columns::Single(LoadedColumn { column, dataset }),
    )
}

fn with_schema(
    found: &StoredNode,
    kind: Kind,
    columns: Columns<LoadedColumn>,
) -> Result<LoadedSeries> {
    let layout = columns.elements().column.layout();
    let schema = add_metadata(layout.schema(kind)?, found, layout.fill_value.as_deref())?;
    Ok(LoadedSeries { schema, columns })
}

fn stored_compression(found: &StoredNode) -> Option<Compression> {
    let metadata = found.metadata.as_ref()?;
    metadata.get("compression")?.as_str()?.parse().ok()
}

/// Adds to a schema what the metadata of the series says.
fn add_metadata(
    mut schema: Schema,
    found: &StoredNode,
    fill_value: Option<&[u8]>,
) -> Result<Schema> {
    let metadata = found.metadata.as_ref();
    if let Some(names) = found.dimension_names() {
        schema = schema.with_dimension_names(names);
    }
    if let (true, Some(value), Some(dtype)) =
        (found.has_flag("fill_value"), fill_value, schema.dtype())
    {
        let value = ArrayValue::from_bytes(dtype, Vec::new(), value.to_vec())?;
        schema = schema.with_fill_value_of(value);
    }
    if let Some(compression) = stored_compression(found) {
        schema = schema.with_compression(compression);
    }
    Ok(schema.with_attributes(read_attributes(&found.object, metadata)?))
}

/// Whether this library made the dataset at `path`, whose metadata is given, for a series.
pub(crate) fn is_made_here(root: &Handle, path: &str, metadata: Option<&Metadata>) -> Result<bool> {
    let has_kind = |metadata: &Metadata| metadata.contains_key("kind");
    if metadata.is_some_and(has_kind) {
        return Ok(true);
    }
    // The parts of a ragged series have no metadata, their group has.
    let Some((group, _)) = path.rsplit_once('/').filter(|(group, _)| !group.is_empty()) else {
        return Ok(false);
    };
    let group = read_metadata(&open_object(root, group)?)?;
    Ok(group.as_ref().is_some_and(has_kind))
}

/// Loads a column from its dataset. `is_ours` says whether this library made the dataset,
/// `is_foreign` whether its chunks may be missing.
pub(crate) fn load_column(
    dataset: &Dataset,
    path: &str,
    is_ours: bool,
    is_foreign: bool,
    compression: Option<Compression>,
    tails: &Tails,
) -> Result<Column> {
    let description = dataset.describe()?;
    let format = DatasetFormat::of_stored(&description, compression, is_ours, is_foreign)?;
    let Some(stored) = description.shape.first().copied() else {
        return Err(corrupt("the dataset of a series has no axis"));
    };
    let tail = tails.get(path).map_or(0, |tail| tail.row_count);
    Column::new(path, Arc::new(format), stored, tail)
}

/// How a new series is going to be stored.
#[derive(Debug)]
pub(crate) struct NewSeries<'a> {
    schema: &'a Schema,
    compression: Compression,
    columns: Columns<DatasetFormat>,
}

impl<'a> NewSeries<'a> {
    /// Plans a series, or says why HDF5 cannot hold it.
    pub(crate) fn plan(
        schema: &'a Schema,
        policy: &ChunkPolicy,
        compression: Compression,
    ) -> Result<Self> {
        schema.check()?;
        let policy = schema.chunk_policy().unwrap_or(policy);
        let compression = schema.compression().unwrap_or(compression);
        let fill_value = schema.fill_value().and_then(Value::as_array);
        let fill_value = fill_value.map(|value| value.as_bytes().to_vec());
        if schema.record_shape().len() >= MAX_AXES {
            let message = format!("HDF5 has at most {MAX_AXES} axes, the one of records included");
            return Err(Error::new(ErrorKind::Unsupported, "plan", message));
        }
        let elements = |dtype, record_shape: &[u64], chunk_shape, fill| {
            let grid = ChunkGrid::new(chunk_shape, record_shape.to_vec());
            DatasetFormat::of_elements(dtype, grid, compression, fill)
        };
        let dtype = schema.dtype().unwrap_or(DType::U8);
        let shape = schema.record_shape();
        let columns = match schema.kind() {
            Kind::Array => {
                let chunk = policy.chunk_shape(shape, dtype.size())?;
                Columns::Single(elements(dtype, shape, chunk, fill_value)?)
            }
            Kind::Ragged => {
                let (ends_chunk, item_chunk) = ragged_chunk_shapes(policy, schema)?;
                Columns::Ragged {
                    ends: elements(ENDS_DTYPE, &[], ends_chunk, None)?,
                    items: elements(dtype, shape, item_chunk, fill_value)?,
                }
            }
            Kind::Text => Columns::Single(DatasetFormat::of_text()?),
            _ => Columns::Single(DatasetFormat::of_variable(VariableType::Bytes)?),
        };
        Ok(Self {
            schema,
            compression,
            columns,
        })
    }

    /// The formats of the datasets.
    pub(crate) fn into_formats(self) -> Columns<Arc<DatasetFormat>> {
        match self.columns {
            Columns::Single(format) => Columns::Single(Arc::new(format)),
            Columns::Ragged { ends, items } => Columns::Ragged {
                ends: Arc::new(ends),
                items: Arc::new(items),
            },
        }
    }

    /// Makes the datasets of the series in a group, whose cuts are counted from `cut_base` on; returns the
    /// object of the series.
    pub(crate) fn create(&self, group: &Handle, key: &Key, cut_base: u64) -> Result<Handle> {
        let name = key.name();
        let object = match &self.columns {
            Columns::Single(format) => create_dataset(format, group, name, cut_base)?.into_handle(),
            Columns::Ragged { ends, items } => {
                let object = create_group(group, name)?;
                create_dataset(ends, &object, ENDS, cut_base)?;
                create_dataset(items, &object, ITEMS, cut_base)?;
                object
            }
        };
        let mut metadata = self.metadata();
        write_attributes(&object, self.schema.attributes(), &mut metadata)?;
        write_metadata(&object, metadata)?;
        if let Some(names) = self.schema.dimension_names() {
            match self.columns {
                Columns::Single(_) => write_axis_labels(&object, names)?,
                Columns::Ragged { .. } => write_axis_labels(&open_object(&object, ENDS)?, names)?,
            }
        }
        Ok(object)
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
        // Text and bytes lie in heaps, which have no filters; it is what was asked for all the same.
        metadata.insert("compression".into(), json!(self.compression.to_string()));
        metadata
    }
}

fn create_dataset(
    format: &DatasetFormat,
    group: &Handle,
    name: &str,
    cut_base: u64,
) -> Result<Dataset> {
    let none = Pipeline::default();
    let (type_, pipeline) = match &format.rows {
        RowFormat::Elements(elements) => (
            elements.memory.share()?,
            elements.pipeline.as_ref().unwrap_or(&none),
        ),
        RowFormat::Variable(VariableType::Bytes) => (bytes_type()?, &none),
        RowFormat::Variable(_) => (text_type(None)?, &none),
    };
    let layout = format.layout();
    let new = NewDataset {
        type_: &type_,
        shape: &layout.shape(0),
        chunks: Some((layout.grid.chunk_shape(), pipeline)),
        fill_value: layout.fill_value.as_deref(),
    };
    let dataset = new.create(group, name)?;
    if cut_base > 0 {
        dataset.set_cut_count(cut_base)?;
    }
    Ok(dataset)
}
