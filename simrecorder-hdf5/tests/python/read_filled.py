"""Reads series that begin with filled records, as h5py and xarray do.

Arguments: the path of the file, how many records follow the filled ones.
"""

import sys

import h5py
import xarray
from filled import check


def main(path, count):
    with h5py.File(path) as file:
        check(file["net"].__getitem__, int(count))
    with xarray.open_dataset(path, group="net", engine="h5netcdf") as dataset:
        check(dataset.__getitem__, int(count))


main(*sys.argv[1:])
