//! Writing records as text, CSV, JSON lines or bytes.

use std::io::{self, Write};

use serde_json::{Value as Json, json};
use simrecorder::{ArrayView, Error, ErrorKind, Kind, Value, View};

use crate::element::{Element, elements, hex, to_json};
use crate::exit::Result;
use crate::number_format::NumberFormat;

/// The form in which records are written.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) style: Style,
    /// Whether the coordinate of each record is written before it.
    pub(crate) coordinates: bool,
    /// The format of numbers in text; without one, they have all their digits.
    pub(crate) format: Option<NumberFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A line for each record.
    Text,
    /// A row for each record, with its coordinate if there is one.
    Csv,
    /// A line of JSON for each record; an object if its coordinate is written.
    Json,
    /// An object for each record: its key, its index, its coordinate if there is one, and its
    /// value.
    JsonObjects,
    /// Only the bytes.
    Raw,
}

/// Writes records, each with its coordinate if it has one.
pub(crate) trait RecordWriter {
    fn write(&mut self, at: Option<&Value>, record: &Value) -> io::Result<()>;
}

impl Form {
    /// Writes all records of a view. A view without axes is one record.
    pub(crate) fn write_view(&self, view: &View, out: &mut dyn Write) -> Result<()> {
        self.write_view_from(0, view, out)
    }

    /// Like [`Self::write_view`], for a view whose first record has the index `first` in its
    /// series.
    pub(crate) fn write_view_from(
        &self,
        first: u64,
        view: &View,
        out: &mut dyn Write,
    ) -> Result<()> {
        let coordinate = self.coordinate_of(view)?;
        let mut writer = self.writer(first, view, coordinate.as_ref(), out)?;
        if view.shape().is_empty() {
            writer.write(None, &view.read_value()?)?;
            return Ok(());
        }
        let mut coordinates = coordinate.as_ref().map(|coordinate| coordinate.iter());
        for record in view {
            let at = coordinates.as_mut().and_then(Iterator::next);
            writer.write(at.transpose()?.as_ref(), &record?)?;
        }
        Ok(())
    }

    /// Writes a value, which has no coordinate.
    pub(crate) fn write_value(&self, value: &Value, out: &mut dyn Write) -> Result<()> {
        match self.style == Style::Csv {
            true => CsvWriter::new(self, true, out).write(None, value)?,
            false => LineWriter::new(self, None, out).write(None, value)?,
        }
        Ok(())
    }

    fn writer<'a>(
        &'a self,
        first: u64,
        view: &'a View,
        coordinate: Option<&'a View>,
        out: &'a mut dyn Write,
    ) -> Result<Box<dyn RecordWriter + 'a>> {
        let name = coordinate.map(|coordinate| coordinate.key().name());
        if self.style == Style::Csv {
            let mut writer = CsvWriter::new(self, view.kind() == Kind::Array, out);
            writer.write_header(view, name)?;
            return Ok(Box::new(writer));
        }
        let key = view.key().as_str();
        Ok(Box::new(LineWriter {
            key,
            index: first,
            ..LineWriter::new(self, name, out)
        }))
    }

    /// The coordinate to write with the records of a view.
    fn coordinate_of(&self, view: &View) -> Result<Option<View>> {
        let if_there_is_one = matches!(self.style, Style::Csv | Style::JsonObjects);
        if view.shape().is_empty() || !(self.coordinates || if_there_is_one) {
            return Ok(None);
        }
        let coordinate = view.coordinate(0)?;
        if coordinate.is_none() && self.coordinates {
            let message = "the series has no coordinate; leave out --coordinates";
            let error = Error::new(ErrorKind::NotFound, "read", message);
            return Err(error.with_key(view.key().as_str()).into());
        }
        // A coordinate is not written next to itself unless the user asked for it.
        Ok(coordinate.filter(|coordinate| self.coordinates || coordinate.key() != view.key()))
    }

    fn write_element(&self, element: Element, out: &mut dyn Write) -> io::Result<()> {
        match &self.format {
            Some(format) => out.write_all(format.format(element).as_bytes()),
            None => write!(out, "{element}"),
        }
    }

    fn write_text(&self, value: &Value, out: &mut dyn Write) -> io::Result<()> {
        match value {
            Value::Array(array) => self.write_nested(array.shape(), &mut elements(array), out),
            Value::Text(text) => out.write_all(text.as_bytes()),
            Value::Bytes(bytes) => out.write_all(hex(bytes).as_bytes()),
            value => Ok(serde_json::to_writer(out, &to_json(value))?),
        }
    }

    fn write_nested(
        &self,
        shape: &[usize],
        elements: &mut dyn Iterator<Item = Element>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some((&len, inner)) = shape.split_first() else {
            return elements
                .next()
                .map_or(Ok(()), |element| self.write_element(element, out));
        };
        out.write_all(b"[")?;
        for index in 0..len {
            if index > 0 {
                out.write_all(b", ")?;
            }
            self.write_nested(inner, elements, out)?;
        }
        out.write_all(b"]")
    }
}

/// Writes each record in a separate line, as text or JSON, or as bytes.
struct LineWriter<'a> {
    form: &'a Form,
    key: &'a str,
    /// The index of the next record.
    index: u64,
    coordinate: Option<&'a str>,
    out: &'a mut dyn Write,
}

impl<'a> LineWriter<'a> {
    fn new(form: &'a Form, coordinate: Option<&'a str>, out: &'a mut dyn Write) -> Self {
        Self {
            form,
            key: "",
            index: 0,
            coordinate,
            out,
        }
    }

    fn json(&self, at: Option<&Value>, record: &Value) -> Json {
        let value = to_json(record);
        let mut object = serde_json::Map::new();
        if self.form.style == Style::JsonObjects {
            object.insert("key".to_owned(), self.key.into());
            object.insert("index".to_owned(), self.index.into());
        } else if at.is_none() {
            return value;
        }
        if let Some((name, at)) = self.coordinate.zip(at) {
            object.insert("coordinate".to_owned(), json!({name: to_json(at)}));
        }
        object.insert("value".to_owned(), value);
        object.into()
    }
}

impl RecordWriter for LineWriter<'_> {
    fn write(&mut self, at: Option<&Value>, record: &Value) -> io::Result<()> {
        match self.form.style {
            Style::Raw => {
                return self.out.write_all(match record {
                    Value::Array(array) => array.as_bytes(),
                    Value::Text(text) => text.as_bytes(),
                    Value::Bytes(bytes) => bytes,
                    Value::Object(object) => object.as_msgpack(),
                    _ => &[],
                });
            }
            Style::Json | Style::JsonObjects => {
                let line = self.json(at, record);
                serde_json::to_writer(&mut *self.out, &line)?;
            }
            Style::Text | Style::Csv => {
                if let Some(at) = at {
                    self.form.write_text(at, self.out)?;
                    self.out.write_all(b" ")?;
                }
                self.form.write_text(record, self.out)?;
            }
        }
        self.index += 1;
        self.out.write_all(b"\n")
    }
}

/// Writes records as rows of CSV.
struct CsvWriter<'a> {
    form: &'a Form,
    /// Whether all records have the same elements, so that each is a column. Otherwise, a record is
    /// one column.
    has_columns: bool,
    rows: csv::Writer<&'a mut dyn Write>,
    field: Vec<u8>,
}

impl<'a> CsvWriter<'a> {
    fn new(form: &'a Form, has_columns: bool, out: &'a mut dyn Write) -> Self {
        Self {
            form,
            has_columns,
            rows: csv::Writer::from_writer(out),
            field: Vec::new(),
        }
    }

    /// Writes the name of the coordinate and those of the elements: `v`, or `v[0,0]`, `v[0,1]`, ...
    fn write_header(&mut self, view: &View, coordinate: Option<&str>) -> io::Result<()> {
        let name = view.key().name();
        let shape = match self.has_columns {
            true => view.shape().get(1..).unwrap_or_default(),
            false => &[],
        };
        if let Some(coordinate) = coordinate {
            self.rows.write_field(coordinate)?;
        }
        for name in element_names(name, shape) {
            self.rows.write_field(name)?;
        }
        self.end_row()
    }

    fn write_field(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.field.clear();
        write(&mut self.field)?;
        Ok(self.rows.write_field(&self.field)?)
    }

    fn end_row(&mut self) -> io::Result<()> {
        Ok(self.rows.write_record(None::<&[u8]>)?)
    }
}

impl RecordWriter for CsvWriter<'_> {
    fn write(&mut self, at: Option<&Value>, record: &Value) -> io::Result<()> {
        let form = self.form;
        if let Some(at) = at {
            self.write_field(|field| form.write_text(at, field))?;
        }
        match record {
            Value::Array(array) if self.has_columns => {
                for element in elements(array) {
                    self.write_field(|field| form.write_element(element, field))?;
                }
            }
            record => self.write_field(|field| form.write_text(record, field))?,
        }
        self.end_row()
    }
}

/// The names of the elements of a record: `v`, or `v[0,0]`, `v[0,1]`, ...
pub(crate) fn element_names(name: &str, shape: &[u64]) -> impl Iterator<Item = String> {
    // Counts like an odometer.
    let mut next = (!shape.contains(&0)).then(|| vec![0; shape.len()]);
    std::iter::from_fn(move || {
        let mut index = next.take()?;
        let axes: Vec<_> = index.iter().map(u64::to_string).collect();
        for (axis, &len) in shape.iter().enumerate().rev() {
            index[axis] += 1;
            if index[axis] < len {
                next = Some(index);
                break;
            }
            index[axis] = 0;
        }
        Some(match axes.is_empty() {
            true => name.to_owned(),
            false => format!("{name}[{}]", axes.join(",")),
        })
    })
}

/// A record as text.
pub(crate) fn text_of(record: &Value) -> Vec<u8> {
    let form = Form {
        style: Style::Text,
        coordinates: false,
        format: None,
    };
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = form.write_text(record, &mut text);
    text
}
