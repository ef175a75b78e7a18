"""Checks the attribute `json` of values.

Arguments: the path of the recording, and JSON: for each key the text of the attribute, or `null` if there is
none.
"""

import json
import sys

import h5py
import msgpack
import zarr
from simrecorder_lmdb import LmdbStore


def main(path, expected):
    root = h5py.File(path) if path.endswith(".h5") else None
    root = root or zarr.open_group(LmdbStore(path) if path.endswith(".mdb") else path, mode="r")
    for key, text in json.loads(expected).items():
        value = root[key]
        found = value.attrs.get("json")
        # The order of keys in JSON objects has no meaning.
        same = found == text or (found and text and json.loads(found) == json.loads(text))
        assert same, (key, found, text)
        if json.loads(value.attrs["simrecorder"] if path.endswith(".h5") else "{}").get("json"):
            # The text has the same contents as the bytes.
            assert json.loads(found) == msgpack.unpackb(value[...].tobytes()), key


main(*sys.argv[1:])
