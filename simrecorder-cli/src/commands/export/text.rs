//! Tables as CSV and JSON lines.

use std::io::Write;

use serde_json::Map;
use simrecorder::{ArrayView, Error, Kind, Value};

use super::failed;
use super::table::{Column, Table};
use crate::element::{elements, to_json};
use crate::record_writer::{element_names, text_of};

/// Writes a row for each record, with a column for each element of an array.
pub(super) fn write_csv(table: &Table, out: &mut impl Write) -> Result<(), Error> {
    let failed_csv = |error: csv::Error| failed(error.into());
    let mut rows = csv::Writer::from_writer(out);
    for Column { name, view } in &table.columns {
        let shape = match view.kind() {
            Kind::Array => view.schema().record_shape(),
            _ => &[],
        };
        for name in element_names(name, shape) {
            rows.write_field(name).map_err(failed_csv)?;
        }
    }
    rows.write_record(None::<&[u8]>).map_err(failed_csv)?;
    table.for_each_block(|block, count| {
        for row in 0..count {
            for (records, Column { view, .. }) in block.iter().zip(&table.columns) {
                match records.value(row)? {
                    Value::Array(array) if view.kind() == Kind::Array => {
                        for element in elements(&array) {
                            rows.write_field(element.to_string()).map_err(failed_csv)?;
                        }
                    }
                    value => rows.write_field(text_of(&value)).map_err(failed_csv)?,
                }
            }
            rows.write_record(None::<&[u8]>).map_err(failed_csv)?;
        }
        Ok(())
    })?;
    rows.flush().map_err(failed)
}

/// Writes an object for each row.
pub(super) fn write_json_lines(table: &Table, out: &mut impl Write) -> Result<(), Error> {
    table.for_each_block(|block, count| {
        for row in 0..count {
            let mut object = Map::new();
            for (records, column) in block.iter().zip(&table.columns) {
                object.insert(column.name.clone(), to_json(&records.value(row)?));
            }
            serde_json::to_writer(&mut *out, &object).map_err(|error| failed(error.into()))?;
            out.write_all(b"\n").map_err(failed)?;
        }
        Ok(())
    })
}
