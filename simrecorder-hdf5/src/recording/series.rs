//! Series: loading them from the file, and creating them.

use serde_json::json;
use simrecorder_core::backend::ChunkGrid;
use simrecorder_core::{
    ArrayValue, ChunkPolicy, Compression, DType, Error, ErrorKind, Key, Kind, Result, Schema, Value,
};

use crate::columns::Columns;
use crate::columns::column::{Column, ColumnLayout, VARIABLE_CHUNK_ROWS};
use crate::format::attributes::{
    Metadata, read_attributes, read_metadata, write_attributes, write_metadata,
};
use crate::format::dataset::{Dataset, NewDataset};
use crate::format::datatype::{bytes_type, text_type};
use crate::format::filters::Pipeline;
use crate::format::layout::Layout;
use crate::format::node::{StoredNode, create_group};
use crate::format::node_path::{ENDS, ITEMS, part_path};
use crate::format::tail::Tails;
use crate::format::variable::Variable;
use crate::library::{Handle, MAX_AXES, open_object};

use std::sync::Arc;

/// The element type of the ends of records.
pub(crate) const ENDS_DTYPE: DType = DType::U64;

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "read", message)
}

/// A series as it stands in the file, its attributes left out.
pub(crate) struct StoredSeries {
    pub(crate) schema: Schema,
    pub(crate) columns: Columns<Column>,
}

/// Loads the series at `path`.
pub(crate) fn load(found: &StoredNode, path: &str, tails: &Tails) -> Result<StoredSeries> {
    let kind = found.stored_kind()?;
    let compression = stored_compression(found);
    if kind == Some(Kind::Ragged) {
        let part = |name: &str| {
            let path = part_path(path, name);
            let object = open_object(&found.object, name)?;
            let dataset = Dataset::from_handle(object);
            let dataset = dataset.ok_or_else(|| corrupt(format!("'{name}' is no dataset")))?;
            load_column(&dataset, &path, true, false, compression, tails)
        };
        let (ends, items) = (part(ENDS)?, part(ITEMS)?);
        let (ColumnLayout::Elements(layout), ColumnLayout::Elements(of_ends)) =
            (&items.layout, &ends.layout)
        else {
            return Err(corrupt("the datasets of the series do not fit its kind"));
        };
        if of_ends.dtype != ENDS_DTYPE || !of_ends.grid.record_shape().is_empty() {
            return Err(corrupt("the datasets of the series do not fit its kind"));
        }
        let schema = Schema::ragged_of(layout.dtype, layout.grid.record_shape());
        return Ok(StoredSeries {
            schema: add_metadata(schema, found, layout.fill_value())?,
            columns: Columns::Two { ends, items },
        });
    }
    let Some(dataset) = Dataset::borrow(&found.object)? else {
        return Err(corrupt("a group is marked as a series"));
    };
    let column = load_column(
        &dataset,
        path,
        found.metadata.is_some(),
        kind.is_none(),
        compression,
        tails,
    )?;
    let schema = match (&column.layout, kind) {
        (ColumnLayout::Elements(layout), None | Some(Kind::Array)) => {
            let schema = Schema::array_of(layout.dtype, layout.grid.record_shape());
            add_metadata(schema, found, layout.fill_value())?
        }
        (ColumnLayout::Variable(text), None | Some(Kind::Text)) if text.is_text() => {
            add_metadata(Schema::text(), found, None)?
        }
        (ColumnLayout::Variable(Variable::Bytes), None | Some(Kind::Bytes)) => {
            add_metadata(Schema::bytes(), found, None)?
        }
        (ColumnLayout::Variable(Variable::Bytes), Some(Kind::Object)) => {
            add_metadata(Schema::object(), found, None)?
        }
        (_, kind) => {
            let kind = kind.map_or("none", Kind::as_str);
            return Err(corrupt(format!(
                "a series of kind {kind} holds something else"
            )));
        }
    };
    Ok(StoredSeries {
        schema,
        columns: Columns::One(column),
    })
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
    if let Some(names) = metadata.and_then(|metadata| metadata.get("dimension_names")?.as_array()) {
        let names = names.iter().map(|name| name.as_str().map(str::to_owned));
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

pub(crate) fn load_column(
    dataset: &Dataset,
    path: &str,
    is_ours: bool,
    is_foreign: bool,
    compression: Option<Compression>,
    tails: &Tails,
) -> Result<Column> {
    let description = dataset.describe()?;
    let layout = match Variable::of(&description.type_, is_ours) {
        None => {
            ColumnLayout::Elements(Arc::new(Layout::of(&description, compression, is_foreign)?))
        }
        Some(variable) if description.shape.len() == 1 => ColumnLayout::Variable(variable),
        Some(_) => {
            let message = "text and bytes with more than one axis are not read";
            return Err(Error::new(ErrorKind::Unsupported, "read", message));
        }
    };
    let Some(stored) = description.shape.first().copied() else {
        return Err(corrupt("the dataset of a series has no axis"));
    };
    let tail = tails.get(path).map_or(0, |tail| tail.row_count);
    Column::new(path, layout, stored, tail, dataset.cuts()?)
}

/// How a new series is going to be stored.
#[derive(Debug)]
pub(crate) struct NewSeries<'a> {
    schema: &'a Schema,
    compression: Compression,
    columns: Columns<ColumnLayout>,
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
        let elements = |dtype: DType, record_shape: &[u64], policy: &ChunkPolicy, fill| {
            let chunk_shape = policy.chunk_shape(record_shape, dtype.size())?;
            let grid = ChunkGrid::new(chunk_shape, record_shape.to_vec());
            Layout::new(dtype, grid, compression, fill)
                .map(|it| ColumnLayout::Elements(Arc::new(it)))
        };
        let dtype = schema.dtype().unwrap_or(DType::U8);
        let text = || -> Result<ColumnLayout> {
            Ok(ColumnLayout::Variable(Variable::Text {
                memory: Arc::new(text_type(None)?),
                escaped: true,
            }))
        };
        let columns = match schema.kind() {
            Kind::Array => {
                Columns::One(elements(dtype, schema.record_shape(), policy, fill_value)?)
            }
            Kind::Ragged => {
                // A number of records says nothing about how many items they have.
                let by_size = match policy.fixed_records() {
                    Some(_) => &ChunkPolicy::default(),
                    None => policy,
                };
                Columns::Two {
                    ends: elements(ENDS_DTYPE, &[], &one_axis(policy), None)?,
                    items: elements(dtype, schema.record_shape(), by_size, fill_value)?,
                }
            }
            Kind::Text => Columns::One(text()?),
            _ => Columns::One(ColumnLayout::Variable(Variable::Bytes)),
        };
        Ok(Self {
            schema,
            compression,
            columns,
        })
    }

    pub(crate) fn record_layout(&self) -> &ColumnLayout {
        self.columns.record_column()
    }

    /// Makes the datasets of the series in a group.
    pub(crate) fn create(&self, group: &Handle, key: &Key) -> Result<()> {
        let name = key.name();
        let object = match &self.columns {
            Columns::One(layout) => create_dataset(layout, group, name)?.into_handle(),
            Columns::Two { ends, items } => {
                let object = create_group(group, name)?;
                create_dataset(ends, &object, ENDS)?;
                create_dataset(items, &object, ITEMS)?;
                object
            }
        };
        let mut metadata = self.metadata();
        write_attributes(&object, self.schema.attributes(), &mut metadata)?;
        write_metadata(&object, metadata)
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

/// The policy for the ends of records: a chunk shape of several axes says how many records.
fn one_axis(policy: &ChunkPolicy) -> ChunkPolicy {
    match policy.fixed_records() {
        Some(record_count) => ChunkPolicy::records(record_count),
        None => policy.clone(),
    }
}

fn create_dataset(layout: &ColumnLayout, group: &Handle, name: &str) -> Result<Dataset> {
    match layout {
        ColumnLayout::Elements(layout) => {
            let mut shape = vec![0];
            shape.extend(layout.grid.record_shape());
            let none = Pipeline::default();
            let new = NewDataset {
                type_: &layout.memory,
                shape: &shape,
                chunks: Some((
                    layout.grid.chunk_shape(),
                    layout.pipeline().unwrap_or(&none),
                )),
                fill_value: layout.fill_value(),
            };
            new.create(group, name)
        }
        ColumnLayout::Variable(variable) => {
            let type_ = match variable {
                Variable::Bytes => bytes_type()?,
                _ => text_type(None)?,
            };
            let new = NewDataset {
                type_: &type_,
                shape: &[0],
                chunks: Some((&[VARIABLE_CHUNK_ROWS], &Pipeline::default())),
                fill_value: None,
            };
            new.create(group, name)
        }
    }
}
