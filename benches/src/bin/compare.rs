//! Compares simrecorder with alternatives in one run, and prints tables.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use simrecorder_bench::comparison::{Comparison, Standing};
use simrecorder_bench::long_run::{self, LongRun};
use simrecorder_bench::python::Python;
use simrecorder_bench::report::{Report, tagged};
use simrecorder_bench::workloads::{Setting, WORKLOADS, Workload, needs_python};
use simrecorder_bench::{Result, disk, latency, machine, plots, programs, seed_table};

/// The works that do not compare candidates in turn.
const OTHERS: [&str; 3] = ["latency", "seed-table", "long-run"];

/// Runs all candidates of each piece of work in turn, and prints medians and ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Pieces of work, by name or by the first word of a name, such as `sizes`; by default all.
    works: Vec<String>,
    /// Number of rounds, after one that is not counted.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Three rounds with a twentieth of the work: a check that everything works.
    #[arg(long, conflicts_with_all = ["rounds", "scale"])]
    quick: bool,
    /// Factor for all sizes.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Number of arrays in `seed-table`.
    #[arg(long, default_value_t = 10)]
    arrays: usize,
    /// A folder in memory.
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// A folder on a disk.
    #[arg(long, default_value = "target")]
    disk: PathBuf,
    /// Leave Python out: the peers, and the package.
    #[arg(long)]
    no_python: bool,
    /// Only the first candidate of each work, and those with this text in their names.
    #[arg(long)]
    only: Option<String>,
    /// A folder for `compare.md`, `compare.jsonl` and plots.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Print the names of all works.
    #[arg(long)]
    list: bool,
    /// Do one long run in this process and print its figures as JSON; for `long-run`.
    #[arg(long, hide = true)]
    long_run_of: Option<usize>,
    /// Run one candidate of one work once and print nothing; for counting its syncs.
    #[arg(long, hide = true)]
    candidate: Option<usize>,
    /// Run one store of `seed-table` once and print nothing; for counting its syncs.
    #[arg(long, hide = true)]
    seed_row: Option<usize>,
}

#[allow(clippy::print_stdout, reason = "these are answers to other programs")]
fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        (arguments.rounds, arguments.scale) = (3, 0.05);
    }
    if arguments.list {
        let names = WORKLOADS.iter().map(|work| work.0).chain(OTHERS);
        names.for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(keys) = arguments.long_run_of {
        let run = long_run::run(&arguments.memory, records(&arguments), keys)?;
        println!("{}", serde_json::to_string(&run)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut wanted = wanted(&arguments.works)?;
    wanted.retain(|work| !(arguments.no_python && work.starts_with("python-")));
    let is_wanted = |name: &str| wanted.contains(&name);
    let in_python = WORKLOADS
        .iter()
        .any(|work| is_wanted(work.0) && needs_python(work.0));
    let in_python = in_python && !arguments.no_python;
    let is_child = arguments.candidate.is_some() || arguments.seed_row.is_some();
    let runs_simrec = wanted.iter().any(|work| work.starts_with("simrec-"));
    if !is_child && (in_python || runs_simrec) {
        programs::build(in_python)?;
    }
    let setting = Setting {
        memory: arguments.memory.clone(),
        disk: arguments.disk.clone(),
        scale: arguments.scale,
        python: match in_python {
            false => None,
            true if is_child => Some(Python::installed()?),
            true => Some(Python::set_up()?),
        },
    };
    if let Some(index) = arguments.candidate {
        let work = WORKLOADS.iter().find(|work| is_wanted(work.0));
        let make = work.ok_or("no such work")?.1;
        made(make(&setting)?, &arguments).run_only(index)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(index) = arguments.seed_row {
        seed_table::run_only(&setting, arguments.arrays, index)?;
        return Ok(ExitCode::SUCCESS);
    }
    run_all(&arguments, &setting, &wanted)
}

/// The names of all works that match the arguments.
fn wanted(names: &[String]) -> Result<Vec<&'static str>> {
    let all = || WORKLOADS.iter().map(|work| work.0).chain(OTHERS);
    let fits = |work: &str, name: &str| {
        work == name
            || work
                .strip_prefix(name)
                .is_some_and(|it| it.starts_with('-'))
    };
    for name in names {
        if !all().any(|work| fits(work, name)) {
            let all: Vec<_> = all().collect();
            return Err(format!("no work is called {name}; there are {}", all.join(", ")).into());
        }
    }
    let is_wanted = |work: &&str| names.is_empty() || names.iter().any(|name| fits(work, name));
    Ok(all().filter(is_wanted).collect())
}

/// Does all requested works. Failures are reported, and the remaining works are done nevertheless.
fn run_all(arguments: &Arguments, setting: &Setting, wanted: &[&str]) -> Result<ExitCode> {
    let mut report = Report::new(arguments.output.clone())?;
    report.add_machine(&machine::describe(setting, arguments.rounds)?)?;
    let mut code = ExitCode::SUCCESS;
    for name in wanted {
        let work = WORKLOADS.iter().find(|work| work.0 == *name);
        let none = Vec::new();
        let done = match (work, *name) {
            (Some(work), _) => compare(arguments, setting, work, &mut report),
            (None, "latency") => measure_latency(arguments, setting, &mut report).map(|()| none),
            (None, "seed-table") => make_seed_table(arguments, setting, &mut report).map(|()| none),
            (None, _) => make_long_runs(arguments, &mut report).map(|()| none),
        };
        for failure in done.unwrap_or_else(|error| vec![error.to_string()]) {
            print_failure(name, &failure);
            report.add_failure(name, &failure)?;
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

#[allow(clippy::print_stderr, reason = "the tables are on standard output")]
fn print_failure(work: &str, failure: &str) {
    eprintln!("{work} failed: {failure}");
}

fn compare(
    arguments: &Arguments,
    setting: &Setting,
    (name, make): &Workload,
    report: &mut Report,
) -> Result<Vec<String>> {
    let comparison = made(make(setting)?, arguments);
    let (title, unit) = (comparison.title.clone(), comparison.unit);
    let (amount, bytes, on_disk) = (comparison.amount, comparison.bytes, comparison.on_disk);
    let mut results = comparison.run(arguments.rounds);
    let standings = &mut results.standings;
    if on_disk && let Err(error) = count_syncs(arguments, name, standings) {
        results.failures.push(error.to_string());
    }
    report.add_standings(name, &title, unit, amount, bytes, standings)?;
    Ok(results.failures)
}

/// A comparison of the requested candidates.
fn made(mut comparison: Comparison, arguments: &Arguments) -> Comparison {
    if let Some(only) = &arguments.only {
        let mut is_first = true;
        comparison
            .candidates
            .retain(|it| std::mem::take(&mut is_first) || it.name().contains(&**only));
    }
    comparison
}

/// Runs each candidate once more, in a monitored process.
fn count_syncs(arguments: &Arguments, work: &str, standings: &mut [Standing]) -> Result<()> {
    for standing in standings {
        let mut command = again(arguments);
        command.args([work, "--candidate", &standing.index.to_string()]);
        if arguments.no_python {
            command.arg("--no-python");
        }
        if let Some(only) = &arguments.only {
            command.args(["--only", only]);
        }
        standing.syncs = Some(disk::syncs(&command)?);
    }
    Ok(())
}

/// This program, with the same sizes and folders, even if its file was replaced since it started.
fn again(arguments: &Arguments) -> Command {
    let mut command = Command::new(format!("/proc/{}/exe", std::process::id()));
    command
        .args(["--scale", &arguments.scale.to_string()])
        .arg("--memory")
        .arg(&arguments.memory)
        .arg("--disk")
        .arg(&arguments.disk);
    command
}

fn measure_latency(arguments: &Arguments, setting: &Setting, report: &mut Report) -> Result<()> {
    let latencies = latency::run(setting, arguments.rounds)?;
    let objects = latencies.iter().map(|it| tagged("latency", it));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    report.add(&latency::table(&latencies)?, &objects)
}

fn make_seed_table(arguments: &Arguments, setting: &Setting, report: &mut Report) -> Result<()> {
    let mut rows = seed_table::run(setting, arguments.arrays)?;
    for (index, row) in rows.iter_mut().enumerate() {
        if row.stored_bytes.is_some() {
            let mut command = again(arguments);
            command.args(["seed-table", "--arrays", &arguments.arrays.to_string()]);
            command.args(["--seed-row", &index.to_string()]);
            row.syncs = Some(disk::syncs(&command)?);
        }
    }
    let objects = rows.iter().map(|it| tagged("seed-table", it));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    report.add(&seed_table::table(&rows)?, &objects)
}

/// The number of records of a long run.
fn records(arguments: &Arguments) -> u64 {
    (100e6 * arguments.scale) as u64
}

/// Each run is a separate process, so that memory is measured separately.
fn make_long_runs(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let mut runs = Vec::new();
    for keys in long_run::numbers_of_keys(records(arguments)) {
        let mut command = again(arguments);
        command.args(["--long-run-of", &keys.to_string()]);
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        runs.push(serde_json::from_slice::<LongRun>(&output.stdout)?);
    }
    let objects = runs.iter().map(|it| tagged("long-run", it));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    let mut text = long_run::table(&runs)?;
    if let Some(folder) = report.folder() {
        plots::draw(folder, &runs)?;
        text.push_str("\n![Speed along the way](tenths.svg)\n![Speed by keys](keys.svg)\n");
        text.push_str("![Memory along the way](memory.svg)\n");
    }
    report.add(&text, &objects)
}
