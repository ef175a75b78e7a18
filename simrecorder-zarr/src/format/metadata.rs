//! The metadata documents of groups and arrays: `zarr.json`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use simrecorder_core::{
    Attributes, Compression, DType, Error, ErrorBound, ErrorKind, Kind, NodeKind, Result,
};

use crate::format::fill_value::zero;
use crate::format::fixed_texts::FixedTexts;
use crate::format::recording_id::RecordingId;

/// The attribute in which simrecorder stores what Zarr cannot describe.
const ATTRIBUTE: &str = "simrecorder";
/// The version of the format that this build writes, and the newest that it reads.
const FORMAT: u64 = 1;
/// The features that a recording of this format may require of its readers.
const FEATURES: [&str; 1] = ["chunk-files"];
/// The attribute with the JSON text of a value that is an object.
const JSON: &str = "json";
/// The member of that attribute at the root that identifies a recording.
const ID: &str = "id";
/// The member of that attribute with the base from which cuts are counted.
const CUT_BASE: &str = "cut_base";
/// The member of that attribute with the number of filled rows at the beginning of an array.
const FILLED: &str = "filled";
/// The member of that attribute with the error bound to which the elements of an array are rounded.
const MAX_ERROR: &str = "max_error";

/// The field with the reason why an array of Zarr V2 cannot be read.
const UNREADABLE: &str = "unreadable";
/// The field with the data type of the fixed-length texts of an array of Zarr V2.
const FIXED_TEXTS: &str = "fixed_texts";

/// The fields that determine how one chunk is divided and encoded.
const ENCODING: [&str; 4] = ["data_type", "chunk_grid", "codecs", "fill_value"];

/// One `zarr.json`. Clones share it until one of them is changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document(Arc<Map<String, Json>>);

impl Document {
    /// Parses a document and checks the fields that all documents have.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let fields: Map<String, Json> = serde_json::from_slice(bytes)
            .map_err(|e| corrupt("zarr.json is not a JSON object").with_source(e))?;
        if fields.get("zarr_format").and_then(Json::as_u64) != Some(3) {
            return Err(corrupt("zarr.json does not say \"zarr_format\": 3"));
        }
        if !matches!(
            fields.get("node_type").and_then(Json::as_str),
            Some("group" | "array")
        ) {
            return Err(corrupt(
                "zarr.json has a node_type that is neither group nor array",
            ));
        }
        let document = Self(Arc::new(fields));
        document.check_version()?;
        Ok(document)
    }

    /// Creates a document with these fields. `fields` is an object.
    pub(crate) fn of_fields(fields: Json) -> Self {
        match fields {
            Json::Object(fields) => Self(Arc::new(fields)),
            _ => Self(Arc::new(Map::new())),
        }
    }

    pub(super) fn fields(&self) -> &Map<String, Json> {
        &self.0
    }

    pub(super) fn fields_mut(&mut self) -> &mut Map<String, Json> {
        Arc::make_mut(&mut self.0)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = text_of(&*self.0);
        bytes.shrink_to_fit();
        bytes
    }

    /// A group with attributes.
    pub(crate) fn group(attributes: &Attributes) -> Self {
        let mut document = Self(Arc::new(Map::from_iter([
            ("zarr_format".to_owned(), json!(3)),
            ("node_type".to_owned(), json!("group")),
        ])));
        document.set_attributes(attributes);
        document
    }

    /// The root group of a new recording whose readers must support `features`.
    pub(crate) fn root(id: &RecordingId, features: &[&str]) -> Self {
        let mut document = Self::group(&Attributes::new());
        let writer = concat!("simrecorder ", env!("CARGO_PKG_VERSION"));
        let id = id.as_str();
        document.set_reserved(
            json!({ "format": FORMAT, "requires": features, "writer": writer, ID: id }),
        );
        document
    }

    /// The id of the recording whose root has these bytes as its metadata. The bytes only need to
    /// be a JSON object, so this works for versions that this build cannot read.
    pub(crate) fn recording_id_in(bytes: &[u8]) -> Option<Option<RecordingId>> {
        let document = Self(Arc::new(serde_json::from_slice(bytes).ok()?));
        let id = document
            .reserved()
            .and_then(|reserved| reserved.get(ID)?.as_str());
        Some(id.map(RecordingId::of_text))
    }

    /// What the root group says about the recording; `None` if other software created it.
    pub(crate) fn root_info(&self) -> Option<&Map<String, Json>> {
        self.reserved()
    }

    /// Gives the root group of a hierarchy of other software an id. Returns whether this was
    /// possible.
    pub(crate) fn set_recording_id(&mut self, id: &RecordingId) -> bool {
        let taken = |attributes: &Map<String, Json>| {
            attributes
                .get(ATTRIBUTE)
                .is_some_and(|reserved| !reserved.is_object())
        };
        if self.is_array() || self.all_attributes().is_some_and(taken) {
            return false;
        }
        let mut reserved = self.take_reserved();
        reserved.insert(ID.to_owned(), json!(id.as_str()));
        self.set_reserved(Json::Object(reserved));
        self.reserved()
            .is_some_and(|reserved| reserved.contains_key(ID))
    }

    /// An array of elements or texts with this shape and chunk shape.
    pub(crate) fn array(
        dtype: Option<DType>,
        shape: &[u64],
        chunk_shape: &[u64],
        fill_value: Option<Json>,
        compression: Compression,
        dimension_names: &[String],
    ) -> Self {
        let (data_type, default_fill) = match dtype {
            Some(dtype) => (dtype.as_str(), zero(dtype)),
            None => ("string", json!("")),
        };
        let fields = json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": data_type,
            "chunk_grid": { "name": "regular", "configuration": { "chunk_shape": chunk_shape } },
            "chunk_key_encoding": { "name": "default", "configuration": { "separator": "/" } },
            "fill_value": fill_value.unwrap_or(default_fill),
            "codecs": codecs(dtype, compression),
            "dimension_names": dimension_names,
        });
        let mut document = Self::of_fields(fields);
        if let Compression::Lossy(bound) = compression
            && dtype.is_some_and(DType::is_floating)
        {
            document.set_reserved(json!({ MAX_ERROR: bound.max_error() }));
        }
        document
    }

    /// The compression of the array; `None` for one that simrecorder does not write.
    pub(crate) fn compression(&self, dtype: Option<DType>) -> Option<Compression> {
        let max_error = self
            .reserved()
            .and_then(|reserved| reserved.get(MAX_ERROR)?.as_f64());
        if let Some(Ok(bound)) = max_error.map(ErrorBound::new)
            && dtype.is_some_and(DType::is_floating)
        {
            return Some(Compression::Lossy(bound));
        }
        let mut written = self.0.get("codecs")?.as_array()?.clone();
        // Recordings of earlier versions have no checksums.
        written.pop_if(|codec| *codec == checksum());
        [Compression::None, Compression::Fast, Compression::Small]
            .into_iter()
            .find(|compression| written == compressing_codecs(dtype, *compression))
    }

    pub(crate) fn is_array(&self) -> bool {
        self.0.get("node_type").and_then(Json::as_str) == Some("array")
    }

    /// Stores why an array of Zarr V2 cannot be read.
    pub(crate) fn set_unreadable(&mut self, reason: &str) {
        self.set_of_zarr_v2(UNREADABLE, reason);
    }

    /// Why an array of Zarr V2 cannot be read.
    pub(crate) fn unreadable(&self) -> Option<&str> {
        self.of_zarr_v2(UNREADABLE)
    }

    /// Stores the NumPy data type of an array of Zarr V2 that says that it contains texts.
    pub(crate) fn set_fixed_texts(&mut self, dtype: &str) {
        self.set_of_zarr_v2(FIXED_TEXTS, dtype);
    }

    /// The fixed-length texts of an array of Zarr V2, and the array without that field.
    pub(crate) fn fixed_texts(&self) -> Option<(FixedTexts, Self)> {
        let texts = FixedTexts::of_numpy(self.of_zarr_v2(FIXED_TEXTS)?)?;
        let mut plain = self.clone();
        let fields = plain.fields_mut();
        fields.insert("zarr_format".to_owned(), json!(3));
        fields.remove(FIXED_TEXTS);
        Some((texts, plain))
    }

    /// Stores a property that Zarr V3 cannot describe. [`parse`](Self::parse) never returns a
    /// document with it.
    fn set_of_zarr_v2(&mut self, name: &str, text: &str) {
        let fields = self.fields_mut();
        fields.insert("zarr_format".to_owned(), json!(2));
        fields.insert(name.to_owned(), json!(text));
    }

    fn of_zarr_v2(&self, name: &str) -> Option<&str> {
        let is_v2 = self.0.get("zarr_format").and_then(Json::as_u64) == Some(2);
        self.0.get(name).filter(|_| is_v2)?.as_str()
    }

    pub(crate) fn as_json(&self) -> Json {
        Json::Object(Map::clone(&self.0))
    }

    /// A text that is equal for equal chunk layouts.
    pub(crate) fn format_text(&self) -> Vec<u8> {
        let shape = self
            .0
            .get("shape")
            .and_then(Json::as_array)
            .map(|shape| (shape.len(), shape.get(1..)));
        let others = ["shape", "attributes", "dimension_names"];
        let fields = self.0.iter();
        let fields: Vec<_> = fields
            .filter(|(name, _)| !others.contains(&name.as_str()))
            .collect();
        let max_error = self.reserved().and_then(|reserved| reserved.get(MAX_ERROR));
        text_of(&(shape, fields, max_error, self.noted_chunk_shape()))
    }

    /// The fields that determine how one full chunk is divided and encoded, wherever it is stored.
    pub(crate) fn encoding(&self) -> Map<String, Json> {
        let mut full = self.clone();
        full.set_short_rows(None);
        let fields = ENCODING
            .iter()
            .filter_map(|name| full.0.get_key_value(*name));
        fields
            .map(|(name, field)| (name.clone(), field.clone()))
            .collect()
    }

    /// Applies the [`encoding`](Self::encoding) of another array.
    pub(crate) fn set_encoding(&mut self, encoding: &Map<String, Json>) {
        self.fields_mut().extend(encoding.clone());
    }

    /// Whether a codec, or one within a shard, has a typesize that is 0 as an `i32`. Blosc's C
    /// library would divide by it.
    pub(crate) fn has_wrong_typesize(&self) -> bool {
        fn is_wrong(size: &Json) -> bool {
            !size.is_null() && size.as_u64().is_none_or(|size| size as i32 <= 0)
        }
        fn is_within(json: &Json) -> bool {
            match json {
                Json::Array(items) => items.iter().any(is_within),
                Json::Object(fields) => {
                    fields.get("typesize").is_some_and(is_wrong) || fields.values().any(is_within)
                }
                _ => false,
            }
        }
        self.0.get("codecs").is_some_and(is_within)
    }

    pub(crate) fn shape(&self) -> Result<Vec<u64>> {
        let shape = self.0.get("shape").and_then(Json::as_array);
        shape
            .and_then(|shape| shape.iter().map(Json::as_u64).collect())
            .ok_or_else(|| corrupt("zarr.json of an array has no shape"))
    }

    /// Sets the length of the first axis.
    pub(crate) fn set_rows(&mut self, rows: u64) {
        if let Some(first) = self
            .fields_mut()
            .get_mut("shape")
            .and_then(|shape| shape.get_mut(0))
        {
            *first = json!(rows);
        }
    }

    /// The number of cuts of the array so far. If it changed, other rows may have replaced those
    /// that an earlier reader saw. The cuts of a new array are counted from the
    /// [base](Self::cut_base).
    pub(crate) fn cut_count(&self) -> u64 {
        self.cut_base() + self.cuts().len() as u64
    }

    /// The base from which cuts are counted: those of this array, or, at the root, those of new
    /// arrays. Each removal raises it, so that an array that replaces a removed one has a different
    /// number.
    pub(crate) fn cut_base(&self) -> u64 {
        let base = self
            .reserved()
            .and_then(|reserved| reserved.get(CUT_BASE)?.as_u64());
        base.unwrap_or(0)
    }

    /// Sets the base from which cuts are counted, and forgets earlier cuts.
    pub(crate) fn set_cut_base(&mut self, base: u64) {
        let filled = self.filled();
        let mut reserved = self.take_reserved();
        reserved.insert(CUT_BASE.to_owned(), json!(base));
        reserved.remove("cuts");
        if filled > 0 {
            reserved.insert(FILLED.to_owned(), json!(filled));
        }
        self.set_reserved(Json::Object(reserved));
    }

    /// The lengths that the array was cut to, the latest cut last. From them, views of the array
    /// before a cut know what they must no longer read.
    pub(crate) fn cuts(&self) -> Vec<u64> {
        let cuts = self
            .reserved()
            .and_then(|reserved| reserved.get("cuts")?.as_array());
        cuts.into_iter()
            .flatten()
            .filter_map(Json::as_u64)
            .collect()
    }

    /// Records a cut to the first `rows` rows.
    pub(crate) fn add_cut(&mut self, rows: u64) {
        let mut cuts = self.cuts();
        cuts.push(rows);
        let mut reserved = self.take_reserved();
        reserved.insert("cuts".to_owned(), json!(cuts));
        self.set_reserved(Json::Object(reserved));
    }

    /// The number of filled rows at the beginning of the array that were never cut off.
    pub(crate) fn filled(&self) -> u64 {
        let filled = self
            .reserved()
            .and_then(|reserved| reserved.get(FILLED)?.as_u64());
        let cuts = self.cuts().into_iter();
        cuts.fold(filled.unwrap_or(0), u64::min)
    }

    /// Makes a new array begin with `rows` filled rows.
    pub(crate) fn set_filled(&mut self, rows: u64) {
        self.set_rows(rows);
        let mut reserved = self.take_reserved();
        reserved.insert(FILLED.to_owned(), json!(rows));
        self.set_reserved(Json::Object(reserved));
    }

    /// Removes the copy of all metadata that other software may keep in the root: it would be
    /// outdated, and readers prefer it. Returns whether there was a copy.
    pub(crate) fn remove_consolidated(&mut self) -> bool {
        let is_there = self.0.contains_key("consolidated_metadata");
        is_there && self.fields_mut().remove("consolidated_metadata").is_some()
    }

    fn all_attributes(&self) -> Option<&Map<String, Json>> {
        self.0.get("attributes").and_then(Json::as_object)
    }

    /// Stores the JSON text of a value's object for other software, unless the user has an
    /// attribute of this name.
    pub(crate) fn set_json(&mut self, text: String) {
        let is_taken = self
            .all_attributes()
            .is_some_and(|all| all.contains_key(JSON));
        let Some(mut reserved) = self.reserved().cloned().filter(|_| !is_taken) else {
            return;
        };
        reserved.insert(JSON.to_owned(), json!(true));
        self.set_reserved(Json::Object(reserved));
        if let Some(attributes) = self
            .fields_mut()
            .get_mut("attributes")
            .and_then(Json::as_object_mut)
        {
            attributes.insert(JSON.to_owned(), json!(text));
        }
    }

    /// The JSON text of an object, if it was stored.
    fn json(&self) -> Option<&Json> {
        let is_set = self.reserved()?.get(JSON) == Some(&json!(true));
        self.all_attributes()?.get(JSON).filter(|_| is_set)
    }

    /// The user's attributes.
    pub(crate) fn attributes(&self) -> Attributes {
        let all = self.all_attributes().into_iter().flatten();
        let has_json = self.json().is_some();
        let of_user = all.filter(|(name, _)| *name != ATTRIBUTE && !(has_json && *name == JSON));
        let plain = |name: &String| match name.strip_prefix('_') {
            Some(plain) if is_like_reserved(plain) => plain.to_owned(),
            _ => name.clone(),
        };
        of_user
            .map(|(name, value)| (plain(name), value.clone()))
            .collect()
    }

    /// Replaces the user's attributes. Names like simrecorder's reserved attribute get a `_` in
    /// front.
    pub(crate) fn set_attributes(&mut self, attributes: &Attributes) {
        let json = self.json().cloned();
        let mut reserved = self.reserved().cloned();
        if attributes.contains_key(JSON)
            && let Some(reserved) = &mut reserved
        {
            reserved.remove(JSON);
        }
        let stored = |name: &String| match is_like_reserved(name) {
            true => format!("_{name}"),
            false => name.clone(),
        };
        let mut attributes: Attributes = attributes
            .iter()
            .map(|(name, value)| (stored(name), value.clone()))
            .collect();
        if let Some(json) = json {
            attributes.entry(JSON).or_insert(json);
        }
        if let Some(reserved) = reserved {
            attributes.insert(ATTRIBUTE.to_owned(), Json::Object(reserved));
        }
        self.fields_mut()
            .insert("attributes".to_owned(), Json::Object(attributes));
    }

    /// The contents of simrecorder's reserved attribute.
    pub(super) fn reserved(&self) -> Option<&Map<String, Json>> {
        self.all_attributes()
            .and_then(|attributes| attributes.get(ATTRIBUTE)?.as_object())
    }

    /// Takes the same contents, for changing them and setting them again.
    pub(super) fn take_reserved(&mut self) -> Map<String, Json> {
        let attributes = self.fields_mut().get_mut("attributes");
        match attributes.and_then(|attributes| attributes.get_mut(ATTRIBUTE)) {
            Some(Json::Object(reserved)) => std::mem::take(reserved),
            _ => Map::new(),
        }
    }

    pub(super) fn set_reserved(&mut self, reserved: Json) {
        let attributes = self
            .fields_mut()
            .entry("attributes")
            .or_insert_with(|| json!({}));
        if let Some(attributes) = attributes.as_object_mut() {
            attributes.insert(ATTRIBUTE.to_owned(), reserved);
        }
    }

    /// Marks the node as a value or series of a kind.
    pub(crate) fn mark(&mut self, node: NodeKind, kind: Kind, has_fill_value: bool) {
        let mut reserved = self.take_reserved();
        reserved.insert("node".to_owned(), json!(node.as_str()));
        reserved.insert("kind".to_owned(), json!(kind.as_str()));
        if has_fill_value {
            reserved.insert("fill_value".to_owned(), json!(true));
        }
        self.set_reserved(Json::Object(reserved));
    }

    /// Whether simrecorder created the node.
    pub(crate) fn is_marked(&self) -> bool {
        self.reserved()
            .is_some_and(|reserved| reserved.contains_key("node"))
    }

    /// Whether the user gave a fill value.
    pub(crate) fn has_given_fill_value(&self) -> bool {
        self.reserved()
            .is_some_and(|reserved| reserved.get("fill_value") == Some(&json!(true)))
    }

    /// The kind that [`mark`](Self::mark) gave the node.
    pub(crate) fn kind(&self) -> Result<Option<Kind>> {
        let kind = self
            .reserved()
            .and_then(|reserved| reserved.get("kind")?.as_str());
        kind.map(str::parse).transpose()
    }

    /// The kind of the node. An array of other software is a series if it has an axis, otherwise a
    /// value.
    pub(crate) fn node_kind(&self) -> NodeKind {
        let reserved = self
            .reserved()
            .and_then(|reserved| reserved.get("node")?.as_str());
        match reserved {
            Some("value") => NodeKind::Value,
            Some("series") => NodeKind::Series,
            _ if !self.is_array() => NodeKind::Group,
            _ if self.shape().is_ok_and(|shape| shape.is_empty()) => NodeKind::Value,
            _ => NodeKind::Series,
        }
    }

    fn check_version(&self) -> Result<()> {
        let Some(reserved) = self.reserved() else {
            return Ok(());
        };
        let is_known = |feature: &Json| feature.as_str().is_some_and(|it| FEATURES.contains(&it));
        let unsupported = |what: String| {
            let message = format!(
                "the recording {what}; this version of simrecorder reads format {FORMAT}: use a \
                 newer one"
            );
            Err(Error::new(ErrorKind::Unsupported, "open", message))
        };
        match reserved.get("format").map(Json::as_u64) {
            None => {}
            Some(Some(format)) if format <= FORMAT => {}
            Some(format) => {
                return unsupported(format!("has format {}", format.unwrap_or_default()));
            }
        }
        match reserved.get("requires").map(Json::as_array) {
            None => Ok(()),
            Some(Some(features)) if features.iter().all(is_known) => Ok(()),
            Some(features) => unsupported(format!("requires {}", json!(features))),
        }
    }
}

/// JSON without spaces.
fn text_of(value: &impl Serialize) -> Vec<u8> {
    // Most documents fit. An allocation of 1 KiB would cost more than everything else for ten
    // thousand documents, because the allocator cleans up before each.
    let mut text = Vec::with_capacity(1000);
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => text,
        Err(_) => Vec::new(),
    }
}

/// The maximum nesting of attributes. serde_json reads 128 levels, including the document.
const MAX_DEPTH: usize = 100;

/// Checks that a document with these attributes can be read again.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] names the attribute.
pub(crate) fn check_attributes(attributes: &Attributes) -> Result<()> {
    fn is_deeper(json: &Json, depth: usize) -> bool {
        match json {
            Json::Array(_) | Json::Object(_) if depth == 0 => true,
            Json::Array(items) => items.iter().any(|item| is_deeper(item, depth - 1)),
            Json::Object(fields) => fields.values().any(|field| is_deeper(field, depth - 1)),
            _ => false,
        }
    }
    match attributes
        .iter()
        .find(|(_, value)| is_deeper(value, MAX_DEPTH))
    {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!(
                "the attribute '{}' is nested more than {MAX_DEPTH} levels deep",
                name.escape_debug()
            );
            Err(Error::new(
                ErrorKind::InvalidArgument,
                "set attributes",
                message,
            ))
        }
    }
}

/// Whether a name is simrecorder's reserved attribute, possibly with `_` in front.
fn is_like_reserved(name: &str) -> bool {
    name.trim_start_matches('_') == ATTRIBUTE
}

/// The codecs of an array.
fn codecs(dtype: Option<DType>, compression: Compression) -> Vec<Json> {
    let mut codecs = compressing_codecs(dtype, compression);
    codecs.push(checksum());
    codecs
}

/// The codec that appends a checksum.
fn checksum() -> Json {
    json!({ "name": "crc32c" })
}

/// The codecs of an array before the checksum.
fn compressing_codecs(dtype: Option<DType>, compression: Compression) -> Vec<Json> {
    let (serializer, size) = match dtype {
        Some(dtype) => (
            match dtype.size() {
                1 => json!({ "name": "bytes" }),
                _ => json!({ "name": "bytes", "configuration": { "endian": "little" } }),
            },
            // The two parts of complex numbers are shuffled separately.
            match dtype {
                DType::Complex64 => 4,
                DType::Complex128 => 8,
                _ => dtype.size(),
            },
        ),
        None => (json!({ "name": "vlen-utf8" }), 1),
    };
    let is_floating = dtype.is_some_and(DType::is_floating);
    let shuffle = |bytes: bool| match dtype {
        None => "noshuffle",
        Some(_) if bytes => "shuffle",
        Some(_) => "bitshuffle",
    };
    let blosc = |cname: &str, level: u8, shuffle: &str| {
        json!({ "name": "blosc", "configuration": {
            "cname": cname,
            "clevel": level,
            "shuffle": shuffle,
            "typesize": size,
            "blocksize": 0,
        }})
    };
    let compressor = match compression {
        Compression::None => return vec![serializer],
        // Compared with level 5 with shuffled bytes, the size differs by a few percent, in a
        // fraction of the time.
        Compression::Lossy(_) if is_floating => blosc("zstd", 3, "bitshuffle"),
        // Which one is smaller depends on the type, see docs/compression.md.
        Compression::Small | Compression::Lossy(_) => {
            blosc("zstd", 6, shuffle(is_floating && size == 8))
        }
        _ => blosc("lz4", 1, shuffle(is_floating)),
    };
    vec![serializer, compressor]
}

pub(crate) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "read metadata", message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_newer_format_or_an_unknown_requirement_is_refused() {
        let mut document = Document::root(&RecordingId::random(), &[]);
        assert_eq!(Document::parse(&document.to_bytes()).unwrap(), document);
        for reserved in [
            json!({ "format": 2 }),
            json!({ "format": 1, "requires": ["x"] }),
        ] {
            document.set_reserved(reserved);
            let error = Document::parse(&document.to_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn replacing_attributes_keeps_those_of_simrecorder() {
        let mut document = Document::root(&RecordingId::random(), &[]);
        let names = ["a", "simrecorder", "_simrecorder", "_a"];
        let attributes = Attributes::from_iter(names.map(|name| (name.to_owned(), json!(name))));
        document.set_attributes(&attributes);
        assert_eq!(document.attributes(), attributes);
        assert_eq!(
            document
                .reserved()
                .and_then(|reserved| reserved.get("format")),
            Some(&json!(FORMAT))
        );
    }

    proptest! {
        #[test]
        fn no_document_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(Document::parse(&bytes));
        }
    }
}
