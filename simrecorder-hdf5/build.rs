//! Tells the code which libhdf5 it is built for.

fn main() {
    assert!(
        std::env::var_os("DEP_HDF5_VERSION_1_10_8").is_some(),
        "simrecorder needs libhdf5 1.10.8 or newer, and this is an older one: install a newer one \
         and set HDF5_DIR to it, or use the feature `hdf5-static` (`static` of simrecorder-hdf5), \
         which builds one from source"
    );
    println!("cargo::rerun-if-changed=build.rs");
    for (version, name) in [
        ("1_12_0", "hdf5_1_12"),
        ("1_14_0", "hdf5_1_14"),
        ("2_0_0", "hdf5_2"),
    ] {
        println!("cargo::rustc-check-cfg=cfg({name})");
        // Set by the build script of hdf5-metno-sys, which has found or built the library.
        if std::env::var_os(format!("DEP_HDF5_VERSION_{version}")).is_some() {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
