//! Compares simrecorder with what one would use instead, in one run, and prints tables.

#![allow(clippy::print_stdout, reason = "this is what the program is for")]

use std::path::PathBuf;

use clap::Parser;
use simrecorder_bench::Result;
use simrecorder_bench::comparison::Standing;
use simrecorder_bench::long_run::{self, LongRun};
use simrecorder_bench::python::Python;
use simrecorder_bench::works::{Setting, WORKS};

/// Runs each piece of work by all contenders in turn and prints medians and ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which pieces of work; all if none is named. `long-run` is one more.
    works: Vec<String>,
    /// How often all contenders run, after one round that does not count.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// What sizes are multiplied with.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// A folder in memory.
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// A folder on a disk.
    #[arg(long, default_value = "target")]
    disk: PathBuf,
    /// Leave the Python peers out.
    #[arg(long)]
    no_python: bool,
    /// Do one long run in this process and print its figures as JSON; for `long-run`.
    #[arg(long, hide = true)]
    child: Option<usize>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let records = (100e6 * arguments.scale) as u64;
    if let Some(keys) = arguments.child {
        println!("{}", long_run::run(&arguments.memory, records, keys)?);
        return Ok(());
    }
    let known = |name: &&String| *name == "long-run" || WORKS.iter().any(|work| work.0 == **name);
    if let Some(unknown) = arguments.works.iter().find(|name| !known(name)) {
        let names: Vec<_> = WORKS.iter().map(|work| work.0).collect();
        return Err(format!("no work is called {unknown}; there are {names:?}, long-run").into());
    }
    let wanted = |name: &str| {
        arguments.works.is_empty() || arguments.works.iter().any(|wanted| wanted == name)
    };
    let needs_python = ["read-all", "redis-read"].into_iter().any(wanted);
    let python = match arguments.no_python || !needs_python {
        true => None,
        false => Some(Python::set_up()?),
    };
    let setting = Setting {
        memory: arguments.memory.clone(),
        disk: arguments.disk.clone(),
        scale: arguments.scale,
        python,
    };
    for (name, make) in WORKS {
        if wanted(name) {
            let comparison = make(&setting)?;
            let (title, unit) = (comparison.title.clone(), comparison.unit);
            print_table(&title, unit, &comparison.run(arguments.rounds)?);
        }
    }
    if wanted("long-run") {
        print_long_runs(&arguments)?;
    }
    Ok(())
}

fn print_table(title: &str, unit: &str, standings: &[Standing]) {
    println!("\n### {title}\n\n| | {unit} | ratio | from | to |\n|---|---|---|---|---|");
    for standing in standings {
        println!(
            "| {} | {:.3} | {:.2} | {:.2} | {:.2} |",
            standing.name, standing.speed, standing.ratio, standing.range.0, standing.range.1
        );
    }
}

/// Each run has a process of its own, so that its memory is its own.
fn print_long_runs(arguments: &Arguments) -> Result<()> {
    println!("\n### Long runs: f64 by handle, Zarr/LMDB, memory bound 256 MiB\n");
    println!(
        "| keys | million records/s | last tenth to second | close, s | anonymous MiB | allowed |"
    );
    println!("|---|---|---|---|---|---|");
    for keys in [1, 100, 10_000] {
        let run = std::process::Command::new(std::env::current_exe()?)
            .args(["--child", &keys.to_string()])
            .args(["--scale", &arguments.scale.to_string()])
            .arg("--memory")
            .arg(&arguments.memory)
            .output()?;
        if !run.status.success() {
            return Err(String::from_utf8_lossy(&run.stderr).into());
        }
        let run: LongRun = String::from_utf8(run.stdout)?.parse()?;
        println!(
            "| {keys} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} |",
            run.speed,
            run.last_to_second(),
            run.close_seconds,
            run.peak_mib,
            run.allowed_mib()
        );
    }
    Ok(())
}
