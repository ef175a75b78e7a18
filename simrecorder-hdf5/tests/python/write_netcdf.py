"""Writes a netCDF-4 file. Arguments: the path, and `netCDF4`, or an engine of xarray.

The elements of every variable are 0, 1, 2, …, unless its name says otherwise.
"""

import sys
import warnings

# A compiled part of netCDF4 was built for another version of NumPy.
warnings.simplefilter("ignore")

import netCDF4
import numpy
import pandas
import xarray

TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"]
SHAPE = (10, 6)


def numbers(dtype, shape):
    return numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def texts(count):
    return numpy.array([f"text {i}" for i in range(count)], dtype=object)


def write_with_netcdf4(path):
    with netCDF4.Dataset(path, "w") as file:
        file.title = "by netCDF4"
        file.createDimension("time", None)
        file.createDimension("x", 6)
        options = {
            "plain": {},
            "zlib": dict(zlib=True, complevel=9, shuffle=False),
            "shuffled": dict(zlib=True, complevel=4, shuffle=True, fletcher32=True),
            "chunked": dict(chunksizes=(1, 4)),
            "big_endian": dict(endian="big"),
        }
        for name, how in options.items():
            group = file.createGroup(f"read/{name}")
            for dtype in TYPES:
                variable = group.createVariable(dtype, dtype, ("time", "x"), **how)
                variable[:] = numbers(dtype, SHAPE)
                variable.units = "mV"
        file.createVariable("read/text", str, ("time",))[:] = texts(10)
        file.createVariable("read/scalar", "f8", ())[...] = 0
        file.createVariable("time", "f8", ("time",))[:] = numbers("f8", (10,))
        file.createVariable("fixed", "i4", ("x",), contiguous=True)[:] = numbers("i4", (6,))
        # In HDF5 it has one row; netCDF shows ten.
        file.createVariable("fill", "f4", ("time", "x"), fill_value=-1.0)[0] = numbers("f4", (6,))
        for codec in ["zstd", "bzip2"]:
            variable = file.createVariable(f"unreadable/{codec}", "i4", ("time", "x"), compression=codec)
            variable[:] = numbers("i4", SHAPE)
        lists = file.createVLType("i4", "lists")
        file.createVariable("unreadable/lists", lists, ("x",))[0] = numbers("i4", (3,))
        pair = file.createCompoundType(numpy.dtype([("a", "i4"), ("b", "f8")]), "pair")
        file.createVariable("unreadable/pair", pair, ("x",))[:] = numpy.zeros(6, pair.dtype)


def write_with_xarray(path, engine):
    coordinates = {
        "time": pandas.date_range("2000-01-01", periods=10, freq="D"),
        "name": ("x", texts(6)),
        "x": numbers("i4", (6,)),
    }
    variables = {
        "v": (("time", "x"), numbers("f8", SHAPE), {"units": "mV"}),
        "packed": (("time", "x"), numbers("f8", SHAPE) / 10),
        "flag": ("time", numpy.arange(10) % 2 == 1),
    }
    packed = {"dtype": "i2", "scale_factor": 0.1, "_FillValue": -1}
    encoding = {"v": {"zlib": True, "complevel": 4}, "packed": packed}
    dataset = xarray.Dataset(variables, coordinates, {"title": "by xarray"})
    dataset.to_netcdf(path, engine=engine, encoding=encoding, unlimited_dims=["time"])


def main(path, how):
    write_with_netcdf4(path) if how == "netCDF4" else write_with_xarray(path, how)


main(*sys.argv[1:])
