"""Reads series that begin with filled records, as zarr-python, xarray and TensorStore do.

Arguments: `directory` or `lmdb`, the path of the recording, how many records follow the filled ones.
"""

import sys

import tensorstore
import xarray
import zarr
from filled import check
from simrecorder_lmdb import LmdbStore


def by_tensorstore(path):
    def open_array(name):
        store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/net/{name}/"}}
        return tensorstore.open(store, open=True).result()

    return open_array


def main(medium, path, count):
    store = path if medium == "directory" else LmdbStore(path)
    check(zarr.open_group(store, mode="r")["net"].__getitem__, int(count))
    check(xarray.open_zarr(store, group="net", consolidated=False, chunks=None).__getitem__, int(count))
    if medium == "directory":
        check(by_tensorstore(path), int(count))


main(*sys.argv[1:])
