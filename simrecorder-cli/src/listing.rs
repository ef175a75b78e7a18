//! The description of each key in `ls` and `tree`.

use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Map, Value as Json, json};
use simrecorder::backend::Node;
use simrecorder::{ArrayView, Attributes, Child, DType, Error, Kind, Statistics, Value, View};

use crate::element::{double_to_json, to_json};
use crate::exit::Result;
use crate::output::Output;
use crate::table::Table;

/// The columns to list.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ListingArgs {
    /// Add the kind, type, shape, chunks, compression, stored bytes and compression ratio, units,
    /// and the first and last coordinate
    #[arg(short, long)]
    pub(crate) long: bool,

    /// Add the smallest and largest element, the mean, and the number of NaN; reads everything
    #[arg(long)]
    pub(crate) stats: bool,

    /// Write one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const LONG: [&str; 10] = [
    "KIND", "TYPE", "SHAPE", "CHUNKS", "CODEC", "STORED", "RATIO", "UNITS", "FIRST", "LAST",
];
const STATISTICS: [&str; 4] = ["MIN", "MAX", "MEAN", "NAN"];

/// A key, the text that shows it, and its node.
pub(crate) type Entry = (Child, String, Result<Node, Error>);

impl ListingArgs {
    /// Whether only keys are listed.
    pub(crate) fn is_short(self) -> bool {
        !(self.long || self.stats || self.json)
    }

    /// Lists nodes.
    pub(crate) fn write(
        self,
        entries: impl Iterator<Item = Entry>,
        output: &mut Output,
    ) -> Result<()> {
        let mut table = Table::default();
        if !self.is_short() {
            let columns = if self.long { &LONG[..] } else { &[] };
            let statistics = if self.stats { &STATISTICS[..] } else { &[] };
            let names = ["KEY"].iter().chain(columns).chain(statistics);
            table.push(names.map(|&name| name.to_owned()).collect());
        }
        for (child, text, node) in entries {
            let described = node.and_then(|node| Description::of(&node, self));
            if self.json {
                output.json(&to_object(&child, described))?;
                continue;
            }
            let mut row = vec![text];
            match described {
                Ok(description) => row.extend(description.cells(&child, self)),
                Err(error) => row.extend([child.kind.to_string(), cannot_be_read(&error)]),
            }
            table.push(row);
        }
        if !self.json {
            table.write(output)?;
        }
        Ok(())
    }
}

fn cannot_be_read(error: &Error) -> String {
    format!("cannot be read: {error}")
}

/// What `ls -l --json` prints about a node.
#[cfg(feature = "serve")]
pub(crate) fn describe(child: &Child, node: Result<Node, Error>) -> Json {
    let listed = ListingArgs {
        long: true,
        stats: false,
        json: true,
    };
    to_object(child, node.and_then(|node| Description::of(&node, listed)))
}

fn to_object(child: &Child, described: Result<Description, Error>) -> Json {
    let mut object = Map::new();
    object.insert("key".to_owned(), child.key.as_str().into());
    object.insert("kind".to_owned(), child.kind.as_str().into());
    match described {
        Ok(description) => description.add_to(&mut object),
        Err(error) => {
            object.insert("error".to_owned(), error.to_string().into());
        }
    }
    object.into()
}

/// The listed properties of a node.
#[derive(Debug, Default)]
pub(crate) struct Description {
    dtype: Option<DType>,
    record_kind: Option<Kind>,
    shape: Vec<u64>,
    /// For a ragged series, the shape of an item of a row.
    item_shape: Vec<u64>,
    chunks: Option<Vec<u64>>,
    codec: Option<String>,
    /// The size of its records in bytes.
    bytes: Option<u64>,
    /// Their stored size in bytes.
    stored_bytes: Option<u64>,
    units: Option<String>,
    coordinate: Option<Coordinate>,
    value: Option<Value>,
    statistics: Option<Statistics>,
}

/// The coordinate of the records of a series.
#[derive(Debug)]
struct Coordinate {
    name: String,
    first: Value,
    last: Value,
}

impl Coordinate {
    fn of(view: &View) -> Result<Option<Self>, Error> {
        let Some(coordinate) = view.coordinate(0)? else {
            return Ok(None);
        };
        let first = match coordinate.is_empty() {
            true => None,
            false => Some(coordinate.get(0)?),
        };
        Ok(first.zip(coordinate.last()?).map(|(first, last)| Self {
            name: coordinate.key().name().to_owned(),
            first,
            last,
        }))
    }
}

impl Description {
    pub(crate) fn of(node: &Node, listed: ListingArgs) -> Result<Self, Error> {
        match node {
            Node::Series(view) => Self::of_series(view, listed),
            Node::Value { value, attributes } => Ok(Self::of_value(value.clone()?, attributes)),
            _ => Ok(Self::default()),
        }
    }

    fn of_series(view: &View, listed: ListingArgs) -> Result<Self, Error> {
        let schema = view.schema();
        let is_real = schema
            .dtype()
            .is_some_and(|dtype| !matches!(dtype, DType::Complex64 | DType::Complex128));
        let has_statistics = listed.stats && is_real;
        let item_shape = match view.kind() {
            Kind::Ragged => schema.record_shape().to_vec(),
            _ => Vec::new(),
        };
        Ok(Self {
            dtype: schema.dtype(),
            record_kind: Some(view.kind()),
            shape: view.shape().to_vec(),
            item_shape,
            chunks: Some(view.chunk_shape().to_vec()),
            codec: schema
                .compression()
                .map(|compression| compression.to_string()),
            bytes: bytes(view),
            stored_bytes: match listed.long {
                true => view.stored_bytes()?,
                false => None,
            },
            units: units(schema.attributes()),
            coordinate: listed
                .long
                // If the coordinate cannot be read, its series still can.
                .then(|| Coordinate::of(view).unwrap_or(None))
                .flatten(),
            value: None,
            statistics: has_statistics.then(|| view.statistics()).transpose()?,
        })
    }

    fn of_value(value: Value, attributes: &Attributes) -> Self {
        let shape = value
            .as_array()
            .map(|array| array.shape().iter().map(|&len| len as u64).collect());
        Self {
            dtype: value.dtype(),
            record_kind: Some(match &value {
                Value::Text(_) => Kind::Text,
                Value::Bytes(_) => Kind::Bytes,
                Value::Object(_) => Kind::Object,
                _ => Kind::Array,
            }),
            shape: shape.unwrap_or_default(),
            units: units(attributes),
            value: Some(value),
            ..Self::default()
        }
    }

    fn type_name(&self) -> String {
        match (self.record_kind, self.dtype) {
            (Some(Kind::Ragged), Some(dtype)) => format!("ragged {dtype}"),
            (_, Some(dtype)) => dtype.to_string(),
            (Some(kind), None) => kind.to_string(),
            (None, None) => String::new(),
        }
    }

    fn shape_text(&self) -> String {
        match self.record_kind {
            Some(Kind::Ragged) => {
                let item = self.item_shape.iter().map(|len| format!(", {len}"));
                let records = self.shape.first().copied().unwrap_or(0);
                format!("[{records}, var{}]", item.collect::<String>())
            }
            _ if self.shape.is_empty() => String::new(),
            _ => format!("{:?}", self.shape),
        }
    }

    /// The compression ratio of the records.
    fn ratio(&self) -> Option<f64> {
        let (bytes, stored) = self.bytes.zip(self.stored_bytes)?;
        (stored > 0).then(|| bytes as f64 / stored as f64)
    }

    fn cells(&self, child: &Child, listed: ListingArgs) -> Vec<String> {
        let text = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
        let units = self.units.clone().unwrap_or_default();
        let mut cells = Vec::new();
        if listed.long || listed.is_short() {
            cells.extend([child.kind.to_string(), self.type_name(), self.shape_text()]);
        }
        if listed.is_short() {
            let note = [text(self.value.as_ref()), units];
            cells.push(note.join(" ").trim().to_owned());
        } else if listed.long {
            let chunks = self.chunks.as_ref().map(|chunks| format!("{chunks:?}"));
            let coordinate = self.coordinate.as_ref();
            cells.extend([
                chunks.unwrap_or_default(),
                self.codec.clone().unwrap_or_default(),
                self.stored_bytes
                    .map(|bytes| HumanBytes(bytes).to_string())
                    .unwrap_or_default(),
                self.ratio()
                    .map(|ratio| format!("{ratio:.1}"))
                    .unwrap_or_default(),
                units,
                text(coordinate.map(|coordinate| &coordinate.first)),
                text(coordinate.map(|coordinate| &coordinate.last)),
            ]);
        }
        if let Some(statistics) = &self.statistics {
            cells.extend([
                text(statistics.min.as_ref()),
                text(statistics.max.as_ref()),
                statistics
                    .mean
                    .map(|mean| mean.to_string())
                    .unwrap_or_default(),
                statistics.nan_count.to_string(),
            ]);
        }
        cells
    }

    pub(crate) fn add_to(self, object: &mut Map<String, Json>) {
        let Some(record_kind) = self.record_kind else {
            return;
        };
        let ratio = self.ratio();
        let mut add = |name: &str, value: Json| object.insert(name.to_owned(), value);
        add("record_kind", record_kind.to_string().into());
        if let Some(dtype) = self.dtype {
            add("dtype", dtype.as_str().into());
        }
        add("shape", self.shape.into());
        if record_kind == Kind::Ragged {
            add("item_shape", self.item_shape.into());
        }
        if let Some(chunks) = self.chunks {
            add("chunks", chunks.into());
        }
        if let Some(codec) = self.codec {
            add("codec", codec.into());
        }
        if let Some(bytes) = self.stored_bytes {
            add("stored_bytes", bytes.into());
        }
        if let Some(ratio) = ratio {
            add("ratio", ((ratio * 100.0).round() / 100.0).into());
        }
        if let Some(units) = self.units {
            add("units", units.into());
        }
        if let Some(Coordinate { name, first, last }) = self.coordinate {
            let (first, last) = (to_json(&first), to_json(&last));
            add(
                "coordinate",
                json!({"name": name, "first": first, "last": last}),
            );
        }
        if let Some(value) = self.value {
            add("value", to_json(&value));
        }
        if let Some(statistics) = self.statistics {
            let number = |value: Option<Value>| value.as_ref().map(to_json);
            add("min", number(statistics.min).into());
            add("max", number(statistics.max).into());
            add("mean", statistics.mean.map(double_to_json).into());
            add("nan_count", statistics.nan_count.into());
        }
    }
}

/// The size in bytes of the records of an array that are not filled.
fn bytes(view: &View) -> Option<u64> {
    let record = view
        .schema()
        .record_bytes()
        .filter(|_| view.kind() == Kind::Array)?;
    (view.len() - view.filled()).checked_mul(record as u64)
}

/// The attribute `units`, if it is text, without control characters.
fn units(attributes: &Attributes) -> Option<String> {
    let units = attributes.get("units")?.as_str()?.chars();
    Some(
        units
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
    )
}
