"""Prints the versions of Python and of the compared packages, as JSON."""

import json
import platform
from importlib.metadata import version

import h5py

PACKAGES = ["acquire-zarr", "h5py", "numcodecs", "numpy", "pyarrow", "redis", "tensorstore", "zarr"]
versions = [("Python", platform.python_version()), ("HDF5 of h5py", h5py.version.hdf5_version)]
print(json.dumps(versions + [(f"Python {package}", version(package)) for package in PACKAGES]))
