"""Checks the package in an environment with NumPy and nothing else. Run as a program, in an empty folder."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

import simrecorder

assert importlib.util.find_spec("simrecorder_lmdb") is not None
assert importlib.util.find_spec("xarray") is None, "the environment is not empty"
for place in ("run.mdb", "run.zarr", "run.h5"):
    with simrecorder.create(place) as recorder:
        for step in range(100):
            recorder.record("v", np.full(3, float(step)))
            recorder.record("log", "text")
    assert np.array_equal(simrecorder.open(place)["v"][:, 0], np.arange(100.0))
    assert simrecorder.verify(place) == []
try:
    simrecorder.open("redis://localhost:1")
except simrecorder.Error as error:
    assert "localhost" in str(error)

simrec = Path(sys.executable).with_name("simrec")
listed = subprocess.run([simrec, "ls", "run.h5"], check=True, capture_output=True, text=True).stdout
assert "log" in listed and "v" in listed

distribution = importlib.metadata.distribution("simrecorder")
files = {file.name: file for file in distribution.files}
assert "py.typed" in files and "_simrecorder.pyi" in files
# One wheel for all versions; free-threaded builds of Python do not load it.
assert "Tag: cp311-abi3-" in distribution.read_text("WHEEL")
licences = distribution.metadata.get_all("License-File")
assert {"LICENSE-MIT", "LICENSE-APACHE", "LICENSES-THIRD-PARTY.txt"} <= set(licences), licences
assert "hdf5" in files["LICENSES-THIRD-PARTY.txt"].read_text().lower()
assert [one for one in distribution.requires if "extra" not in one] == ["numpy>=2.0"], distribution.requires
print("installed: the package works by itself")
