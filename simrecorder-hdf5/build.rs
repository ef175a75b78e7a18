//! Tells the code which form the file drivers of the HDF5 library have.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(hdf5_1_14)");
    // Set by the build script of hdf5-metno-sys.
    if std::env::var_os("DEP_HDF5_VERSION_1_14_0").is_some() {
        println!("cargo::rustc-cfg=hdf5_1_14");
    }
}
