//! Checks that the page of `simrec serve` was built, for the feature `serve`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_SERVE").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=page");
    let built = fs::metadata("page/page.js").and_then(|page| page.modified());
    // A package does not contain the sources of the page.
    let is_old = Path::new("../web/src").is_dir() && {
        println!("cargo::rerun-if-changed=../web/src");
        newest(Path::new("../web/src"))
            .is_ok_and(|source| built.as_ref().is_ok_and(|built| *built < source))
    };
    let message = match built {
        Err(_) => "missing",
        Ok(_) if is_old => "older than its sources",
        Ok(_) => return,
    };
    println!(
        "cargo::error=the page of `simrec serve` is {message}; run `npm ci && npm run build` in web/"
    );
}

/// The time of the latest change of a file in a folder.
fn newest(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let changed = match entry.file_type()?.is_dir() {
            true => self::newest(&entry.path())?,
            false => entry.metadata()?.modified()?,
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}
