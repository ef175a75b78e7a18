//! Tables as Parquet and Arrow IPC.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, LargeBinaryArray, LargeListArray, LargeStringArray,
    PrimitiveArray, RecordBatch,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use simrecorder::backend::Records;
use simrecorder::half::bf16;
use simrecorder::{ArrayView, DType, Error, ErrorKind, Kind, Value, View};

use super::table::{Column, Table};
use crate::element::to_json;

/// A row group of Parquet is written when it takes this many bytes in memory.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Writes a Parquet file, compressed with Zstandard.
pub(super) fn write_parquet(table: &Table, out: &mut (impl Write + Send)) -> Result<(), Error> {
    let schema = schema(table)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer =
        ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties)).map_err(failed)?;
    table.for_each_block(|block, rows| {
        writer
            .write(&batch(&schema, table, block, rows)?)
            .map_err(failed)?;
        if writer.in_progress_size() > ROW_GROUP_BYTES {
            writer.flush().map_err(failed)?;
        }
        Ok(())
    })?;
    writer.close().map(drop).map_err(failed)
}

/// Writes an Arrow IPC file.
pub(super) fn write_ipc(table: &Table, out: &mut impl Write) -> Result<(), Error> {
    let schema = schema(table)?;
    let mut writer = FileWriter::try_new(out, &schema).map_err(failed)?;
    table.for_each_block(|block, rows| {
        writer
            .write(&batch(&schema, table, block, rows)?)
            .map_err(failed)
    })?;
    writer.finish().map_err(failed)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Io, "export", "the file cannot be written").with_source(error)
}

fn schema(table: &Table) -> Result<Arc<Schema>, Error> {
    let fields = table.columns.iter().map(|Column { name, view }| {
        let data_type = column_type(view)?;
        let units = view
            .attributes()
            .get("units")
            .and_then(|units| units.as_str());
        let metadata = units.map(|units| ("units".to_owned(), units.to_owned()));
        Ok(Field::new(name, data_type, false)
            .with_metadata(metadata.into_iter().collect::<HashMap<_, _>>()))
    });
    Ok(Arc::new(Schema::new(
        fields.collect::<Result<Vec<_>, Error>>()?,
    )))
}

/// The type of a column: a number, nested lists with a level for each axis of a record, text or
/// bytes.
fn column_type(view: &View) -> Result<DataType, Error> {
    let schema = view.schema();
    match (view.kind(), schema.dtype()) {
        (Kind::Array, Some(dtype)) => element_type(view, dtype),
        (Kind::Ragged, Some(dtype)) => Ok(DataType::LargeList(item(element_type(view, dtype)?))),
        (Kind::Bytes, _) => Ok(DataType::LargeBinary),
        // An object is stored as JSON.
        _ => Ok(DataType::LargeUtf8),
    }
}

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, false))
}

/// The lengths of the lists in a record. A complex number is a pair.
fn list_lengths(view: &View, dtype: DType) -> impl DoubleEndedIterator<Item = u64> {
    let pair = match dtype {
        DType::Complex64 | DType::Complex128 => Some(2),
        _ => None,
    };
    view.schema()
        .record_shape()
        .to_vec()
        .into_iter()
        .chain(pair)
}

fn element_type(view: &View, dtype: DType) -> Result<DataType, Error> {
    let refuse = |message: String| {
        let error = Error::new(ErrorKind::Unsupported, "export", message);
        error.with_key(view.key().as_str())
    };
    let number = match dtype {
        DType::Bool => DataType::Boolean,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::U8 => DataType::UInt8,
        DType::U16 => DataType::UInt16,
        DType::U32 => DataType::UInt32,
        DType::U64 => DataType::UInt64,
        DType::F16 => DataType::Float16,
        // Arrow has no bfloat16; float32 represents all its numbers.
        DType::BF16 | DType::F32 | DType::Complex64 => DataType::Float32,
        DType::F64 | DType::Complex128 => DataType::Float64,
        other => return Err(refuse(format!("Arrow has no numbers of type {other}"))),
    };
    list_lengths(view, dtype)
        .rev()
        .try_fold(number, |inner, len| match i32::try_from(len) {
            Ok(len) if len > 0 => Ok(DataType::FixedSizeList(item(inner), len)),
            _ => Err(refuse(format!(
                "Arrow has no list of {len} elements; export it as .npy"
            ))),
        })
}

fn batch(
    schema: &Arc<Schema>,
    table: &Table,
    block: &[Records],
    rows: u64,
) -> Result<RecordBatch, Error> {
    let columns = table.columns.iter().zip(block);
    let arrays = columns.map(|(column, records)| array(&column.view, records, rows));
    let arrays = arrays.collect::<Result<Vec<_>, Error>>()?;
    RecordBatch::try_new(Arc::clone(schema), arrays).map_err(failed)
}

/// The first `rows` records as an array.
fn array(view: &View, records: &Records, rows: u64) -> Result<ArrayRef, Error> {
    let row_bytes = view.schema().record_bytes().unwrap_or(0);
    let values = || (0..rows).map(|row| records.value(row));
    match (view.kind(), view.dtype()) {
        (Kind::Array, Some(dtype)) => {
            let bytes = records.data().get(..row_bytes * rows as usize);
            fixed(view, dtype, bytes.unwrap_or_default())
        }
        (Kind::Ragged, Some(dtype)) => {
            let ends = records.ends().iter().take(rows as usize);
            let ends: Vec<_> = ends.map(|&end| end as usize).collect();
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let lengths = ends
                .iter()
                .zip(starts)
                .map(|(end, start)| (end - start) / row_bytes.max(1));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let bytes = records.data().get(..ends.last().copied().unwrap_or(0));
            let items = fixed(view, dtype, bytes.unwrap_or_default())?;
            let field = item(element_type(view, dtype)?);
            let list = LargeListArray::try_new(field, offsets, items, None).map_err(failed)?;
            Ok(Arc::new(list))
        }
        (Kind::Bytes, _) => {
            let rows = (0..rows).map(|row| records.record(row).unwrap_or_default());
            Ok(Arc::new(LargeBinaryArray::from_iter_values(rows)))
        }
        _ => {
            let texts = values().map(|value| {
                Ok(match value? {
                    Value::Text(text) => text,
                    value => to_json(&value).to_string(),
                })
            });
            let texts = texts.collect::<Result<Vec<_>, Error>>()?;
            Ok(Arc::new(LargeStringArray::from_iter_values(texts)))
        }
    }
}

/// Elements in nested lists, with a level for each axis of the records.
fn fixed(view: &View, dtype: DType, bytes: &[u8]) -> Result<ArrayRef, Error> {
    macro_rules! numbers {
        ($type:ty, $element:ty) => {
            numbers::<$type, _>(bytes, |bytes| <$element>::from_ne_bytes(bytes))
        };
    }
    let numbers: ArrayRef = match dtype {
        DType::Bool => Arc::new(BooleanArray::from_iter(
            bytes.iter().map(|&byte| Some(byte != 0)),
        )),
        DType::I8 => numbers!(Int8Type, i8),
        DType::I16 => numbers!(Int16Type, i16),
        DType::I32 => numbers!(Int32Type, i32),
        DType::I64 => numbers!(Int64Type, i64),
        DType::U8 => numbers!(UInt8Type, u8),
        DType::U16 => numbers!(UInt16Type, u16),
        DType::U32 => numbers!(UInt32Type, u32),
        DType::U64 => numbers!(UInt64Type, u64),
        DType::F16 => numbers!(Float16Type, simrecorder::half::f16),
        DType::BF16 => {
            numbers::<Float32Type, _>(bytes, |bytes| bf16::from_ne_bytes(bytes).to_f32())
        }
        DType::F32 | DType::Complex64 => numbers!(Float32Type, f32),
        _ => numbers!(Float64Type, f64),
    };
    let lists = list_lengths(view, dtype)
        .rev()
        .try_fold(numbers, |inner, len| {
            let field = item(inner.data_type().clone());
            let len = i32::try_from(len).unwrap_or(i32::MAX);
            let list = FixedSizeListArray::try_new(field, len, inner, None)?;
            Ok::<ArrayRef, ArrowError>(Arc::new(list))
        });
    lists.map_err(failed)
}

fn numbers<T: ArrowPrimitiveType, const N: usize>(
    bytes: &[u8],
    mut read: impl FnMut([u8; N]) -> T::Native,
) -> ArrayRef {
    let numbers: ScalarBuffer<T::Native> = bytes.as_chunks().0.iter().map(|&x| read(x)).collect();
    Arc::new(PrimitiveArray::<T>::new(numbers, None))
}
