//! Tells the code which libhdf5 it is built for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for (version, name) in [("1_14_0", "hdf5_1_14"), ("2_0_0", "hdf5_2")] {
        println!("cargo::rustc-check-cfg=cfg({name})");
        // Set by the build script of hdf5-metno-sys, which has found or built the library.
        if std::env::var_os(format!("DEP_HDF5_VERSION_{version}")).is_some() {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
