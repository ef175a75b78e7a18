"""Checks that the array `v` of a directory has a number of rows, row i of which is i.

Arguments: the directory, the number of rows.
"""

import sys

import numpy
import tensorstore
import xarray
import zarr


def main(path, count):
    expected = numpy.repeat(numpy.arange(int(count)), 500).reshape(-1, 500)
    by_zarr = zarr.open_group(path, mode="r")["v"]
    by_xarray = xarray.open_zarr(path, consolidated=False)["v"]
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/v/"}}
    by_tensorstore = tensorstore.open(store, open=True).result()
    for values in [by_zarr[:], by_xarray.values, by_tensorstore.read().result()]:
        assert values.shape == expected.shape, values.shape
        assert (values == expected).all()


main(*sys.argv[1:])
