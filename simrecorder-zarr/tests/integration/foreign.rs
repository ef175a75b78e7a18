//! Directories of other Zarr software, and what other software sees of our recordings.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use simrecorder_core::{ChunkPolicy, ErrorKind, Node, OpenMode, Recorder, Result, prelude::*};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

fn open(path: &Path, mode: OpenMode) -> Result<Recorder> {
    let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
    options.mode(mode).open(path).map(Recorder::new)
}

fn write(path: &Path, document: &Json) {
    fs::create_dir_all(path).unwrap();
    fs::write(path.join("zarr.json"), document.to_string()).unwrap();
}

fn array(shape: &[u64], chunk: &[u64]) -> Json {
    json!({
        "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "float64",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default"}, "fill_value": 1.5,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    })
}

#[test]
fn a_chunk_that_was_never_written_takes_no_more_memory_than_what_is_read_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    write(&path, &json!({"zarr_format": 3, "node_type": "group"}));
    write(&path.join("x"), &array(&[10, 6], &[1 << 40, 4]));
    let view = open(&path, OpenMode::Read).unwrap().get_all("x").unwrap();
    assert!(view.read::<f64>().unwrap().iter().all(|&x| x == 1.5));
    assert_eq!(view.get(9).unwrap().array::<f64>().unwrap().len(), 6);
    // A chunk that must be written has to match.
    let recorder = open(&path, OpenMode::Append).unwrap();
    recorder.record("x", [1.0; 6]).unwrap();
    let error = recorder.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("'x'"), "{error}");
}

#[test]
fn an_array_at_the_root_is_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    write(&path, &array(&[3], &[3]));
    for mode in [OpenMode::Read, OpenMode::Append] {
        let error = open(&path, mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(
            error.to_string().contains("the root is an array"),
            "{error}"
        );
    }
}

/// zarr-python prefers this copy of the metadata to the metadata itself.
#[test]
fn a_consolidated_copy_of_the_metadata_goes_when_the_recording_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    let consolidated = json!({"kind": "inline", "must_understand": false, "metadata": {}});
    let root = json!({
        "zarr_format": 3, "node_type": "group", "attributes": {"title": "t"},
        "consolidated_metadata": consolidated,
    });
    write(&path, &root);
    drop(open(&path, OpenMode::Read).unwrap());
    let stored =
        || -> Json { serde_json::from_slice(&fs::read(path.join("zarr.json")).unwrap()).unwrap() };
    assert_eq!(stored(), root);
    let recorder = open(&path, OpenMode::Append).unwrap();
    recorder.record("x", 1_u64).unwrap();
    recorder.close().unwrap();
    let stored = stored();
    assert_eq!(stored.get("consolidated_metadata"), None);
    assert_eq!(stored["attributes"]["title"], "t");
}

#[test]
fn a_number_of_records_says_nothing_about_the_chunks_of_values_and_of_items() {
    let folder = tempfile::tempdir().unwrap();
    for policy in [ChunkPolicy::records(1), ChunkPolicy::shape([1]).unwrap()] {
        let path = folder
            .path()
            .join(format!("{}.zarr", policy == ChunkPolicy::records(1)));
        let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
        let options = options.mode(OpenMode::CreateNew).chunk_policy(policy);
        let recorder = Recorder::new(options.open(&path).unwrap());
        recorder.set("value", vec![1.0; 1000]).unwrap();
        recorder.set("matrix", [[1.0; 10]; 10]).unwrap();
        recorder.record("rows", Ragged(vec![1_u64; 1000])).unwrap();
        recorder.record("blob", Blob(vec![1; 1000])).unwrap();
        recorder.close().unwrap();
        // The metadata, and one chunk.
        for array in ["value", "matrix", "rows/values", "blob/values"] {
            let files = fs::read_dir(path.join(array)).unwrap();
            assert_eq!(files.count(), 2, "{array}");
        }
    }
}

#[test]
fn an_array_that_cannot_be_read_hides_no_other_key_of_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    write(&path, &json!({"zarr_format": 3, "node_type": "group"}));
    write(&path.join("x"), &array(&[3], &[3]));
    let mut unknown = array(&[3], &[3]);
    unknown["codecs"] = json!([{"name": "a codec of tomorrow", "configuration": {}}]);
    unknown["attributes"] = json!({"units": "mV"});
    write(&path.join("y"), &unknown);

    let recorder = open(&path, OpenMode::Read).unwrap();
    let root = recorder.group("").unwrap();
    assert_eq!(root.view("x").unwrap().len(), 3);
    assert!(root.view("y").is_none());
    assert!(root.nodes().any(|(name, node)| {
        name == "y" && matches!(node, Node::Unreadable { error, .. } if error.key() == Some("y"))
    }));
    let error = recorder.get_all("y").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("'y'"), "{error}");
    let attributes = recorder.attributes("y").unwrap().unwrap();
    assert_eq!(attributes["units"], "mV");
}
