//! Describes the machine and the versions of the software on it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::candidate::Result;
use crate::data::SEED;
use crate::workloads::Setting;

/// The crates whose versions are listed.
const CRATES: &[&str] = &[
    "simrecorder",
    "zarrs",
    "hdf5-metno",
    "mcap",
    "heed",
    "redis",
    "blosc-src",
];

/// The lines above the tables: names and values.
///
/// # Errors
///
/// The system does not report a value; a program is missing.
pub fn describe(setting: &Setting, rounds: usize) -> Result<Vec<(String, String)>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = value(&cpus, "model name").unwrap_or("unknown");
    let cores = std::thread::available_parallelism()?;
    let memory = read("/proc/meminfo");
    let kib: f64 = value(&memory, "MemTotal")
        .and_then(|it| it.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN);
    let mut all = vec![
        ("date".to_owned(), said_by("date", &["+%F"])?),
        ("processor".to_owned(), format!("{model}, {cores} cores")),
        (
            "memory".to_owned(),
            format!("{:.1} GiB", kib / f64::from(1 << 20)),
        ),
        ("kernel".to_owned(), said_by("uname", &["-srm"])?),
        (
            "memory file system".to_owned(),
            file_system(&setting.memory)?,
        ),
        ("disk file system".to_owned(), file_system(&setting.disk)?),
        ("commit".to_owned(), commit()),
        ("rustc".to_owned(), said_by("rustc", &["--version"])?),
        ("profile".to_owned(), profile().to_owned()),
        ("redis-server".to_owned(), redis_version()?),
        ("libhdf5".to_owned(), hdf5_version()),
    ];
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock"))?;
    for name in CRATES {
        if let Some(version) = locked_version(&lock, name) {
            all.push((format!("crate {name}"), version.to_owned()));
        }
    }
    if let Some(python) = &setting.python {
        all.extend(python.versions()?);
    }
    all.push(("rounds".to_owned(), rounds.to_string()));
    all.push(("scale".to_owned(), setting.scale.to_string()));
    all.push(("seed".to_owned(), SEED.to_string()));
    Ok(all)
}

/// The commit of the sources, and whether they were changed since.
fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let described = said_by("git", &["-C", folder, "describe", "--always", "--dirty"]).ok();
    let described = described.filter(|commit| !commit.is_empty());
    described.unwrap_or_else(|| "unknown".to_owned())
}

fn profile() -> &'static str {
    match cfg!(debug_assertions) {
        true => "debug, whose speeds mean nothing",
        false => "release",
    }
}

fn redis_version() -> Result<String> {
    let said = said_by("redis-server", &["--version"])?;
    let mut words = said.split_whitespace();
    let version = words.find_map(|word| word.strip_prefix("v="));
    Ok(version.unwrap_or("unknown").to_owned())
}

fn hdf5_version() -> String {
    let (major, minor, release) = hdf5_metno::library_version();
    format!("{major}.{minor}.{release}")
}

/// The text after a name and a colon.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.split_once(':'))?;
    Some(line.1.trim())
}

fn said_by(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn file_system(path: &Path) -> Result<String> {
    let path = path.to_str().ok_or("a path that is no text")?;
    let table = said_by("df", &["--output=fstype", path])?;
    Ok(table.lines().last().unwrap_or("unknown").trim().to_owned())
}

/// The version of a package in `Cargo.lock`.
fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, package) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    Some(package.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found() {
        let lock = "[[package]]\nname = \"mcap\"\nversion = \"0.26.0\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, "mcap"), Some("0.26.0"));
        assert_eq!(locked_version(lock, "cap"), None);
        assert_eq!(value("MemTotal:  5 kB\n", "MemTotal"), Some("5 kB"));
    }
}
