//! The output of `compare`, also written as Markdown and as lines of JSON.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::candidate::Result;
use crate::comparison::Standing;

/// All results so far.
#[derive(Debug)]
pub struct Report {
    markdown: String,
    lines: String,
    folder: Option<PathBuf>,
}

impl Report {
    /// An empty report, which is written into a folder if one is given.
    ///
    /// # Errors
    ///
    /// The folder cannot be created.
    pub fn new(folder: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder)?;
        }
        Ok(Self {
            markdown: String::new(),
            lines: String::new(),
            folder,
        })
    }

    /// The folder for files that belong to the report.
    pub fn folder(&self) -> Option<&PathBuf> {
        self.folder.as_ref()
    }

    /// Adds a part: text for people, and objects for programs. The files then contain all results
    /// so far, whatever happens later.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    #[allow(clippy::print_stdout, reason = "the report is what the program is for")]
    pub fn add(&mut self, text: &str, objects: &[Json]) -> Result<()> {
        print!("{text}");
        self.markdown.push_str(text);
        for object in objects {
            writeln!(self.lines, "{object}")?;
        }
        if let Some(folder) = &self.folder {
            fs::write(folder.join("compare.md"), &self.markdown)?;
            fs::write(folder.join("compare.jsonl"), &self.lines)?;
        }
        Ok(())
    }

    /// Adds the description of the machine.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub fn add_machine(&mut self, machine: &[(String, String)]) -> Result<()> {
        let mut text = "# Results of `compare`\n\n| | |\n|---|---|\n".to_owned();
        for (name, value) in machine {
            writeln!(text, "| {name} | {value} |")?;
        }
        let values = machine.iter().map(|(name, it)| (name.clone(), json!(it)));
        let mut object: serde_json::Map<String, Json> = values.collect();
        object.insert("kind".to_owned(), json!("machine"));
        self.add(&text, &[Json::Object(object)])
    }

    /// Adds the failure of a work, and its reason.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub fn add_failure(&mut self, work: &str, failure: &str) -> Result<()> {
        let object = json!({ "kind": "failure", "work": work, "failure": failure });
        self.add(&format!("\n**`{work}` failed:** {failure}\n"), &[object])
    }

    /// Adds a table of candidates.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn add_standings(
        &mut self,
        work: &str,
        title: &str,
        unit: &str,
        amount: f64,
        bytes: Option<usize>,
        standings: &[Standing],
    ) -> Result<()> {
        let mut objects = Vec::new();
        for standing in standings {
            let mut object = tagged("standing", standing)?;
            object["work"] = json!(work);
            object["title"] = json!(title);
            object["unit"] = json!(unit);
            object["amount"] = json!(amount);
            object["recorded_bytes"] = json!(bytes);
            object["seed"] = json!(crate::data::SEED);
            objects.push(object);
        }
        self.add(&table(work, title, unit, bytes, standings)?, &objects)
    }
}

/// An object with its kind.
///
/// # Errors
///
/// The value is not an object.
pub fn tagged(kind: &str, value: &impl Serialize) -> Result<Json> {
    let mut object = serde_json::to_value(value)?;
    if !object.is_object() {
        return Err(format!("a {kind} is no object").into());
    }
    object["kind"] = json!(kind);
    Ok(object)
}

/// A speed with at least four significant digits.
fn speed(value: f64) -> String {
    let magnitude = value.log10().floor().max(-9.0) as i32;
    let digits = (3 - magnitude).max(0) as usize;
    format!("{value:.digits$}")
}

type Column<'a> = (String, Box<dyn Fn(&Standing) -> Option<String> + 'a>);

fn table(
    work: &str,
    title: &str,
    unit: &str,
    bytes: Option<usize>,
    standings: &[Standing],
) -> Result<String> {
    let numbers = |name: &str, digits: usize, of: fn(&Standing) -> Option<f64>| -> Column<'_> {
        let show = move |it: &Standing| of(it).map(|it| format!("{it:.digits$}"));
        (name.to_owned(), Box::new(show))
    };
    let speeds: Column<'_> = (unit.to_owned(), Box::new(|it| Some(speed(it.median))));
    let columns = [
        speeds,
        numbers("ratio", 2, |it| Some(it.ratio)),
        numbers("from", 2, |it| Some(it.lowest_ratio)),
        numbers("to", 2, |it| Some(it.highest_ratio)),
        numbers("simrecorder is x", 2, |it| it.ours),
        numbers("stored MB", 1, |it| {
            it.stored_bytes.map(|it| it as f64 / 1e6)
        }),
        numbers("stored / recorded", 4, |it| it.stored_ratio),
        numbers("written MB", 1, |it| it.written_bytes.map(|it| it / 1e6)),
        numbers("syncs", 0, |it| it.syncs.map(|it| it as f64)),
    ];
    // Empty columns are left out.
    let columns: Vec<_> = columns
        .iter()
        .filter(|column| standings.iter().any(|it| column.1(it).is_some()))
        .collect();
    let mut text = format!("\n## {title}\n\n`{work}`");
    if let Some(bytes) = bytes {
        write!(text, ", {:.0} MB", bytes as f64 / 1e6)?;
    }
    text.push_str("\n\n| |");
    columns
        .iter()
        .try_for_each(|it| write!(text, " {} |", it.0))?;
    text.push_str("\n|---|");
    columns.iter().for_each(|_| text.push_str("--:|"));
    text.push('\n');
    for standing in standings {
        write!(text, "| {}", standing.name)?;
        if let Some(fraction) = standing.fraction.filter(|it| *it < 1.0) {
            write!(text, " (1/{:.0} of the records)", 1.0 / fraction)?;
        }
        for column in &columns {
            write!(text, " | {}", column.1(standing).unwrap_or_default())?;
        }
        text.push_str(" |\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_candidates_have_digits_too() {
        assert_eq!(speed(1523.94), "1524");
        assert_eq!(speed(38.7331), "38.73");
        assert_eq!(speed(0.000_123_44), "0.0001234");
        assert_eq!(speed(0.0), "0.000000000000");
    }
}
