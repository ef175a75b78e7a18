//! What `copy` and `recover` share: their source, their target, and the selected part.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder::{
    Compression, CoordinateNumber, CoordinateRange, CopyOptions, DataStore, ErrorKind, OpenMode,
    OpenOptions, StagedRecording,
};

use crate::args::{Number, PatternArgs};
use crate::exit::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

#[derive(clap::Args, Debug)]
pub(crate) struct CopyArgs {
    /// Path or URL of the recording to read
    from: PathBuf,

    /// Path or URL of the recording to create
    to: PathBuf,

    #[command(flatten)]
    patterns: PatternArgs,

    /// Only the ticks of timelines with this coordinate in a range: time=10..20 excludes 20,
    /// time=..=20 includes it
    #[arg(long, value_name = "NAME=START..END", value_parser = parse_range)]
    select: Vec<(String, CoordinateRange)>,

    /// Encode again with this compression: none, fast, small, or lossy:ERROR such as lossy:1e-3
    #[arg(long, value_name = "COMPRESSION", value_parser = parse_compression)]
    compression: Option<Compression>,

    /// Add to an existing recording
    #[arg(long)]
    append: bool,
}

/// The recording to write.
enum Target {
    /// It appears when it is complete.
    New(StagedRecording),
    Existing(Arc<dyn DataStore>),
}

impl CopyArgs {
    /// Opens both recordings, calls `copy`, and makes the result visible.
    pub(crate) fn run<T>(
        &self,
        copy: impl FnOnce(&dyn DataStore, &dyn DataStore, CopyOptions<'_>) -> simrecorder::Result<T>,
    ) -> Result<T> {
        let interrupt = Interrupt::watch()?;
        let from = simrecorder::open(&self.from)?;
        let mut options = OpenOptions::new();
        if let Some(compression) = self.compression {
            options = options.compression(compression);
        }
        let target = match self.append {
            true => Target::Existing(simrecorder::open_with(
                &self.to,
                &options.mode(OpenMode::Append),
            )?),
            false => Target::New(StagedRecording::create(&self.to, &options)?),
        };
        let to = match &target {
            Target::New(staged) => staged.store(),
            Target::Existing(store) => store,
        };
        let progress = Progress::new();
        let options = self.options().on_progress(|copied| {
            progress.show_copy(copied);
            interrupt.flow()
        });
        let copied = copy(&*from, &**to, options).map_err(|error| match error.kind() {
            ErrorKind::Cancelled => interrupted(&target, &self.to),
            _ => error.into(),
        })?;
        if interrupt.is_requested() {
            return Err(interrupted(&target, &self.to));
        }
        match target {
            Target::New(staged) => staged.publish()?,
            Target::Existing(store) => store.close()?,
        }
        Ok(copied)
    }

    fn options<'a>(&self) -> CopyOptions<'a> {
        let mut options = CopyOptions::new().reencode(self.compression.is_some());
        for pattern in &self.patterns.include {
            options = options.include(pattern);
        }
        for pattern in &self.patterns.exclude {
            options = options.exclude(pattern);
        }
        for (name, range) in &self.select {
            options = options.select_by(name, *range);
        }
        options
    }
}

fn interrupted(target: &Target, path: &Path) -> Failure {
    let what_is_left = match target {
        Target::New(_) => "nothing was kept",
        Target::Existing(_) => "the partial copy remains; remove it and copy again",
    };
    Failure::Refused(format!(
        "copy to '{}': interrupted; {what_is_left}",
        path.display()
    ))
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    text.parse()
        .map_err(|error: simrecorder::Error| error.to_string())
}

/// Parses `NAME=START..END`. Either bound may be missing, and `=` before the end includes it.
fn parse_range(text: &str) -> Result<(String, CoordinateRange), String> {
    let wrong = || format!("'{text}' is not a range of a coordinate, such as time=10..20");
    let (name, range) = text.split_once('=').ok_or_else(wrong)?;
    let (start, end) = range.split_once("..").ok_or_else(wrong)?;
    let bound = |text: &str, bound: fn(CoordinateNumber) -> Bound<CoordinateNumber>| match text {
        "" => Ok(Bound::Unbounded),
        text => text
            .parse::<Number>()
            .map(|it| bound(it.0))
            .map_err(|_| wrong()),
    };
    let start = bound(start, Bound::Included)?;
    let end = match end.strip_prefix('=') {
        Some(end) => bound(end, Bound::Included)?,
        None => bound(end, Bound::Excluded)?,
    };
    Ok((name.to_owned(), CoordinateRange::from((start, end))))
}
