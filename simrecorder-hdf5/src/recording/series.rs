//! Loads series from the file.

use std::sync::Arc;

use serde_json::Value as Json;
use simrecorder_core::backend::columns::{Columns, ENDS_DTYPE};
use simrecorder_core::{ArrayValue, Compression, Error, ErrorKind, Kind, Result, Schema};

use crate::columns::reading::Column;
use crate::format::attributes::read_attributes;
use crate::format::dataset::Dataset;
use crate::format::dataset_format::{DatasetFormat, RowFormat};
use crate::format::foreign_dimensions::dimension_names;
use crate::format::node::StoredNode;
use crate::format::node_path::{ENDS, ITEMS, part_path};
use crate::format::tail::Tails;
use crate::format::variable::VariableType;
use crate::library::open_object;
use crate::recording::new_series::NewSeries;

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

impl LoadedColumn {
    /// Checks that records can be appended.
    pub(crate) fn check_grows(&self) -> Result<()> {
        match self.column.format.may_be_short(self.column.stored) {
            true => Ok(()),
            false => self.dataset.check_grows(),
        }
    }
}

/// Loads the series at `path`.
pub(crate) fn load(found: &StoredNode, path: &str, tails: &Tails) -> Result<LoadedSeries> {
    let kind = found.stored_kind()?;
    let compression = stored_compression(found);
    if kind == Some(Kind::Ragged) {
        let part = |name: &str, member: &str| {
            let path = part_path(path, name);
            let object = open_object(&found.object, name)?;
            let dataset = Dataset::from_handle(object);
            let dataset = dataset.ok_or_else(|| corrupt(format!("'{name}' is not a dataset")))?;
            let normal = normal_chunk(found, member);
            // Rows of ragged records are never filled.
            let made = Made {
                is_ours: true,
                is_foreign: false,
                compression,
                normal,
                filled: 0,
            };
            let column = load_column(&dataset, &path, made, tails)?;
            Ok(LoadedColumn { column, dataset })
        };
        let (ends, items) = (part(ENDS, ENDS_CHUNK)?, part(ITEMS, CHUNK)?);
        let of_ends = ends.column.layout();
        let is_of_ends =
            of_ends.dtype == Some(ENDS_DTYPE) && of_ends.grid.record_shape().is_empty();
        if !is_of_ends || items.column.layout().dtype.is_none() {
            return Err(corrupt("the datasets of the series do not match its kind"));
        }
        let columns = Columns::Ragged { ends, items };
        return with_schema(found, path, Kind::Ragged, columns);
    }
    let Some(dataset) = Dataset::borrow(&found.object)? else {
        return Err(corrupt("a group is marked as a series"));
    };
    let made = Made {
        is_ours: found.metadata.is_some(),
        is_foreign: kind.is_none(),
        compression,
        normal: normal_chunk(found, CHUNK),
        filled: filled_rows(found),
    };
    let column = load_column(&dataset, path, made, tails)?;
    let kind = match (&column.format.rows, kind) {
        (RowFormat::Elements(_), None | Some(Kind::Array)) => Kind::Array,
        (RowFormat::Variable(type_), None | Some(Kind::Text)) if type_.is_text() => Kind::Text,
        (RowFormat::Variable(VariableType::Bytes), None | Some(Kind::Bytes)) => Kind::Bytes,
        (RowFormat::Variable(VariableType::Bytes), Some(Kind::Object)) => Kind::Object,
        (_, kind) => {
            let kind = kind.map_or("none", Kind::as_str);
            return Err(corrupt(format!(
                "the contents do not match a series of kind {kind}"
            )));
        }
    };
    with_schema(
        found,
        path,
        kind,
        Columns::Single(LoadedColumn { column, dataset }),
    )
}

/// The columns of the series at `path`, which has no datasets yet: all of its rows are in tails, or
/// filled.
pub(crate) fn declared_columns(
    series: &NewSeries,
    path: &str,
    tails: &Tails,
) -> Result<Columns<Column>> {
    series
        .columns(path)
        .map(|(path, format)| column(&path, format, series.filled, series.filled, tails))
}

fn with_schema(
    found: &StoredNode,
    path: &str,
    kind: Kind,
    columns: Columns<LoadedColumn>,
) -> Result<LoadedSeries> {
    let layout = columns.elements().column.layout();
    let mut schema = add_metadata(layout.schema(kind)?, found, layout.fill_value.as_deref())?;
    if schema.dimension_names().is_none()
        && found.stored_kind()?.is_none()
        && let Some(names) = dimension_names(&found.object, path, schema.axes())
    {
        schema = schema.with_dimension_names(names);
    }
    Ok(LoadedSeries { schema, columns })
}

fn stored_compression(found: &StoredNode) -> Option<Compression> {
    let metadata = found.metadata.as_ref()?;
    metadata.get("compression")?.as_str()?.parse().ok()
}

/// Adds the contents of the series' metadata to a schema.
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

/// The member of the metadata with the number of filled records.
pub(crate) const FILLED: &str = "filled";

fn filled_rows(found: &StoredNode) -> u64 {
    let metadata = found.metadata.as_ref();
    let filled = metadata.and_then(|metadata| metadata.get(FILLED)?.as_u64());
    filled.unwrap_or(0)
}

/// The members of the metadata with the shapes of chunks.
pub(crate) const CHUNK: &str = "chunk_shape";
pub(crate) const ENDS_CHUNK: &str = "ends_chunk_shape";

/// The shape of the chunks of a dataset, now or when it is no longer short.
fn normal_chunk(found: &StoredNode, member: &str) -> Option<Vec<u64>> {
    let metadata = found.metadata.as_ref()?;
    metadata.get("kind")?;
    shape_of(metadata.get(member)?)
}

pub(crate) fn shape_of(value: &Json) -> Option<Vec<u64>> {
    value.as_array()?.iter().map(Json::as_u64).collect()
}

/// What the metadata of a series says about one of its datasets.
struct Made {
    /// Whether this library created it.
    is_ours: bool,
    /// Whether its chunks may be missing.
    is_foreign: bool,
    compression: Option<Compression>,
    normal: Option<Vec<u64>>,
    /// The number of filled rows at its beginning.
    filled: u64,
}

/// Loads a column from its dataset.
fn load_column(dataset: &Dataset, path: &str, made: Made, tails: &Tails) -> Result<Column> {
    let description = dataset.describe()?;
    let Made {
        is_ours,
        is_foreign,
        compression,
        normal,
        filled,
    } = made;
    let format = DatasetFormat::of_stored(&description, compression, normal, is_ours, is_foreign)?;
    let Some(stored) = description.shape.first().copied() else {
        return Err(corrupt("the dataset of a series has no axis"));
    };
    column(path, Arc::new(format), stored, filled, tails)
}

/// A column with this many rows in its dataset, of which the first may be filled, and the rows of
/// its tail.
fn column(
    path: &str,
    format: Arc<DatasetFormat>,
    stored: u64,
    filled: u64,
    tails: &Tails,
) -> Result<Column> {
    let tail = tails.get(path);
    let column = Column::new(path, format, stored, tail.map_or(0, |tail| tail.row_count))?;
    let column = column.with_filled(filled);
    Ok(match tail {
        Some(tail) => column.with_frames(tail.frames()),
        None => column,
    })
}
