//! `simrec tail`: prints the last records of series, and new ones while a simulation is running.

use std::io::Write;
use std::time::Duration;

use simrecorder::backend::Node;
use simrecorder::{ArrayView, ErrorKind, Key, View};

use crate::args::SeriesArgs;
use crate::exit::{Exit, Result};
use crate::number_format::NumberFormat;
use crate::output::{Output, warn};
use crate::record_writer::{Form, Style};
use crate::recording;

const EXAMPLES: &str = "\
Examples:
  simrec tail run.mdb log                      the last ten records
  simrec tail -n 1 run.mdb net/rate net/v      the last record of each
  simrec tail -f -c run.mdb 'net/*'            and new ones with their time, while the simulation runs";

/// The pause before checking for new records again.
const INTERVAL: Duration = Duration::from_millis(200);

/// Print the last records of series
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    series: SeriesArgs,

    /// Print the last N records of each series
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    count: u64,

    /// Wait for new records, and print them, until Ctrl-C
    #[arg(short, long)]
    follow: bool,

    /// Write the coordinate (time, step) of each record before it
    #[arg(short, long)]
    coordinates: bool,

    /// Format numbers as printf does: %.3g, %8.2f, %e, %d, %x
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<NumberFormat>,

    /// Write one JSON object per record, with its key, index, coordinate and value
    #[arg(long)]
    json: bool,
}

/// Prints records of several series, each block after a line with its key.
struct Tail<'a> {
    form: Form,
    output: &'a mut Output,
    has_headings: bool,
    /// The series of the last line.
    last: Option<Key>,
}

impl Tail<'_> {
    fn print(&mut self, view: &View, start: u64) -> Result<()> {
        if start >= view.len() {
            return Ok(());
        }
        if self.has_headings && self.last.as_ref() != Some(view.key()) {
            let heading = format!("==> {} <==", view.key());
            let heading = self.output.paint(anstyle::Style::new().bold(), heading);
            writeln!(self.output, "{heading}")?;
            self.last = Some(view.key().clone());
        }
        let first = view.first_record() + start;
        self.form
            .write_view_from(first, &view.select(start..)?, self.output)
    }
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let store = recording::open(&args.series.recording)?;
    let mut views = Vec::new();
    for node in recording::nodes(&*store, recording::select(&*store, &args.series.keys)?) {
        if let Node::Series(view) = node.1? {
            views.push(view);
        }
    }
    let form = Form {
        style: if args.json {
            Style::JsonObjects
        } else {
            Style::Text
        },
        coordinates: args.coordinates,
        format: args.format.clone(),
    };
    let has_headings = views.len() > 1 && !args.json;
    let mut tail = Tail {
        form,
        output,
        has_headings,
        last: None,
    };
    for view in &views {
        tail.print(view, view.len().saturating_sub(args.count))?;
    }
    if !args.follow {
        return Ok(Exit::Success);
    }
    loop {
        tail.output.flush()?;
        wait(&views)?;
        for view in &mut views {
            let now = view.refresh()?;
            if now.len() < view.len() {
                let (key, before, after) = (view.key(), view.len(), now.len());
                warn(format!(
                    "tail '{key}': the series was cut from {before} to {after} records"
                ));
            }
            // If the first records of a series were freed, only new ones.
            let seen = view.first_record() + view.len();
            tail.print(&now, seen.saturating_sub(now.first_record()))?;
            *view = now;
        }
    }
}

/// Waits until there may be new records.
fn wait(views: &[View]) -> Result<()> {
    if let [view] = views {
        match view.follow(INTERVAL) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            followed => return Ok(followed.map(drop)?),
        }
    }
    std::thread::sleep(INTERVAL);
    Ok(())
}
