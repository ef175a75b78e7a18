//! The metadata of a key in the database: a JSON document, and one line that identifies the records
//! that a series accepts.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use simrecorder_core::{
    ArrayValue, Attributes, ChunkPolicy, Compression, Key, Kind, NodeKind, Result, Schema, Value,
};

use crate::connection::errors::corrupt;
use crate::format::frame::arrow::schema_message;
use crate::format::frame::{FrameFormat, RedisEncoding};
use crate::format::index::is_sane;
use crate::format::names::{Names, SeriesNames};

/// The metadata of a key.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    Group,
    Value(Box<StoredValue>),
    Series(Arc<SeriesDocument>),
}

/// The place of a value.
#[derive(Clone, Debug)]
pub(crate) struct StoredValue {
    pub(crate) schema: Schema,
    /// The names of its axes, if it was set with names.
    pub(crate) dimension_names: Option<Vec<Option<String>>>,
    pub(crate) format: FrameFormat,
    pub(crate) frame: String,
    /// The length of the frame, and the number of strings that contain it.
    pub(crate) part_count: usize,
    pub(crate) byte_len: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct SeriesDocument {
    pub(crate) schema: Schema,
    pub(crate) format: FrameFormat,
    pub(crate) chunk_shape: Vec<u64>,
    /// Whether its keys are in the slot of its group, in a cluster.
    pub(crate) shares_slot: bool,
}

impl Document {
    pub(crate) fn kind(&self) -> NodeKind {
        match self {
            Self::Group => NodeKind::Group,
            Self::Value(_) => NodeKind::Value,
            Self::Series(_) => NodeKind::Series,
        }
    }

    pub(crate) fn from_json(text: &[u8]) -> Result<Self> {
        let damaged = |e| corrupt("the metadata of this key is malformed").with_source(e);
        let document: Map<String, Json> = serde_json::from_slice(text).map_err(damaged)?;
        let field = |name: &str| document.get(name).and_then(Json::as_str);
        match field("node") {
            Some("group") => return Ok(Self::Group),
            Some("value" | "series") => {}
            _ => {
                return Err(corrupt(
                    "the metadata of this key names an unknown kind of node",
                ));
            }
        }
        let missing = |name: &str| corrupt(format!("the metadata of this key has no '{name}'"));
        let text = |name: &str| field(name).ok_or_else(|| missing(name));
        let number = |name: &str| {
            let number = document.get(name).and_then(Json::as_u64);
            number.ok_or_else(|| missing(name))
        };
        let mut schema = schema_from(&document)?;
        if let Some(names) = names(&document).filter(|_| field("node") == Some("series")) {
            schema = schema.with_dimension_names(names);
        }
        let format = FrameFormat {
            encoding: text("encoding")?.parse::<RedisEncoding>()?,
            compression: text("compression")?.parse::<Compression>()?,
        };
        if field("node") == Some("value") {
            let part_count = usize::try_from(number("parts")?).map_err(|_| missing("parts"))?;
            let byte_len = number("bytes")?;
            if !is_sane(byte_len, part_count) {
                return Err(corrupt(format!(
                    "a value of {byte_len} bytes in {part_count} parts"
                )));
            }
            return Ok(Self::Value(Box::new(StoredValue {
                schema,
                dimension_names: names(&document),
                format,
                frame: text("frame")?.to_owned(),
                part_count,
                byte_len,
            })));
        }
        let chunk_shape =
            numbers(&document, "chunk_shape").ok_or_else(|| missing("chunk_shape"))?;
        let axes = schema.axes();
        if chunk_shape.len() != axes || chunk_shape.contains(&0) {
            return Err(corrupt(format!(
                "{chunk_shape:?} is not a chunk shape of {schema}"
            )));
        }
        schema = schema.with_compression(format.compression);
        if schema.kind() == Kind::Array {
            schema = schema.with_chunk_policy(ChunkPolicy::shape(chunk_shape.clone())?);
        } else {
            schema = schema.with_chunk_policy(ChunkPolicy::records(chunk_shape[0]));
        }
        schema
            .check()
            .map_err(|e| corrupt("the schema is wrong").with_source(e))?;
        Ok(Self::Series(Arc::new(SeriesDocument {
            schema,
            format,
            chunk_shape,
            shares_slot: document.get("shares_slot") == Some(&Json::Bool(true)),
        })))
    }
}

impl SeriesDocument {
    /// A new series.
    pub(crate) fn new(schema: &Schema, format: FrameFormat, chunk_shape: Vec<u64>) -> Self {
        Self {
            schema: schema.clone().with_attributes(Attributes::new()),
            format,
            chunk_shape,
            shares_slot: false,
        }
    }

    /// The names of the keys of this series.
    pub(crate) fn names(&self, all: &Names, key: &Key) -> SeriesNames {
        match self.shares_slot {
            true => all.series_in_slot_of_group(key),
            false => all.series(key),
        }
    }

    /// The same series with other axis names.
    pub(crate) fn with_dimension_names(&self, names: &[Option<String>]) -> Result<Self> {
        let schema = self.schema.clone();
        let schema = schema.with_dimension_names(names.iter().cloned());
        schema.check()?;
        Ok(Self {
            schema,
            chunk_shape: self.chunk_shape.clone(),
            ..*self
        })
    }

    pub(crate) fn to_json(&self) -> String {
        let mut document = describe(&self.schema, self.format);
        document.insert("node".into(), json!("series"));
        document.insert("chunk_shape".into(), json!(self.chunk_shape));
        if self.shares_slot {
            document.insert("shares_slot".into(), json!(true));
        }
        if let Some(names) = self.schema.dimension_names() {
            document.insert("dimension_names".into(), json!(names));
        }
        if let Some(Value::Array(fill)) = self.schema.fill_value() {
            document.insert("fill_value".into(), json!(to_hex(fill.as_bytes())));
        }
        if self.format.encoding == RedisEncoding::Arrow {
            let message = schema_message(&self.schema);
            document.insert("arrow_schema".into(), json!(to_hex(&message)));
        }
        Json::Object(document).to_string()
    }
}

impl StoredValue {
    pub(crate) fn to_json(&self) -> String {
        let mut document = describe(&self.schema, self.format);
        document.insert("node".into(), json!("value"));
        document.insert("frame".into(), json!(self.frame));
        document.insert("parts".into(), json!(self.part_count));
        document.insert("bytes".into(), json!(self.byte_len));
        if let Some(names) = &self.dimension_names {
            document.insert("dimension_names".into(), json!(names));
        }
        Json::Object(document).to_string()
    }
}

/// One line that is equal for series that accept the same records.
pub(crate) fn signature(schema: &Schema) -> String {
    let dtype = schema.dtype().map_or("-", |dtype| dtype.as_str());
    format!("{} {dtype} {:?}", schema.kind(), schema.record_shape())
}

/// A signature in plain words.
pub(crate) fn described(signature: &str) -> String {
    let read = || {
        let mut words = signature.splitn(3, ' ');
        let (kind, dtype, shape) = (words.next()?, words.next()?, words.next()?);
        let shape: Json = serde_json::from_str(shape).ok()?;
        let fields = json!({"kind": kind, "dtype": dtype, "shape": shape});
        schema_from(fields.as_object()?).ok()
    };
    read().map_or_else(|| signature.to_owned(), |schema| schema.to_string())
}

fn describe(schema: &Schema, format: FrameFormat) -> Map<String, Json> {
    let mut document = Map::new();
    document.insert("kind".into(), json!(schema.kind().as_str()));
    if let Some(dtype) = schema.dtype() {
        document.insert("dtype".into(), json!(dtype.as_str()));
        document.insert("shape".into(), json!(schema.record_shape()));
    }
    document.insert("records".into(), json!(signature(schema)));
    document.insert("encoding".into(), json!(format.encoding.as_str()));
    document.insert("compression".into(), json!(format.compression.to_string()));
    document
}

fn numbers(document: &Map<String, Json>, name: &str) -> Option<Vec<u64>> {
    let numbers = document.get(name)?.as_array()?;
    numbers.iter().map(Json::as_u64).collect()
}

/// The names of the axes, if any.
fn names(document: &Map<String, Json>) -> Option<Vec<Option<String>>> {
    let names = document.get("dimension_names")?.as_array()?;
    let names = names.iter().map(|name| name.as_str().map(str::to_owned));
    Some(names.collect())
}

fn schema_from(document: &Map<String, Json>) -> Result<Schema> {
    let field = |name: &str| document.get(name).and_then(Json::as_str);
    let kind: Kind = field("kind").unwrap_or_default().parse()?;
    let mut schema = match kind {
        Kind::Text => Schema::text(),
        Kind::Bytes => Schema::bytes(),
        Kind::Object => Schema::object(),
        _ => {
            let dtype = field("dtype").unwrap_or_default().parse()?;
            let shape = numbers(document, "shape")
                .ok_or_else(|| corrupt("the metadata of this key has no 'shape'"))?;
            match kind {
                Kind::Array => Schema::array_of(dtype, shape),
                _ => Schema::ragged_of(dtype, shape),
            }
        }
    };
    if let (Some(fill), Some(dtype)) = (field("fill_value"), schema.dtype()) {
        let bytes = from_hex(fill).ok_or_else(|| corrupt("the fill value cannot be decoded"))?;
        schema = schema.with_fill_value_of(ArrayValue::from_bytes(dtype, Vec::new(), bytes)?);
    }
    schema
        .check()
        .map_err(|e| corrupt("the schema is wrong").with_source(e))?;
    Ok(schema)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simrecorder_core::DType;

    use super::*;

    fn sound() -> Vec<String> {
        let format = FrameFormat {
            encoding: RedisEncoding::Arrow,
            compression: Compression::Fast,
        };
        let array =
            Schema::array_of(DType::F64, [2, 3]).with_dimension_names([Some("a"), None, None]);
        let value = StoredValue {
            schema: Schema::text(),
            dimension_names: None,
            format,
            frame: "ff-0".into(),
            part_count: 1,
            byte_len: 10,
        };
        vec![
            SeriesDocument::new(&array, format, vec![8, 2, 3]).to_json(),
            SeriesDocument::new(&Schema::ragged_of(DType::I16, [2]), format, vec![5]).to_json(),
            value.to_json(),
            r#"{"node":"group"}"#.to_owned(),
            signature(&array),
        ]
    }

    #[test]
    fn sound_documents_are_read() {
        let documents = sound();
        let kinds = documents[..4]
            .iter()
            .map(|text| Document::from_json(text.as_bytes()).unwrap().kind());
        use NodeKind::{Group, Series, Value};
        assert!(kinds.eq([Series, Series, Value, Group]));
        assert!(
            described(&documents[4]).contains("float64"),
            "{}",
            described(&documents[4])
        );
    }

    proptest! {
        #[test]
        fn damaged_documents_are_errors_or_documents(
            which in 0_usize..5,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = sound()[which].clone().into_bytes();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if changes.len() == 3 {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes.extend_from_slice(&more);
            drop(Document::from_json(&bytes));
            drop(described(&String::from_utf8_lossy(&bytes)));
        }

        /// Numbers that are out of range.
        #[test]
        fn any_shapes_are_errors_or_documents(
            shape in prop::collection::vec(prop_oneof![0_u64..4, any::<u64>()], 0..5),
            chunk in prop::collection::vec(prop_oneof![0_u64..4, any::<u64>()], 0..6),
            kind in prop::sample::select(vec!["array", "ragged", "text", "x"]),
        ) {
            let document = json!({
                "node": "series", "kind": kind, "dtype": "float64", "shape": shape,
                "encoding": "arrow", "compression": "none", "chunk_shape": chunk,
            });
            drop(Document::from_json(document.to_string().as_bytes()));
        }
    }
}
