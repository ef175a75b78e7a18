//! Writes the seeds of all fuzz targets to `fuzz/seeds`; `ci/fuzz seeds` runs it.

use std::fs;
use std::path::Path;

use simrecorder_core::backend::{Rows, write_frame};

fn main() {
    write(
        "key",
        texts(&[
            "net/v",
            "/a//b/",
            "a/../b",
            "\u{e9}/\u{1f600}",
            "zarr.json",
            ".",
        ]),
    );
    let urls = [
        "redis://user:secret-word@host:1,other:2/3?run=a%20b&cluster=true",
        "redis+unix:/tmp/x.sock?db=2&pass=secret-word&run=r",
        "rediss://[::1]:6380?sentinel=main&tls_ca=ca.pem",
        "memory:?mode=create-new&compression=lossy:1e-3",
        "none:path",
    ];
    write("url", texts(&urls));
    write("tail_frames", tail_frames());
    #[cfg(feature = "redis")]
    write("redis_frame", simrecorder_redis::fuzzing::sound_frames());
    let documents = [
        r#"{"node":"group"}"#,
        r#"{"node":"series","kind":"array","dtype":"float64","shape":[2,3],"records":"array float64 [2, 3]","encoding":"arrow","compression":"none","chunk_shape":[8,2,3],"dimension_names":["record","y",null],"fill_value":"0000000000000000"}"#,
        r#"{"node":"value","kind":"text","records":"text - []","encoding":"bincode","compression":"lossy:0.001","frame":"ff-0","parts":1,"bytes":10}"#,
        "ragged int16 [2]",
    ];
    write("redis_document", texts(&documents));
    #[cfg(feature = "hdf5")]
    hdf5_seeds();
    #[cfg(feature = "zarr")]
    zarr_seeds();
}

#[cfg(feature = "hdf5")]
fn hdf5_seeds() {
    use simrecorder_fuzz::{HDF5_HEADER, Scratch, hdf5, open_hdf5};

    write("hdf5_chunk", simrecorder_hdf5::fuzzing::sound_chunks());
    let scratch = Scratch::new(hdf5, open_hdf5);
    let journal = fs::read(scratch.path().join("run.h5.journal"));
    let journal = journal.expect("a journal");
    let after = [&[1], &journal[HDF5_HEADER..]].concat();
    write("hdf5_journal", vec![[&[0], &journal[..]].concat(), after]);
}

#[cfg(feature = "zarr")]
fn zarr_seeds() {
    use simrecorder_fuzz::{CODECS, Scratch, open_zarr, sound_chunk, zarr};

    let scratch = Scratch::new(zarr, open_zarr);
    let file = |name: &str| fs::read(scratch.path().join(name)).expect("a file of a recording");
    write("zarr_journal", vec![file("run.zarr.journal")]);
    let keys = ["net/n", "spikes/ends", "log", "seed"];
    let metadata = keys.map(|key| file(&format!("run.zarr/{key}/zarr.json")));
    write("zarr_metadata", metadata.into());
    let of_zarr_v2 = [
        r#"{"chunks":[8],"compressor":null,"dtype":"<f8","fill_value":"NaN","filters":null,"order":"C","shape":[8],"zarr_format":2}"#,
        r#"{"chunks":[4,2],"compressor":{"id":"blosc","cname":"lz4","clevel":5,"shuffle":1,"blocksize":0},"dtype":">i2","fill_value":null,"filters":[{"id":"shuffle","elementsize":2}],"order":"F","shape":[8,3],"dimension_separator":"/","zarr_format":2}"#,
        r#"{"chunks":[4],"compressor":{"id":"zlib","level":1},"dtype":"|O","fill_value":0,"filters":[{"id":"vlen-utf8"}],"order":"C","shape":[8],"zarr_format":2}"#,
    ];
    write("zarr_v2_metadata", texts(&of_zarr_v2));
    let chunk = |(index, (key, _)): (usize, &(&str, &str))| {
        [&[index as u8], &sound_chunk(key)[..]].concat()
    };
    write("zarr_chunk", CODECS.iter().enumerate().map(chunk).collect());
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn tail_frames() -> Vec<Vec<u8>> {
    let mut tail = Vec::new();
    let rows = Rows {
        count: 2,
        data: b"onetwo".to_vec(),
        ends: vec![3, 6],
        ..Rows::default()
    };
    write_frame(&mut tail, 0, rows.as_rows_ref(), |_| {});
    write_frame(&mut tail, 2, rows.as_rows_ref(), |_| {});
    let mut fixed = Vec::new();
    let rows = Rows {
        count: 2,
        data: vec![1; 16],
        ..Rows::default()
    };
    write_frame(&mut fixed, 0, rows.as_rows_ref(), |_| {});
    vec![tail, fixed]
}

fn write(target: &str, seeds: Vec<Vec<u8>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    fs::create_dir_all(&folder).expect("a folder");
    for (i, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("{i:02}")), seed).expect("a seed is written");
    }
}
