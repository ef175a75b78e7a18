"""Writes a file with coordinates as xarray does. Arguments: its path, and for netCDF the engine."""

import sys

import numpy
import pandas
import xarray

TIMES = 300


def dataset():
    """`t` counts its elements; its coordinates increase, decrease, and have no order."""
    shape = (TIMES, 19, 4)
    return xarray.Dataset(
        {"t": (("time", "lat", "level"), numpy.arange(numpy.prod(shape)).reshape(shape))},
        coords={
            "time": pandas.date_range("2000-01-01", periods=TIMES, freq="D"),
            "lat": ("lat", numpy.linspace(90.0, -90.0, 19), {"units": "degrees_north"}),
            "level": ("level", numpy.array([500, 1000, 200, 850], dtype="i4")),
        },
    )


def hours():
    time = numpy.arange(TIMES, dtype="f4") / 4
    return xarray.Dataset(
        {"v": ("time", numpy.arange(TIMES))},
        coords={"time": ("time", time, {"units": "h"})},
    )


def main(path, engine=None):
    for group, contents, mode in [(None, dataset(), "w"), ("hours", hours(), "a")]:
        if engine is None:
            contents.to_zarr(path, group=group, mode=mode, zarr_format=3, consolidated=False)
        else:
            contents.to_netcdf(path, group=group, mode=mode, engine=engine)


main(*sys.argv[1:])
