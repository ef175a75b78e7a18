"""Opens a file of h5netcdf that the recorder appended five rows to. The argument is its path."""

import sys
import warnings

import numpy
import xarray

warnings.simplefilter("error")
with xarray.open_dataset(sys.argv[1], engine="h5netcdf") as dataset:
    assert dataset["v"].dims == ("time", "neuron") and dataset["v"].attrs["units"] == "mV"
    assert (dataset["v"].values == numpy.arange(90).reshape(15, 6)).all()
    assert (dataset["time"].values == numpy.arange(15)).all()
with xarray.open_dataset(sys.argv[1], engine="h5netcdf", group="group") as dataset:
    assert (dataset["w"].values == numpy.arange(15)).all()
