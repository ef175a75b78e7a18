//! Text in aligned columns.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// Columns are aligned up to this width. A wider cell moves the rest of its line.
const WIDEST: usize = 60;

/// Rows of cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Writes the rows, without empty columns and without spaces at the ends of lines.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width().min(WIDEST));
            }
        }
        for row in &self.rows {
            let mut spaces = 0;
            for (cell, &width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
                if !cell.is_empty() {
                    write!(out, "{:spaces$}{cell}", "")?;
                    spaces = 0;
                }
                spaces += width.saturating_sub(cell.width()) + 2;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
