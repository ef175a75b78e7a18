//! The metadata of Zarr V2 as that of Zarr V3.

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use simrecorder_core::{Attributes, DType, Result};

use super::codecs::{self, Elements, Order};
use super::python_json;
use crate::format::fill_value::zero;
use crate::format::metadata::{Document, corrupt};

/// The attribute in which xarray names the dimensions of an array.
const DIMENSIONS: &str = "_ARRAY_DIMENSIONS";

/// The contents of a `.zarray`.
#[derive(Deserialize)]
struct ArrayMetadata {
    shape: Vec<u64>,
    chunks: Vec<u64>,
    dtype: Json,
    #[serde(default)]
    fill_value: Json,
    #[serde(default)]
    order: Order,
    #[serde(default)]
    filters: Option<Vec<Json>>,
    #[serde(default)]
    compressor: Option<Json>,
    #[serde(default)]
    dimension_separator: Separator,
}

/// The separator between the indices in the key of a chunk.
#[derive(Clone, Copy, Default, Deserialize)]
enum Separator {
    #[default]
    #[serde(rename = ".")]
    Dot,
    #[serde(rename = "/")]
    Slash,
}

/// The array of a `.zarray` and, if there is one, a `.zattrs`.
pub(super) fn array(zarray: &[u8], zattrs: Option<&[u8]>) -> Result<Document> {
    let fields = object(".zarray", zarray)?;
    let array: ArrayMetadata = serde_json::from_value(Json::Object(fields))
        .map_err(|e| corrupt(".zarray is not an array of Zarr V2").with_source(e))?;
    if array.chunks.len() != array.shape.len() {
        return Err(corrupt("chunks and array have different numbers of axes"));
    }
    let mut attributes = attributes(zattrs)?;
    let mut fields = json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": array.shape,
        "chunk_key_encoding": { "name": "v2", "configuration": { "separator": match array.dimension_separator {
            Separator::Dot => ".",
            Separator::Slash => "/",
        } } },
    });
    if let Some(names) = dimension_names(&attributes, array.shape.len()) {
        fields["dimension_names"] = names;
        attributes.remove(DIMENSIONS);
    }
    match encoding(&array) {
        Ok((elements, codecs)) => {
            fields["data_type"] = json!(elements.name());
            fields["fill_value"] = fill_value(elements.dtype, &array.fill_value);
            fields["codecs"] = json!(codecs);
            // The chunks of an array without elements may also have no elements.
            let lens = array.chunks.iter().zip(&array.shape);
            let chunk: Vec<u64> = lens
                .map(|(&chunk, &len)| chunk.max(u64::from(len == 0)))
                .collect();
            fields["chunk_grid"] =
                json!({ "name": "regular", "configuration": { "chunk_shape": chunk } });
            let mut document = document(fields, &attributes);
            if let Some(dtype) = array.dtype.as_str().filter(|_| elements.are_fixed_texts) {
                document.set_fixed_texts(dtype);
            }
            Ok(document)
        }
        Err(reason) => {
            let mut document = document(fields, &attributes);
            document.set_unreadable(&reason);
            Ok(document)
        }
    }
}

/// The group of a `.zgroup` and, if there is one, a `.zattrs`.
pub(super) fn group(zgroup: &[u8], zattrs: Option<&[u8]>) -> Result<Document> {
    object(".zgroup", zgroup)?;
    Ok(Document::group(&attributes(zattrs)?))
}

fn document(fields: Json, attributes: &Attributes) -> Document {
    let mut document = Document::of_fields(fields);
    document.set_attributes(attributes);
    document
}

/// Parses a document and checks that it declares Zarr V2.
fn object(name: &str, bytes: &[u8]) -> Result<Map<String, Json>> {
    let fields = python_json::parse(bytes)
        .map_err(|e| corrupt(format!("{name} is not a JSON object")).with_source(e))?;
    match fields.get("zarr_format").and_then(Json::as_u64) {
        Some(2) => Ok(fields),
        _ => Err(corrupt(format!("{name} does not say \"zarr_format\": 2"))),
    }
}

fn attributes(zattrs: Option<&[u8]>) -> Result<Attributes> {
    let attributes = zattrs.map(python_json::parse).transpose();
    let attributes =
        attributes.map_err(|e| corrupt(".zattrs is not a JSON object").with_source(e))?;
    Ok(attributes.unwrap_or_default().into_iter().collect())
}

fn dimension_names(attributes: &Attributes, axes: usize) -> Option<Json> {
    let names = attributes.get(DIMENSIONS)?;
    let is_fit = |names: &Vec<Json>| names.len() == axes && names.iter().all(Json::is_string);
    names.as_array().is_some_and(is_fit).then(|| names.clone())
}

/// The elements and the codecs of an array, or the reason why it cannot be read.
fn encoding(array: &ArrayMetadata) -> Result<(Elements, Vec<Json>), String> {
    let filters = array.filters.as_deref().unwrap_or_default();
    let elements = Elements::of(&array.dtype, filters)?;
    let is_given = array
        .fill_value
        .as_str()
        .is_some_and(|fill| !fill.is_empty());
    if is_given
        && array
            .dtype
            .as_str()
            .is_some_and(|dtype| dtype.starts_with("|S"))
    {
        return Err("the fill value of its texts is in Base64; write it again without one".into());
    }
    let filters = match elements.are_objects() {
        false => filters,
        // The first one encodes the texts as bytes.
        true => filters.get(1..).unwrap_or_default(),
    };
    let axes = array.shape.len();
    let codecs = codecs::codecs(
        &elements,
        array.order,
        axes,
        filters,
        array.compressor.as_ref(),
    )?;
    Ok((elements, codecs))
}

/// The fill value of an array. Without one, chunks that were never written are zeros, as in
/// zarr-python. For objects, zarr-python may give 0, whatever they are.
fn fill_value(dtype: Option<DType>, value: &Json) -> Json {
    match (dtype, value) {
        (None, Json::String(_)) => value.clone(),
        (None, _) => json!(""),
        (Some(dtype), Json::Null) => zero(dtype),
        (Some(DType::Bool), Json::Number(number)) => json!(number.as_f64() != Some(0.0)),
        (Some(dtype), Json::Number(number)) if !dtype.is_floating() => match number.as_f64() {
            // Zarr V3 requires integers without a decimal point.
            Some(float) if !(number.is_i64() || number.is_u64()) && float.fract() == 0.0 => {
                json!(float as i64)
            }
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}
