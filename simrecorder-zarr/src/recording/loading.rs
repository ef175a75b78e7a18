//! Loads series and their columns from their metadata.

use std::sync::Arc;

use simrecorder_core::backend::StoredForm;
use simrecorder_core::backend::columns::{ColumnFormat, Columns, ENDS_DTYPE, SeriesView};
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::{ArrayValue, DType, Error, Key, Kind, Result, Schema};

use crate::columns::encoded::SeriesEncoding;
use crate::columns::reading::{ArrayView, view_column};
use crate::format::array_format::{ArrayFormat, FormatCache};
use crate::format::metadata::{Document, corrupt};
use crate::format::node_path::{ENDS, ITEMS};
use crate::recording::Recording;
use crate::recording::documents::document_at;
use crate::storage::Snapshot;

/// Finds documents by their path.
pub(crate) type Find<'a> = &'a mut dyn FnMut(&str) -> Result<Option<Document>>;

/// The columns of the series at `path`, as a snapshot shows them.
pub(crate) fn load_columns(
    snapshot: &dyn Snapshot,
    path: &str,
    document: &Document,
    kind: Kind,
    formats: &FormatCache,
    find: Find<'_>,
) -> Result<Columns<ArrayView>> {
    if matches!(kind, Kind::Array | Kind::Text) {
        let view = view_column(snapshot, path, document, formats)?;
        if view.column.layout().dtype.is_none() != (kind == Kind::Text) {
            return Err(corrupt(format!("the array does not match the kind {kind}")));
        }
        return Ok(Columns::Single(view));
    }
    let mut part = |name: &str| {
        let path = format!("{path}/{name}");
        let document = find(&path)?.ok_or_else(|| missing_part(name))?;
        view_column(snapshot, &path, &document, formats)
    };
    let (ends, items) = (part(ENDS)?, part(ITEMS)?);
    let is_single = |view: &ArrayView, dtype| {
        let layout = view.column.layout();
        layout.dtype == Some(dtype) && layout.grid.record_shape().is_empty()
    };
    let is_sound = match kind {
        Kind::Ragged => items.column.layout().dtype.is_some(),
        _ => is_single(&items, DType::U8),
    };
    if !is_sound || !is_single(&ends, ENDS_DTYPE) {
        return Err(corrupt("the arrays of the series do not match its kind"));
    }
    Ok(Columns::Ragged { ends, items })
}

fn missing_part(name: &str) -> Error {
    corrupt(format!("the array '{name}' of the series is missing"))
}

impl Recording {
    /// The kind of the records of a series.
    pub(crate) fn kind(&self, document: &Document) -> Result<Kind> {
        match document.kind()? {
            Some(kind) => Ok(kind),
            None if !document.is_array() => Err(corrupt("a group is marked as a series")),
            None => Ok(match self.formats.get(document)?.layout().dtype {
                None => Kind::Text,
                Some(_) => Kind::Array,
            }),
        }
    }

    /// The schema of the series with this document.
    pub(crate) fn schema(
        &self,
        key: &Key,
        path: &str,
        document: &Document,
        find: Find<'_>,
    ) -> Result<(Schema, SeriesEncoding)> {
        let kind = self.kind(document)?;
        let parts;
        let (elements, ends) = match kind {
            Kind::Array | Kind::Text => (document, None),
            _ => {
                let mut part =
                    |name| find(&format!("{path}/{name}"))?.ok_or_else(|| missing_part(name));
                parts = (part(ENDS)?, part(ITEMS)?);
                (&parts.1, Some(&parts.0))
            }
        };
        let names = ends.unwrap_or(document).dimension_names();
        let format = self.formats.get(elements)?;
        let layout = format.layout();
        if layout.dtype.is_none() != (kind == Kind::Text) {
            let message = format!("the contents do not match a series of kind {kind}");
            return Err(corrupt(message).with_key(key.as_str()));
        }
        let mut schema = layout.schema(kind)?;
        if let Some(names) = document.given_names(names) {
            schema = schema.with_dimension_names(names);
        }
        if document.has_given_fill_value()
            && let (Some(dtype), Some(value)) = (layout.dtype, &layout.fill_value)
        {
            let value = ArrayValue::from_bytes(dtype, Vec::new(), value.clone())?;
            schema = schema.with_fill_value_of(value);
        }
        if let Some(compression) = layout.compression {
            schema = schema.with_compression(compression);
        }
        let schema = schema.with_attributes(document.attributes());
        Ok((schema, SeriesEncoding::of(&self.formats, elements, ends)))
    }

    /// The schema and the formats of the series with this document, in the order of the documents
    /// of a [new series](Self::new_series).
    pub(crate) fn stored_formats(
        &self,
        key: &Key,
        path: &str,
        document: &Document,
        find: Find<'_>,
    ) -> Result<(Schema, Vec<Arc<ArrayFormat>>)> {
        let (schema, _) = self.schema(key, path, document, find)?;
        let mut formats = Vec::new();
        match document.is_array() {
            true => formats.push(self.formats.get(document)?),
            false => {
                for part in [ITEMS, ENDS] {
                    let document = find(&format!("{path}/{part}"))?;
                    formats.push(
                        self.formats
                            .get(&document.ok_or_else(|| missing_part(part))?)?,
                    );
                }
            }
        }
        Ok((schema, formats))
    }

    /// A view of the series at `key`.
    pub(crate) fn load_view(
        store: &Arc<ProcessLocal<Self>>,
        snapshot: &dyn Snapshot,
        key: &Key,
        path: &str,
        document: &Document,
    ) -> Result<SeriesView<Self>> {
        let mut find = |path: &str| document_at(snapshot, path);
        let recording = store.get("read")?;
        let (schema, encoding) = recording.schema(key, path, document, &mut find)?;
        let (kind, formats) = (schema.kind(), &recording.formats);
        let columns = load_columns(snapshot, path, document, kind, formats, &mut find)?;
        let view = SeriesView::new(Arc::clone(store), key.clone(), Arc::new(schema), columns);
        Ok(match recording.storage.keeps_chunks_of_zarr_v3() {
            true => view.with_stored_form(StoredForm::new(encoding)),
            false => view,
        })
    }
}
