//! Reports what is missing if libhdf5 is not found. It runs before the bindings are built, whose
//! own message names neither a package nor the other feature.

use std::env::var_os;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HDF5_DIR");
    let is_on = |feature: &str| var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let is_linux = var_os("CARGO_CFG_TARGET_OS").is_some_and(|os| os == "linux");
    // On other systems, the bindings search more places than this script knows.
    if !is_on("STATIC") && is_linux && !has_libhdf5() {
        for line in MESSAGE.lines() {
            println!("cargo::error={line}");
        }
    }
}

const MESSAGE: &str = "\
    the feature `hdf5` of simrecorder needs libhdf5 1.10.8 or newer with its headers, and found none. Install it:
    Debian, Ubuntu: apt install libhdf5-dev    Fedora: dnf install hdf5-devel    Arch: pacman -S hdf5
or set HDF5_DIR to the folder that contains its include/ and lib/,
or use the feature `hdf5-static` instead of `hdf5`: it builds libhdf5 from source, with CMake 3.26 or newer";

/// Searches the places that the bindings search.
fn has_libhdf5() -> bool {
    let headers = ["/usr/include/hdf5/serial", "/usr/include"];
    let has_header = |folder: &&str| {
        let names = ["H5pubconf.h", "H5pubconf-64.h"];
        names
            .iter()
            .any(|name| Path::new(folder).join(name).exists())
    };
    let pkg_config = || {
        let status = Command::new("pkg-config")
            .args(["--exists", "hdf5"])
            .status();
        status.is_ok_and(|status| status.success())
    };
    var_os("HDF5_DIR").is_some()
        || var_os("DOCS_RS").is_some()
        || headers.iter().any(has_header)
        || pkg_config()
}
