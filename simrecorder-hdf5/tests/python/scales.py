"""Writes a file with dimension names of every kind. The argument is its path."""

import sys

import h5py
import netCDF4
import numpy

with netCDF4.Dataset(sys.argv[1], "w") as file:
    file.createDimension("x", 3)
    # A dimension without a variable, with one, and one in a group above.
    file.createDimension("time", None)
    file.createVariable("time", "i4", ("time",))[:] = [1, 2, 4, 8]
    group = file.createGroup("inner")
    for place in [file, group]:
        place.createVariable("v", "f8", ("time", "x"))[:] = numpy.zeros((4, 3))
    # One dimension twice.
    file.createVariable("covariance", "f8", ("x", "x"))[:] = numpy.zeros((3, 3))

with h5py.File(sys.argv[1], "a") as file:
    # A scale whose name differs from its dataset, an axis with only a label, and one without a name.
    file["depth"] = [0.0, 5.0]
    file["depth"].make_scale("called otherwise")
    profile = file.create_dataset("profile", data=numpy.zeros((2, 3, 4)))
    profile.dims[0].attach_scale(file["depth"])
    profile.dims[1].label = "label"
    file["plain"] = numpy.zeros((2, 2))
    # A scale that no longer exists.
    file["gone"] = [1, 2]
    file["gone"].make_scale("gone")
    file["left"] = numpy.zeros(2)
    file["left"].dims[0].attach_scale(file["gone"])
    del file["gone"]
